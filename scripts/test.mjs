// Runs every test runner in turn and sums their counts into the last line: "N passed, N failed, N skipped".
// --native NAME...: only these native tests (lasso_test, conv_test_emulated), built first; none: all of them.
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

function native(build, options, env, only = []) {
  for (const args of [
    ['-S', root, '-B', build, '-DLETHE_NATIVE_TESTS=ON', '-DCMAKE_EXPORT_COMPILE_COMMANDS=ON', ...options],
    ['--build', build, '--parallel', String(os.availableParallelism()), ...(only.length > 0 ? ['--target', ...only] : [])],
  ]) {
    const result = run(`cmake ${args[0]}`, 'cmake', args);
    if (result.status !== 0) {
      process.stdout.write(result.stdout ?? '');
      total.failed += 1;
      return;
    }
  }
  for (const name of fs
    .readdirSync(build)
    .filter((file) => (only.length > 0 ? only.includes(file) : /_test(_emulated)?$/.test(file)))
    .sort()) {
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

const cuda = `-DLETHE_CUDA=${process.env.LETHE_CUDA ?? 'AUTO'}`;
const args = process.argv.slice(2);
if (args[0] === '--sanitize') {
  sanitized(args[1] ?? 'address,undefined');
} else if (args[0] === '--native') {
  native(path.join(root, 'build-tests'), [cuda], {}, args.slice(1));
} else {
  if (args.length === 0) {
    check('lint', process.execPath, [path.join(root, 'node_modules', 'eslint', 'bin', 'eslint.js'), '.']);
    check('types', process.execPath, [path.join(root, 'node_modules', 'typescript', 'bin', 'tsc'), '-p', 'tsconfig.json', '--noEmit']);
    check('format', process.execPath, [path.join(root, 'node_modules', 'prettier', 'bin', 'prettier.cjs'), '--check', '.']);
    check('format of C++', process.execPath, [path.join(root, 'scripts', 'format-native.mjs')]);
    native(path.join(root, 'build-tests'), [cuda], {});
  }
  jest(args);
}
console.log(`${total.passed} passed, ${total.failed} failed, ${total.skipped} skipped`);
process.exitCode = total.failed === 0 ? 0 : 1;
