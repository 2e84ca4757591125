/** lethe bench gpu where there is no GPU; with one, bench/gpu/run.sh runs its program. */
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

it('refuses a suite that it does not know before anything else', async () => {
  const { stderr, exitCode } = await runVerb(registerBench, ['bench', 'gpu', '--suites', 'trian']);
  expect(exitCode).toBe(2);
  expect(stderr).toContain('Did you mean train?');
});
