/** lethe bench gpu where there is no GPU; with one, bench/gpu/run.sh runs its program. */
import { spawnSync } from 'node:child_process';
import fs from 'node:fs/promises';
import path from 'node:path';

import { registerBench } from '../../src/cli/bench.js';
import { nativeAddon } from '../../src/native/addon.js';
import { temporaryFolder } from '../helpers/temporary.js';
import { runVerb } from './runVerb.js';

const root = path.resolve(import.meta.dirname, '..', '..');
const script = path.join(root, 'bench', 'gpu', 'run.sh');
const folder = temporaryFolder();

it('says without a GPU that there is none, and what to do', async () => {
  if (nativeAddon().systemInfo().cuda.devices.length > 0) return;
  const { stdout, stderr, exitCode } = await runVerb(registerBench, ['bench', 'gpu', '--json']);
  expect(exitCode).toBe(4);
  expect((JSON.parse(stdout) as { code: string }).code).toBe('LETHE_GPU_UNAVAILABLE');
  expect(stderr).toContain('expected an NVIDIA GPU');
});

it('has a script for machines without Node that says what is wrong before it builds', () => {
  const run = (...words: string[]) => spawnSync('bash', [script, ...words], { encoding: 'utf8' });
  const unknown = run('--steps', 'test,bnech');
  expect(unknown.status).toBe(2);
  expect(unknown.stderr).toContain('unknown step bnech. Steps: test, sanitize, bench, peer');
  expect(run('--limit', 'soon').status).toBe(2);
  if (nativeAddon().systemInfo().cuda.devices.length > 0) return;
  const none = run('--steps', 'test');
  expect(none.status).toBe(4);
  expect(none.stderr).toMatch(/run\.sh: .* is missing\./);
});

it('keeps what it has when a test crashes, another hangs and a benchmark is stopped', async () => {
  const program = (name: string, lines: string) => fs.writeFile(path.join(folder, name), `#!/bin/sh\n${lines}\n`, { mode: 0o755 });
  const tests = (await fs.readdir(path.join(root, 'test', 'native', 'cuda'))).filter((name) => /_test\.(cu|cpp)$/.test(name));
  for (const name of tests) await program(name.replace(/\..*/, ''), 'echo "3 passed, 0 failed, 0 skipped"');
  await program('lasso_fit_test', 'echo "1 passed, 0 failed, 1 skipped"');
  await program('train_gpu_test', 'exit 0');
  await program('gpu_test', 'kill -SEGV $$');
  await program('conv_test', 'exec sleep 60');
  await program('lethe_gpu_bench', `echo '{"name":"a row"}' >&2; [ "$2" = train ] && exec sleep 60; echo '{"results":[]}'`);
  await program('cmake', 'exit 0'); // the build has been made
  await program('nvcc', 'exit 0');
  await program('nvidia-smi', 'case "$*" in -L) echo "GPU 0";; *) echo 9.0;; esac');
  const run = spawnSync('bash', [script, '--steps', 'test,bench', '--limit', '1', '--build', folder, '--out', folder], {
    encoding: 'utf8',
    env: { ...process.env, PATH: `${folder}:${process.env.PATH ?? ''}` },
  });
  expect(run.status).toBe(1);
  const file = (await fs.readdir(folder)).find((name) => name.endsWith('-gpu-test-bench.json')) ?? '';
  const result = JSON.parse(await fs.readFile(path.join(folder, file), 'utf8')) as {
    failures: string;
    tests: { result: string }[];
    bench: object[];
  };
  expect(result.failures).toBe(
    ' conv_test (exit code 124); gpu_test (exit code 139); lasso_fit_test (skipped: it saw no GPU); train_gpu_test (it said no result); the benchmark of train (exit code 124);',
  );
  expect(result.tests).toHaveLength(tests.length);
  expect(result.tests.filter((test) => test.result.startsWith('3 passed'))).toHaveLength(tests.length - 4);
  expect(result.bench).toHaveLength(3);
  expect(result.bench[2]).toMatchObject({ incomplete: true, results: [{ name: 'a row' }] });
});

it('refuses a suite that it does not know before anything else', async () => {
  const { stderr, exitCode } = await runVerb(registerBench, ['bench', 'gpu', '--suites', 'trian']);
  expect(exitCode).toBe(2);
  expect(stderr).toContain('Did you mean train?');
});
