// Runs every test runner in turn and sums their counts into the last line: "N passed, N failed, N skipped".
// --native [NAME]: only the native tests, or those with NAME in their names.
// --sanitize [LIST] (address,undefined or thread): only the native tests, in a build of their own with g++'s -fsanitize=LIST.
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '..');
const total = { passed: 0, failed: 0, skipped: 0 };

function run(label, command, args, env = {}) {
  console.error(`\n== ${label}`);
  return spawnSync(command, args, {
    cwd: root,
    stdio: ['inherit', 'pipe', 'inherit'],
    encoding: 'utf8',
    env: { ...process.env, ...env },
    maxBuffer: 1 << 28,
  });
}

function check(label, command, args) {
  const result = run(label, command, args);
  process.stdout.write(result.stdout ?? '');
  if (result.status === 0) total.passed += 1;
  else total.failed += 1;
}

/** What a tool prints; undefined, and counted as a failure, where it fails. */
function output(command, args) {
  const { status, stdout } = run(`${command} ${args[0]}`, command, args);
  if (status === 0) return stdout;
  process.stdout.write(stdout ?? '');
  total.failed += 1;
  return undefined;
}

function native(build, options, env, part = '') {
  if (output('cmake', ['-S', root, '-B', build, '-DLETHE_NATIVE_TESTS=ON', ...options]) === undefined) return;
  const listed = output('ctest', ['--test-dir', build, '--show-only']) ?? '';
  const all = [...listed.matchAll(/Test +#\d+: (\S+)/g)].map(([, name]) => name).sort();
  const names = all.filter((name) => name.includes(part));
  if (names.length === 0) {
    console.error(`no native test has "${part}" in its name: ${all.join(', ')}`);
    total.failed += 1;
    return;
  }
  const targets = part === '' ? [] : ['--target', ...names];
  if (output('cmake', ['--build', build, '--parallel', String(os.availableParallelism()), ...targets]) === undefined) return;
  for (const name of names) {
    const result = run(name, path.join(build, name), [], env);
    process.stdout.write(result.stdout ?? '');
    const counts = /(\d+) passed, (\d+) failed(?:, (\d+) skipped)?/.exec(result.stdout ?? '');
    if (!counts) total.failed += 1;
    else {
      total.passed += Number(counts[1]);
      total.failed += Number(counts[2]);
      total.skipped += Number(counts[3] ?? 0);
      if (result.status !== 0 && counts[2] === '0') total.failed += 1;
    }
  }
}

function jest(args) {
  const report = path.join(os.tmpdir(), `lethe-jest-${process.pid}.json`);
  const result = run('jest', process.execPath, [
    '--experimental-vm-modules',
    '--disable-warning=ExperimentalWarning',
    path.join(root, 'node_modules', 'jest', 'bin', 'jest.js'),
    '--json',
    `--outputFile=${report}`,
    ...args,
  ]);
  if (!fs.existsSync(report)) {
    total.failed += 1;
    return;
  }
  const counts = JSON.parse(fs.readFileSync(report, 'utf8'));
  fs.rmSync(report);
  total.passed += counts.numPassedTests;
  total.failed += counts.numFailedTests + counts.numRuntimeErrorTestSuites;
  total.skipped += counts.numPendingTests + counts.numTodoTests;
  if (result.status !== 0 && counts.numFailedTests + counts.numRuntimeErrorTestSuites === 0) total.failed += 1;
}

// A finding ends its test. nvcc takes no -fsanitize: the kernels run on the emulated GPU only.
function sanitized(list) {
  native(path.join(root, `build-sanitize-${list.replaceAll(',', '-')}`), ['-DLETHE_CUDA=OFF', `-DLETHE_SANITIZE=${list}`], {
    UBSAN_OPTIONS: 'halt_on_error=1:print_stacktrace=1',
    TSAN_OPTIONS: 'halt_on_error=1',
  });
}

function nativeTests(part) {
  native(path.join(root, 'build-tests'), ['-DLETHE_CUDA=' + (process.env.LETHE_CUDA ?? 'AUTO')], {}, part);
}

const args = process.argv.slice(2);
const tool = (...parts) => path.join(root, 'node_modules', ...parts);
if (args[0] === '--sanitize') {
  sanitized(args[1] ?? 'address,undefined');
} else if (args[0] === '--native') {
  nativeTests(args[1]);
} else {
  if (args.length === 0) {
    check('lint', process.execPath, [tool('eslint', 'bin', 'eslint.js'), '.']);
    check('types', process.execPath, [tool('typescript', 'bin', 'tsc'), '-p', 'tsconfig.json', '--noEmit']);
    check('format', process.execPath, [tool('prettier', 'bin', 'prettier.cjs'), '--check', '.']);
    check('format of C++', process.execPath, [path.join(root, 'scripts', 'format-native.mjs')]);
    nativeTests();
  }
  jest(args);
}
console.log(`${total.passed} passed, ${total.failed} failed, ${total.skipped} skipped`);
process.exitCode = total.failed === 0 ? 0 : 1;
