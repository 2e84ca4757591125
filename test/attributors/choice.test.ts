import { describe, expect, it } from '@jest/globals';
import { choosePenalties } from '../../src/attributors/pathChoice.js';
import { columnsOf, choicesOf, sampleTargets } from '../../src/attributors/pooled.js';
import { openDesign } from '../../src/attributors/registry.js';
import { defaultFitOptions, fitDatamodels } from '../../src/datamodels/fit.js';
import { predict } from '../../src/datamodels/predict.js';
import { packMasks } from '../../src/data/masks.js';
import { Purpose, Random } from '../../src/native/random.js';
import type { FitOptions, LassoOptions, PenaltyChoice, TargetGroups } from '../../src/types.js';

const numModels = 300;
const numTrain = 60;
const numTargets = 80;

/** Every target is 3 times one example and noise of its own; targets of group 1 are nothing but noise. */
function problem(noise: number, seed: number): { dense: Uint8Array; outputs: Float32Array; truth: Float32Array; groups: TargetGroups } {
  const random = new Random(seed, Purpose.synthetic, 0);
  const dense = Uint8Array.from({ length: numModels * numTrain }, () => random.below(2));
  const of = Uint8Array.from({ length: numTargets }, (_, target) => target % 2);
  const truth = new Float32Array(numModels * numTargets);
  for (let model = 0; model < numModels; model++) {
    for (let target = 0; target < numTargets; target += 2)
      truth[model * numTargets + target] = 3 * dense[model * numTrain + (target % numTrain)]!;
  }
  return { dense, truth, outputs: truth.map((value) => value + noise * random.normal()), groups: { names: ['signal', 'noise'], of } };
}

async function choose(noise: number, options: Partial<FitOptions> = {}, seed = 1): Promise<PenaltyChoice[]> {
  const { dense, outputs, groups } = problem(noise, seed);
  const design = openDesign(packMasks(dense, numModels, numTrain), { ...defaultFitOptions, ...options }, { numTargets });
  const sample = sampleTargets(numTargets, groups, 0);
  return design.choose({ ...columnsOf({ outputs, numTargets, targetsPerRowWeight: 1 }, numModels, sample), sample }, groups);
}

describe('the pooled choice', () => {
  it.each(['correlation', 'error'] as const)('takes least squares on a sparse support for what is sparse (%s)', async (criterion) => {
    const [signal] = await choose(1.5, { criterion });
    expect(signal).toMatchObject({ group: 'signal', criterion, numSampled: 40 });
    expect(signal!.lambdaRatio).toBeGreaterThan(0.3); // the next correlations are noise
    expect(signal!.relaxation).toBe(1);
    expect(signal!.correlation).toBeGreaterThan(0.6); // 0.707 is that of the truth
    expect(signal!.error).toBeLessThan(0.65); // of the truth: 0.5
  });

  it('learns nothing from noise by its error, and takes what was asked for', async () => {
    const [, noise] = await choose(1.5, { criterion: 'error' });
    expect(noise).toMatchObject({ group: 'noise', lambdaRatio: 1, error: 1, correlation: 0 });
    const [signal] = await choose(1.5, { relaxation: 0 });
    expect(signal!.relaxation).toBe(0);
    const [marginal] = await choose(1.5, { estimator: 'marginal' });
    expect(marginal).toMatchObject({ relaxation: 0 });
    expect(marginal!.lambdaRatio).toBeLessThan(1);
  });

  // (2 lambdas, 3 relaxations) of one target; what is expected: position of the choice
  it.each([
    { why: 'of scores as good the largest relaxation', correlation: [0.5, 0.5, 0.49, 0.1, 0.1, 0.1], at: 2 },
    {
      why: 'a relaxation that loses more than 3 % of the correlation is not as good',
      correlation: [0.5, 0.49, 0.48, 0.1, 0.1, 0.1],
      at: 1,
    },
    { why: 'a relaxation that explains less is not as good', error: [0.75, 0.75, 0.8, 0.9, 0.9, 0.9], at: 1 },
    { why: 'of one relaxation the smallest error', error: [0.76, 0.76, 0.757, 0.76, 0.76, 0.752], at: 5 },
    { why: 'errors alone take the smallest', criterion: 'error' as const, error: [0.75, 0.74, 0.741, 0.9, 0.9, 0.9], at: 1 },
  ])(
    '$why',
    ({ correlation = Array<number>(6).fill(0.5), error = Array<number>(6).fill(0.75), criterion = 'correlation' as const, at }) => {
      const options: LassoOptions = { ...defaultFitOptions, pathLength: 2, lambdaMinRatio: 0.1, criterion };
      const scores = { correlation: Float32Array.from(correlation), error: Float32Array.from(error) };
      const sample = { sample: Int32Array.of(0), outputs: new Float32Array(0), numTargets: 1, targetsPerRowWeight: 1 };
      const [choice] = choosePenalties(options, { sample, groups: undefined, relaxations: [0, 0.5, 1], numHeldOut: 10, scores });
      expect(choice).toMatchObject({ lambdaRatio: at < 3 ? 1 : 0.1, relaxation: [0, 0.5, 1][at % 3], criterion, numSampled: 1 });
    },
  );

  it('is the same for any threads', async () => {
    expect(await choose(2)).toEqual(await choose(2));
  });

  it('has nothing to choose from non-finite and constant targets, one model, or none', async () => {
    const masks = packMasks(Uint8Array.of(1, 0), 1, 2);
    const design = openDesign(masks, defaultFitOptions, { numTargets: 1 });
    const block = { outputs: Float32Array.of(1), numTargets: 1, targetsPerRowWeight: 1, sample: Int32Array.of(0) };
    expect(await design.choose(block, undefined)).toMatchObject([{ group: 'all targets', lambdaRatio: 1, numSampled: 0 }]);
    const { dense } = problem(1, 1);
    const large = openDesign(packMasks(dense, numModels, numTrain), defaultFitOptions, { numTargets: 2 });
    const odd = Float32Array.from({ length: 2 * numModels }, (_, k) => (k % 2 === 0 ? 4 : k === 5 ? NaN : k));
    const none = { outputs: odd, numTargets: 2, targetsPerRowWeight: 1, sample: Int32Array.of(0, 1) };
    expect(await large.choose(none, undefined)).toMatchObject([{ lambdaRatio: 1, relaxation: 0, numSampled: 0 }]);
  });
});

