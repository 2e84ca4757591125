/** What the README and the pages of docs with commands say is run as written: commands in a shell, its TypeScript, and the outputs it shows are compared whole. */
import { transformSync } from '@swc/core';
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { nativeAddon } from '../src/native/addon.js';
import { compiled } from './helpers/compiled.js';
import { tinyPlan } from './helpers/plan.js';
import { temporaryFolder } from './helpers/temporary.js';

const root = path.resolve(import.meta.dirname, '..');
const pages = [
  'README.md',
  ...fs.readdirSync(path.join(root, 'docs')).map((name) => `docs/${name}`),
  'bench/README.md',
  'CHANGELOG.md',
  'CONTRIBUTING.md',
];
const read = (page: string): string => fs.readFileSync(path.join(root, page), 'utf8');

interface Blocks {
  /** The instruction set of the outputs. */
  isa: string;
  /** Sets a fresh machine up; inside the tests that has happened already. */
  setUp: string;
  commands: string[];
  outputs: { command: string; text: string }[];
  examples: string[];
}

const { stdout } = spawnSync(process.execPath, [path.join(root, 'scripts', 'readme-blocks.mjs')], { encoding: 'utf8' });
const { isa, setUp, commands, outputs, examples } = JSON.parse(stdout) as Blocks;
const hasIsa = nativeAddon().systemInfo().availableIsas.includes(isa);

/** A checkout whose build is that of the tests. */
function checkout(): string {
  const folder = temporaryFolder();
  fs.cpSync(path.join(root, 'bin'), path.join(folder, 'bin'), { recursive: true });
  fs.symlinkSync(compiled(), path.join(folder, 'dist'));
  return folder;
}

function shell(command: string, cwd: string): { status: number | null; stdout: string; stderr: string } {
  const env = { ...process.env, LETHE_DATA: '', NO_COLOR: '1', ...(hasIsa ? { LETHE_ISA: isa } : {}) };
  return spawnSync('sh', ['-c', command], { cwd, encoding: 'utf8', env });
}

it('begins with one command that runs the main job, and names the one that runs the tests', () => {
  expect(commands[0]).toBe('npm ci && bin/lethe quickstart');
  expect(commands).toContain('npm ci && npm test');
  expect(commands.length).toBeGreaterThan(5);
  expect(outputs.map(({ command }) => command)).toEqual([commands[0]]);
});

describe('every command', () => {
  const folder = checkout();
  fs.symlinkSync(path.join(root, 'plans'), path.join(folder, 'plans'));
  const printed = new Map<string, string>();

  it.each(commands.filter((command) => command !== `${setUp}npm test`))(
    '%s',
    (command) => {
      const result = shell(command.replace(setUp, ''), folder);
      expect({ status: result.status, stderr: result.status === 0 ? '' : result.stderr }).toEqual({ status: 0, stderr: '' });
      expect(result.stdout.length).toBeGreaterThan(0);
      printed.set(command, result.stdout);
    },
    900_000,
  );

  // regenerate with: node scripts/readme-blocks.mjs --write
  (hasIsa ? it : it.skip)(`prints what the README shows (numbers of ${isa})`, () => {
    for (const { command, text } of outputs) expect(printed.get(command)).toBe(text);
  });
});

describe('the TypeScript example', () => {
  const folder = checkout();
  const library = path.join(folder, 'node_modules', 'lethe');
  const example = examples[0]!;

  it('runs with progress, prints the table, and makes a run that other verbs read', () => {
    expect(examples).toHaveLength(1);
    fs.mkdirSync(library, { recursive: true });
    fs.copyFileSync(path.join(root, 'package.json'), path.join(library, 'package.json'));
    fs.symlinkSync(compiled(), path.join(library, 'dist'));
    // the example's own words on a plan that takes a second
    fs.mkdirSync(path.join(folder, 'plans'));
    fs.writeFileSync(path.join(folder, 'plans', 'quickstart.json'), JSON.stringify(tinyPlan));
    const { code } = transformSync(example, { jsc: { parser: { syntax: 'typescript' }, target: 'es2022' }, module: { type: 'es6' } });
    fs.writeFileSync(path.join(folder, 'example.mjs'), code);
    const result = shell(`"${process.execPath}" example.mjs`, folder);
    expect({ status: result.status, stderr: result.stderr }).toEqual({
      status: 0,
      stderr: expect.stringMatching(/\d+ of \d+ tasks, 100 %/) as string,
    });
    expect(result.stdout).toContain('KLOM on random-4');
    const status = shell('bin/lethe status runs/from-code', folder);
    const all = /^(\d+)\/(\d+) tasks done/m.exec(status.stdout);
    expect([status.status, all?.[1]]).toEqual([0, all?.[2]]);
    const report = shell('bin/lethe report runs/from-code', folder);
    expect([report.status, report.stdout]).toEqual([0, result.stdout.replace(/\n$/, '')]);
  }, 900_000);

  it('passes the compiler', () => {
    const file = path.join(folder, 'example.ts');
    fs.writeFileSync(file, example);
    fs.writeFileSync(path.join(folder, 'package.json'), '{ "type": "module" }');
    const options = {
      extends: path.join(root, 'tsconfig.json'),
      compilerOptions: {
        noEmit: true,
        rootDir: '/',
        types: ['node'],
        typeRoots: [path.join(root, 'node_modules', '@types')],
        paths: { lethe: [path.join(root, 'src', 'index.ts')] },
      },
      files: [file],
      include: [],
    };
    fs.writeFileSync(path.join(folder, 'tsconfig.json'), JSON.stringify(options));
    const tsc = path.join(root, 'node_modules', 'typescript', 'bin', 'tsc');
    const result = spawnSync(process.execPath, [tsc, '-p', folder], { encoding: 'utf8' });
    expect([result.stdout, result.status]).toEqual(['', 0]);
  }, 900_000);
});

it('is short enough to be read', () => {
  expect(read('README.md').split('\n').length).toBeLessThanOrEqual(121);
});

it.each(pages)('%s: links lead somewhere', (page) => {
  const links = [...read(page).matchAll(/\]\((?!https?:|#)([^)#]+)(?:#[^)]*)?\)/g)].map((match) => match[1]!);
  for (const link of links) expect([link, fs.existsSync(path.join(root, path.dirname(page), link))]).toEqual([link, true]);
});

it('names only verbs that exist', () => {
  const text = ['README.md', 'docs/getting-started.md', 'docs/own-data.md', 'docs/results.md'].map(read).join('\n');
  const named = new Set([...text.matchAll(/\blethe ([a-z]+)/g)].map((match) => match[1]!));
  const help = spawnSync(process.execPath, [path.join(compiled(), 'cli', 'main.js'), '--help'], { encoding: 'utf8' }).stdout;
  for (const verb of named) expect(help).toMatch(new RegExp(`^  ${verb}\\b`, 'm'));
});
