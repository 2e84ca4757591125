import { execFileSync } from 'node:child_process';
import { checkEngine, checkInputs, type CheckRun, compareRuns, relativeDifference } from '../../src/bench/train/check.js';
import { torchPeer } from '../../src/bench/peers.js';
import { backendsOf } from '../../src/bench/train/engines.js';
import { stepCase } from '../../src/bench/train/suite.js';
import { checkTorch } from '../../src/bench/train/torch.js';
import { flopsPerImage } from '../../src/bench/train/work.js';
import { NativeEngine } from '../../src/engines/native.js';

const engine = new NativeEngine({ threads: 1 });
// 8, 16 and 32 channels: every layer of the published network, and enough rounding to matter
const of = stepCase(8, 6);
const { numTrainable, parameters: layout } = engine.describeNet(of.net, 6);

async function firstSteps(): Promise<{ inputs: Awaited<ReturnType<typeof checkInputs>>; run: CheckRun }> {
  const inputs = await checkInputs(engine, of);
  return { inputs, run: await checkEngine(engine, of, inputs, numTrainable) };
}

test('counts the published operations of a training image', () => {
  expect(flopsPerImage(stepCase(1, 1).net) / 1e9).toBeCloseTo(1.745, 2);
  expect(flopsPerImage(stepCase(4, 1).net) / 1e9).toBeCloseTo(0.11, 2);
  expect(flopsPerImage(stepCase(8, 1).net) / 1e9).toBeCloseTo(0.028, 2);
});

test('every instruction set is a row of an engine that takes one', () => {
  const rows = backendsOf(['native'], ['portable', 'avx2'], ['fp32', 'bf16']);
  expect(rows.map(({ isa, precision }) => `${isa} ${precision}`)).toEqual(['portable fp32', 'portable bf16', 'avx2 fp32', 'avx2 bf16']);
});

test('relative differences are of Euclidean norms', () => {
  expect(relativeDifference([3, 4], [3, 4])).toBe(0);
  expect(relativeDifference([3, 4], [3, 4.5])).toBeCloseTo(0.1);
  expect(relativeDifference([3, 4], [3, NaN])).toBeNaN();
});

test('a wrong loss, gradient or update fails with its size', async () => {
  const { inputs, run } = await firstSteps();
  const verdict = (change: Partial<CheckRun>): ReturnType<typeof compareRuns> =>
    compareRuns('truth', 'fp32', inputs.parameters, run, { ...run, ...change });
  expect(verdict({})).toEqual({ passed: true, against: 'truth', lossDifference: 0, gradientDifference: 0, updateDifference: 0 });
  const zeroed = run.gradient.map((value, i) => (i < 27 * 8 ? 0 : value)); // the first convolution learns nothing
  expect(verdict({ gradient: zeroed })).toMatchObject({ passed: false, reason: expect.stringMatching(/^gradient differs by/) as string });
  expect(verdict({ loss: 1.001 * run.loss })).toMatchObject({
    passed: false,
    reason: expect.stringMatching(/^loss differs by 1.0e-3/) as string,
  });
  expect(verdict({ updated: inputs.parameters })).toMatchObject({
    passed: false,
    reason: 'parameters after 3 steps differs by 1.0e+0, more than 0.05 (against truth)',
  });
  expect(verdict({ loss: NaN }).passed).toBe(false);
});

const torch = torchPeer();

function hasTorch(): boolean {
  try {
    execFileSync(torch.command, torch.probe, { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
}

const name = 'loss, gradient and three steps are those of PyTorch from the same parameters and images';
if (hasTorch()) {
  test(
    name,
    async () => {
      const { inputs, run } = await firstSteps();
      const theirs = await checkTorch(torch, of, inputs, layout, { cores: [] });
      const verdict = compareRuns('torch', 'fp32', inputs.parameters, theirs, run);
      expect(verdict).toMatchObject({ passed: true });
      expect(verdict.lossDifference).toBeLessThan(1e-6);
      expect(verdict.gradientDifference).toBeLessThan(1e-4);
    },
    120000,
  );
} else {
  test.skip(`${name} (needs ${torch.package})`, () => undefined);
}
