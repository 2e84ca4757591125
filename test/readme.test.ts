/** The README's commands are run as typed. */
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { compiled } from './helpers/compiled.js';
import { temporaryFolder } from './helpers/temporary.js';

const root = path.resolve(import.meta.dirname, '..');
const readme = fs.readFileSync(path.join(root, 'README.md'), 'utf8');
const commands = [...readme.matchAll(/```sh\n([\s\S]*?)```/g)].flatMap((block) => block[1]!.trim().split('\n'));

/** These two set up a fresh machine; inside the tests that has happened already. */
const setUp = 'npm ci && ';
const folder = temporaryFolder();
fs.symlinkSync(path.join(root, 'plans'), path.join(folder, 'plans'));

it('begins with one command that runs the main job, and names the one that runs the tests', () => {
  expect(commands[0]).toBe('npm ci && npx lethe quickstart');
  expect(commands).toContain('npm ci && npm test');
  expect(commands.length).toBeGreaterThan(5);
});

describe('every command', () => {
  const runnable = commands.map((command) => command.replace(setUp, '')).filter((command) => command !== 'npm test');

  it.each(runnable)(
    '%s',
    (command) => {
      expect(command).toMatch(/^npx lethe /);
      const args = command.slice('npx lethe '.length).split(' ');
      const result = spawnSync(process.execPath, [path.join(compiled(), 'cli', 'main.js'), ...args], {
        cwd: folder,
        encoding: 'utf8',
        env: { ...process.env, LETHE_DATA: '', NO_COLOR: '1' },
      });
      expect({ status: result.status, stderr: result.status === 0 ? '' : result.stderr }).toEqual({ status: 0, stderr: '' });
      expect(result.stdout.length).toBeGreaterThan(0);
    },
    180000,
  );
});

it('prints what the README shows', () => {
  // the table of the quickstart in the README is the output of this version on AVX2; elsewhere only its shape is the same
  const shown = /```text\n([\s\S]*?)```/.exec(readme)![1]!;
  const printed = fs.readFileSync(path.join(folder, 'runs', 'quickstart', 'report', 'tables', 'klom.csv'), 'utf8');
  for (const line of ['KLOM on random-15 (15 points)', 'do nothing', 'DMM', 'floor (measured)']) expect(shown).toContain(line);
  expect(printed.split('\n').length).toBeGreaterThan(10);
});

it('names only verbs that exist', () => {
  const named = new Set([...readme.matchAll(/lethe ([a-z]+)/g)].map((match) => match[1]!));
  const help = spawnSync(process.execPath, [path.join(compiled(), 'cli', 'main.js'), '--help'], { encoding: 'utf8' }).stdout;
  for (const verb of named) expect(help).toMatch(new RegExp(`^  ${verb}\\b`, 'm'));
});
