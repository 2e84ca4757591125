import { execFileSync } from 'node:child_process';
import { checkEngine, checkInputs, type CheckRun, compareRuns, relativeDifference } from '../../src/bench/train/check.js';
import { torchPeer } from '../../src/bench/peers.js';
import { backendsOf } from '../../src/bench/train/engines.js';
import { stepCase } from '../../src/bench/train/suite.js';
import { checkTorch } from '../../src/bench/train/torch.js';
import { flopsPerImage } from '../../src/bench/train/work.js';
import { NativeEngine } from '../../src/engines/native.js';
import { nativeAddon } from '../../src/native/addon.js';
import type { IsaName } from '../../src/native/types.js';
import type { LayerSpec, NetSpec } from '../../src/types.js';

const engine = new NativeEngine({ threads: 1, precision: 'fp32' });
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

/** The network without decisions: no ReLU, an average in place of maxima. Its gradient is smooth, so rounding stays rounding. Small images are quick. */
function withoutDecisions(net: NetSpec): NetSpec {
  const standIn = new Map<string, string>();
  const layers = net.layers.flatMap((layer): LayerSpec[] => {
    const inputs = layer.inputs.map((name) => standIn.get(name) ?? name);
    if (layer.op === 'globalMaxPool') return [{ name: layer.name, inputs, op: 'globalAveragePool' }];
    if (layer.op !== 'relu' && layer.op !== 'maxPool') return [{ ...layer, inputs }];
    standIn.set(layer.name, inputs[0]!);
    return [];
  });
  return { ...net, name: `${net.name} without decisions`, input: { ...net.input, height: 16, width: 16 }, layers };
}

test.each([
  ['fp32', 8, 8, 1e-5],
  ['fp32', 4, 6, 1e-5],
  ['fp32', 1, 1, 1e-5],
  ['bf16', 8, 6, 2e-2],
] as const)('%s, width %d: levels differ by rounding where no ReLU or maximum decides', async (precision, width, batchSize, bound) => {
  const smooth = { width, batchSize, net: withoutDecisions(stepCase(width, batchSize).net) };
  const { numTrainable: count } = engine.describeNet(smooth.net, batchSize);
  const inputs = await checkInputs(engine, smooth);
  const run = (isa: IsaName): Promise<CheckRun> => checkEngine(new NativeEngine({ isa, threads: 1, precision }), smooth, inputs, count);
  const portable = await run('portable');
  for (const isa of nativeAddon().systemInfo().availableIsas) {
    const verdict = compareRuns('portable', precision, inputs.parameters, portable, await run(isa));
    for (const difference of [verdict.lossDifference, verdict.gradientDifference, verdict.updateDifference]) {
      expect({ isa, verdict, small: difference! < bound }).toMatchObject({ small: true });
    }
  }
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
  test.skip(`${name} (needs a python3 with numpy and torch)`, () => undefined);
}
