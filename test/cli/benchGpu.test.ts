/** lethe bench gpu where there is no GPU; with one, bench/gpu/run.sh runs its program. */
import { spawnSync } from 'node:child_process';
import path from 'node:path';

import { registerBench } from '../../src/cli/bench.js';
import { nativeAddon } from '../../src/native/addon.js';
import { runVerb } from './runVerb.js';

it('says without a GPU that there is none, and what to do', async () => {
  if (nativeAddon().systemInfo().cuda.devices.length > 0) return;
  const { stdout, stderr, exitCode } = await runVerb(registerBench, ['bench', 'gpu', '--json']);
  expect(exitCode).toBe(4);
  expect((JSON.parse(stdout) as { code: string }).code).toBe('LETHE_GPU_UNAVAILABLE');
  expect(stderr).toContain('expected an NVIDIA GPU');
});

it('has a script for machines without Node that says what is wrong before it builds', () => {
  const script = path.resolve(import.meta.dirname, '..', '..', 'bench', 'gpu', 'run.sh');
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

it('refuses a suite that it does not know before anything else', async () => {
  const { stderr, exitCode } = await runVerb(registerBench, ['bench', 'gpu', '--suites', 'trian']);
  expect(exitCode).toBe(2);
  expect(stderr).toContain('Did you mean train?');
});
