/** Builds of a toy checkout, with compilers that are told what to do. */
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { temporaryFolder } from '../helpers/temporary.js';

const root = path.resolve(import.meta.dirname, '..', '..');
const folder = temporaryFolder();
let checkouts = 0;

/** `fake`: what a compiler does, in words of shell, where $OUT is the folder it writes to. */
function checkout(fake: { cmake?: string; tsc?: string } = {}): string {
  const at = path.join(folder, `a [${checkouts++}] b`);
  for (const name of ['scripts', 'bin']) fs.cpSync(path.join(root, name), path.join(at, name), { recursive: true });
  fs.copyFileSync(path.join(root, 'package.json'), path.join(at, 'package.json'));
  write(at, 'src/index.ts', '1');
  write(at, 'native/a.cpp', '1');
  write(at, 'CMakeLists.txt', '');
  const compiler = (words: string, out: string) =>
    `const { spawnSync } = require('child_process'); const args = process.argv;
     if (args.includes('configure')) process.exit(0);
     const env = { ...process.env, OUT: args[args.indexOf(${JSON.stringify(out)}) + 1] };
     process.exit(spawnSync('sh', ['-c', ${JSON.stringify(words)}], { env, stdio: 'inherit' }).status);`;
  const defaults = {
    cmake: 'mkdir -p "$OUT/Release" && cp native/a.cpp "$OUT/Release/lethe.node"',
    tsc: 'mkdir -p "$OUT/cli" && cp src/* "$OUT" && echo "console.log(process.argv.slice(2))" > "$OUT/cli/main.js"',
  };
  write(at, 'node_modules/cmake-js/package.json', '{}');
  write(at, 'node_modules/cmake-js/bin/cmake-js', compiler(fake.cmake ?? defaults.cmake, '--out'));
  write(at, 'node_modules/typescript/package.json', '{}');
  write(at, 'node_modules/typescript/bin/tsc', compiler(fake.tsc ?? defaults.tsc, '--outDir'));
  return at;
}

function write(at: string, name: string, content: string): void {
  fs.mkdirSync(path.dirname(path.join(at, name)), { recursive: true });
  fs.writeFileSync(path.join(at, name), content);
}

function build(at: string, environment: Record<string, string> = {}): { status: number | null; stderr: string } {
  const env = { ...process.env, LETHE_CUDA: 'OFF', npm_command: 'ci', ...environment };
  return spawnSync(process.execPath, [path.join(at, 'scripts', 'build.mjs')], { cwd: at, encoding: 'utf8', env });
}

const read = (at: string, name: string) => fs.readFileSync(path.join(at, name), 'utf8');
const addon = 'build/Release/lethe.node';
const failing = 'mkdir -p "$OUT/Release"; echo half > "$OUT/Release/lethe.node"; echo half > "$OUT/index.ts"; exit 3';

it('builds once; then it is current, also as a copy elsewhere with new times, until a source or a product changes', () => {
  const at = checkout();
  expect(build(at).status).toBe(0);
  expect([read(at, addon), read(at, 'dist/index.ts')]).toEqual(['1', '1']);
  const copy = path.join(folder, 'moved');
  fs.cpSync(at, copy, { recursive: true });
  for (const place of [at, copy]) {
    fs.utimesSync(path.join(place, 'src/index.ts'), new Date(), new Date());
    expect(build(place)).toMatchObject({ status: 0, stderr: `lethe: ${addon} is current\nlethe: dist is current\n` });
  }
  write(at, 'src/index.ts', '2');
  fs.rmSync(path.join(copy, 'dist/cli/main.js'));
  write(copy, addon, 'torn');
  expect(build(at).stderr).toBe(`lethe: ${addon} is current\n`);
  expect(build(copy).stderr).toBe('');
  expect([read(at, 'dist/index.ts'), read(copy, addon)]).toEqual(['2', '1']);
  expect(fs.existsSync(path.join(copy, 'dist/cli/main.js'))).toBe(true);
});

it('keeps what works while the new is not whole, and removes what is no longer made', () => {
  const at = checkout();
  write(at, 'src/gone.ts', '1');
  build(at);
  write(at, 'native/a.cpp', '2');
  write(at, 'src/index.ts', '2');
  const broken = checkout({ cmake: failing, tsc: failing });
  const repair = path.join(folder, 'good-modules');
  fs.renameSync(path.join(at, 'node_modules'), repair);
  fs.renameSync(path.join(broken, 'node_modules'), path.join(at, 'node_modules'));
  for (const script of ['build.mjs', 'build-ts.mjs']) {
    const { status } = spawnSync(process.execPath, [path.join(at, 'scripts', script)], {
      cwd: at,
      env: { ...process.env, npm_command: 'run' },
    });
    expect(status).toBe(3);
  }
  expect([read(at, addon), read(at, 'dist/index.ts')]).toEqual(['1', '1']);
  expect(fs.readdirSync(at).filter((name) => name.endsWith('.tmp'))).toEqual([]);
  fs.rmSync(path.join(at, 'node_modules'), { recursive: true });
  fs.renameSync(repair, path.join(at, 'node_modules'));
  fs.rmSync(path.join(at, 'src/gone.ts'));
  expect(build(at).status).toBe(0);
  expect([read(at, addon), read(at, 'dist/index.ts')]).toEqual(['2', '2']);
  expect(fs.existsSync(path.join(at, 'dist/gone.ts'))).toBe(false);
});