it('pooled fits predict the noiseless truth better than a lambda for each target', async () => {
  const { dense, outputs, truth } = problem(4, 3);
  const masks = packMasks(dense, numModels, numTrain);
  const error = async (options: FitOptions): Promise<number> => {
    const predicted = await predict(await fitDatamodels({ masks, outputs, numTargets }, options), masks);
    return predicted.reduce((sum, value, k) => sum + (value - truth[k]!) ** 2, 0) / predicted.length;
  };
  expect(await error(defaultFitOptions)).toBeLessThan(0.8 * (await error({ ...defaultFitOptions, select: 'holdout' })));
});

describe('sampleTargets and choicesOf', () => {
  it('draws at most 256 of a group, each once, by the seed', () => {
    const groups = { names: ['few', 'many'], of: Uint8Array.from({ length: 1000 }, (_, target) => (target < 10 ? 0 : 1)) };
    const sample = sampleTargets(1000, groups, 3);
    expect(sample.length).toBe(266);
    expect(new Set(sample).size).toBe(266);
    expect([...sample].filter((target) => target < 10)).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
    expect(sample).toEqual(sampleTargets(1000, groups, 3));
    expect(sample).not.toEqual(sampleTargets(1000, groups, 4));
  });

  it('gives every target of a span what was chosen for its group', () => {
    const choice = (lambdaRatio: number, relaxation: number): PenaltyChoice => {
      return { group: '', lambdaRatio, relaxation, criterion: 'error', numSampled: 1, correlation: 0, error: 1 };
    };
    const groups = { names: ['a', 'b'], of: Uint8Array.of(0, 1, 1, 0) };
    const chosen = choicesOf([choice(0.5, 1), choice(0.2, 0)], groups, 1, 4);
    expect(chosen.map(({ lambdaRatio, relaxation }) => [lambdaRatio, relaxation])).toEqual([
      [0.2, 0],
      [0.2, 0],
      [0.5, 1],
    ]);
  });

  it('takes columns with their row weights', () => {
    const block = {
      outputs: Float32Array.of(1, 2, 3, 4, 5, 6, 7, 8),
      numTargets: 4,
      rowWeights: Uint8Array.of(0, 1, 2, 3),
      targetsPerRowWeight: 2,
    };
    expect(columnsOf(block, 2, Int32Array.of(1, 2))).toEqual({
      outputs: Float32Array.of(2, 3, 6, 7),
      numTargets: 2,
      rowWeights: Uint8Array.of(0, 1, 2, 3),
      targetsPerRowWeight: 1,
    });
  });
});
