import { describeMachine, kernelRates } from '../../src/bench/machine.js';
import { allowedCores, runChild } from '../../src/bench/process.js';
import { nativeAddon } from '../../src/native/addon.js';

const { availableIsas } = nativeAddon().systemInfo();

it('measures the peaks of every instruction set', async () => {
  const machine = await describeMachine(availableIsas);
  expect(machine.peaks.map(({ isa }) => isa)).toEqual(availableIsas);
  for (const peak of machine.peaks) {
    for (const value of [peak.fmaGflops, peak.popcountGwords, peak.copyGbytes, peak.copyCachedGbytes]) {
      expect(value).toBeGreaterThan(0);
      expect(value).toBeLessThan(1e5);
    }
  }
  expect(machine.compiler).toMatch(/^(g\+\+|clang) \d+/);
});

it('checks and rates every kernel of every instruction set', async () => {
  const rates = await kernelRates(availableIsas);
  for (const isa of availableIsas) {
    const kernels = rates.filter(({ backend }) => backend === `cpu-${isa}`);
    expect(kernels.map(({ kernel }) => kernel)).toEqual([
      'X^T R, 32 bits',
      'X^T R, 16 bits',
      'residual',
      'Gram counts',
      'coordinate descent',
    ]);
    for (const { rate, shareOfPeak } of kernels) {
      expect(rate).toBeGreaterThan(0);
      expect(shareOfPeak).toBeGreaterThan(0);
    }
  }
});

it('refuses an instruction set that is not there', async () => {
  await expect(nativeAddon().lassoKernelRates('sse9')).rejects.toMatchObject({ code: 'LETHE_ISA_UNAVAILABLE' });
});

describe('child processes', () => {
  it('run on the given cores', async () => {
    const cores = await allowedCores();
    expect(cores.length).toBeGreaterThan(0);
    const script = "console.log(/Cpus_allowed_list:\\s*(\\S+)/.exec(require('node:fs').readFileSync('/proc/self/status', 'utf8'))[1])";
    const printed = await runChild(process.execPath, ['-e', script], { cores: cores.slice(-1) });
    expect(printed.trim()).toBe(String(cores.at(-1)));
  });

  it('that fail are errors with their last words', async () => {
    const failing = runChild(process.execPath, ['-e', 'console.error("no luck"); process.exit(7)'], { cores: [] });
    await expect(failing).rejects.toMatchObject({
      code: 'LETHE_BENCH_PROCESS',
      exitCode: 1,
      message: expect.stringMatching(/7\nno luck/) as string,
    });
  });
});