it('builds nothing for npx, which would hide it', () => {
  const at = checkout();
  expect(build(at, { npm_command: 'exec' })).toMatchObject({ status: 0, stderr: '' });
  expect([fs.existsSync(path.join(at, 'build')), fs.existsSync(path.join(at, 'dist'))]).toEqual([false, false]);
});

it('finds cmake-js where the project has it that lethe is a dependency of, and says what is missing where nobody has', () => {
  const app = path.join(folder, 'app');
  const at = checkout();
  fs.mkdirSync(path.join(app, 'node_modules'), { recursive: true });
  const inside = path.join(app, 'node_modules', 'lethe');
  fs.renameSync(at, inside);
  fs.renameSync(path.join(inside, 'node_modules', 'cmake-js'), path.join(app, 'node_modules', 'cmake-js'));
  const addonScript = () =>
    spawnSync(process.execPath, [path.join(inside, 'scripts', 'build-addon.mjs')], {
      encoding: 'utf8',
      env: { ...process.env, LETHE_CUDA: 'OFF' },
    });
  expect(addonScript().status).toBe(0);
  expect(read(inside, addon)).toBe('1');
  fs.rmSync(path.join(app, 'node_modules', 'cmake-js'), { recursive: true });
  write(inside, 'native/a.cpp', '2');
  expect(addonScript()).toMatchObject({
    status: 1,
    stderr: `lethe: cmake-js, which builds the addon, is not installed. Run: cd "${inside}" && npm ci\n`,
  });
});

describe('bin/lethe', () => {
  it('finds its folder through links, relative and absolute, and hands everything over', () => {
    const at = checkout();
    build(at);
    const links = path.join(folder, 'li nks');
    fs.mkdirSync(links);
    fs.symlinkSync(path.join(at, 'bin', 'lethe'), path.join(links, 'one'));
    fs.symlinkSync('one', path.join(links, 'two'));
    const env = { PATH: `${links}:${process.env['PATH']}`, CDPATH: folder };
    for (const command of ['two', path.join(links, 'one'), path.join(at, 'bin', 'lethe')]) {
      const { stdout } = spawnSync('sh', ['-c', '"$0" "$@"', command, 'a b', '*', ''], { cwd: folder, encoding: 'utf8', env });
      expect(stdout).toBe("[ 'a b', '*', '' ]\n");
    }
  });

  it('becomes node: signals reach it, exit codes come back', () => {
    const at = checkout();
    write(
      at,
      'dist/cli/main.js',
      'process.on("SIGTERM", () => process.exit(75)); process.kill(process.pid, 0); console.log(process.pid); setInterval(() => {}, 1000)',
    );
    const script =
      '"$0" > pid & child=$!; until [ -s pid ]; do sleep 0.05; done; kill -TERM $child; wait $child; echo $? $child $(cat pid)';
    const { stdout } = spawnSync('sh', ['-c', script, path.join(at, 'bin', 'lethe')], { cwd: at, encoding: 'utf8' });
    const [status, child, pid] = stdout.trim().split(' ');
    expect([status, child]).toEqual(['75', pid]);
  });

  it('says what to do where nothing is built or there is no node', () => {
    const at = checkout();
    const start = (env: Record<string, string>) => spawnSync('/bin/sh', [path.join(at, 'bin', 'lethe')], { encoding: 'utf8', env });
    const missing = start({ PATH: process.env['PATH']! });
    expect([missing.status, missing.stderr]).toEqual([4, expect.stringContaining(`Run: cd "${at}" && npm ci`)]);
    build(at);
    const tools = path.join(folder, 'tools');
    fs.mkdirSync(tools);
    for (const tool of ['dirname', 'readlink'])
      fs.symlinkSync(spawnSync('sh', ['-c', `command -v ${tool}`], { encoding: 'utf8' }).stdout.trim(), path.join(tools, tool));
    expect(start({ PATH: tools })).toMatchObject({ status: 4, stderr: expect.stringContaining('LETHE_NODE_MISSING') as string });
  });
});
