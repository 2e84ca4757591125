import { describe, expect, it } from '@jest/globals';
import { inverse, Matrix } from 'ml-matrix';
import { openDesign } from '../../src/attributors/registry.js';
import { packMasks } from '../../src/data/masks.js';
import { denseWeights, fitDatamodels } from '../../src/datamodels/fit.js';
import { Purpose, Random } from '../../src/native/random.js';
import type { FitOptions } from '../../src/types.js';

const ridge = (more: Partial<FitOptions> = {}): FitOptions => ({ estimator: 'ridge', seed: 0, ...more });

/** Outputs of some examples and noise. */
function problem(numModels: number, numTrain: number, numTargets: number) {
  const random = new Random(3, Purpose.synthetic, numModels);
  const dense = Uint8Array.from({ length: numModels * numTrain }, () => random.below(2));
  const outputs = Float32Array.from({ length: numModels * numTargets }, (_, at) => {
    const [model, target] = [Math.floor(at / numTargets), at % numTargets];
    return 5 + 2 * dense[model * numTrain + target]! - dense[model * numTrain + target + 1]! + random.normal();
  });
  return { dense, masks: packMasks(dense, numModels, numTrain), outputs, numTargets };
}

/** From the normal equations over the examples. */
function closedForm({ dense, outputs, masks, numTargets }: ReturnType<typeof problem>, lambdaRatio: number) {
  const { numModels, numTrain } = masks;
  const centre = (matrix: Matrix): Matrix => matrix.clone().subRowVector(matrix.mean('column'));
  const [X, Y] = [new Matrix(numModels, numTrain), new Matrix(numModels, numTargets)];
  dense.forEach((bit, at) => X.set(Math.floor(at / numTrain), at % numTrain, bit));
  outputs.forEach((value, at) => Y.set(Math.floor(at / numTargets), at % numTargets, value));
  const [x, y] = [centre(X), centre(Y)];
  const gram = x.transpose().mmul(x).div(numModels);
  const lambda = (lambdaRatio * gram.trace()) / Math.min(numModels - 1, numTrain);
  const inside = inverse(Matrix.add(gram, Matrix.eye(numTrain).mul(lambda)));
  const weights = inside.mmul(x.transpose().mmul(y)).div(numModels);
  const left = Matrix.sub(y, x.mmul(weights));
  const freedom = 1 + inside.mmul(gram).trace();
  const squares = (of: Matrix, target: number): number => of.getColumn(target).reduce((sum, value) => sum + value ** 2, 0);
  const gcv = (target: number): number => squares(left, target) / squares(y, target) / ((numModels - freedom) / (numModels - 1)) ** 2;
  const scores = Array.from({ length: numTargets }, (_, target) => gcv(target));
  const bias = Y.mean('column').map((mean, t) => mean - X.mean('column').reduce((sum, share, j) => sum + share * weights.get(j, t), 0));
  return { lambda, weights, bias, gcv: scores.reduce((sum, score) => sum + score, 0) / numTargets };
}

// more examples than models: over the models; more models: over the examples
describe.each([
  [40, 90],
  [120, 30],
])('%i models, %i examples', (numModels, numTrain) => {
  const given = problem(numModels, numTrain, 5);

  it.each([0.01, 0.7, 30])('is the closed form at lambda ratio %d', async (lambdaRatio) => {
    const fitted = await fitDatamodels(given, ridge({ lambdaRatio }));
    const { weights, bias, lambda } = closedForm(given, lambdaRatio);
    const dense = denseWeights(fitted);
    for (let target = 0; target < 5; target++) {
      expect(fitted).toMatchObject({ status: Array.from({ length: 5 }, () => 'converged') });
      expect(fitted.gap[target]).toBe(0);
      expect(fitted.lambda[target]! / lambda).toBeCloseTo(1, 6);
      expect(fitted.bias[target]! / bias[target]!).toBeCloseTo(1, 6);
      for (let j = 0; j < numTrain; j++) expect(dense[target * numTrain + j]).toBeCloseTo(weights.get(j, target), 6);
    }
  });

  it('chooses the lambda of the least generalised cross-validation', async () => {
    const design = openDesign(given.masks, ridge(), { numTargets: 5 });
    const sample = { ...given, targetsPerRowWeight: 1, sample: Int32Array.of(0, 1, 2, 3, 4) };
    const [choice] = await design.choose(sample, undefined);
    expect(choice!.error).toBeCloseTo(closedForm(given, choice!.lambdaRatio!).gcv, 8);
    for (const ratio of [0.001, 0.01, 0.1, 0.3, 1, 3, 10, 100]) {
      expect(choice!.error).toBeLessThanOrEqual(closedForm(given, ratio).gcv + 1e-12);
    }
    expect(choice!.error).toBeLessThan(0.9); // there is something to learn
    expect(await fitDatamodels(given, ridge())).toEqual(await fitDatamodels(given, ridge({ lambdaRatio: choice!.lambdaRatio })));
  });

  it('gives a target the same numbers whatever is beside it, and flags what has no fit', async () => {
    const whole = await fitDatamodels(given, ridge({ lambdaRatio: 0.5 }));
    const odd = new Float32Array(numModels * 4);
    for (let model = 0; model < numModels; model++) {
      odd.set([model === 7 ? NaN : 1, given.outputs[model * 5 + 3]!, 2, model === 3 ? Infinity : model], model * 4);
    }
    const apart = await fitDatamodels({ masks: given.masks, outputs: odd, numTargets: 4 }, ridge({ lambdaRatio: 0.5 }));
    expect(apart.status).toEqual(['nonfinite', 'converged', 'constant', 'nonfinite']);
    expect(Array.from(apart.bias)).toEqual([NaN, whole.bias[3], 2, NaN]);
    expect(apart.weights).toEqual(denseWeights(whole, 3, 4));
    const groups = { names: ['odd', 'good'], of: Uint8Array.of(0, 1, 0, 0) };
    const design = openDesign(given.masks, ridge(), { numTargets: 4 });
    const block = { outputs: odd, numTargets: 4, targetsPerRowWeight: 1, sample: Int32Array.of(0, 1, 2, 3) };
    expect(await design.choose(block, groups)).toMatchObject([
      { group: 'odd', numSampled: 0, error: 1 },
      { group: 'good', numSampled: 1 },
    ]);
  });
});

it('learns nothing from masks that are all alike, and from one model', async () => {
  const masks = packMasks(new Uint8Array(6).fill(1), 3, 2);
  const alike = await fitDatamodels({ masks, outputs: Float32Array.of(1, 2, 3), numTargets: 1 }, ridge());
  expect([Array.from(alike.weights), alike.bias[0]]).toEqual([[0, 0], 2]);
  const one = await fitDatamodels({ masks: packMasks(Uint8Array.of(1, 0), 1, 2), outputs: Float32Array.of(4), numTargets: 1 }, ridge());
  expect([one.status, Array.from(one.bias), one.weights.length]).toEqual([['constant'], [4], 0]);
});

it('refuses what it does not do, and stops when told to', async () => {
  const given = problem(30, 20, 3);
  const rowWeights = new Uint8Array(90).fill(1);
  await expect(fitDatamodels({ ...given, rowWeights }, ridge())).rejects.toThrow(/LETHE_FIT_OPTION.*row weights/);
  await expect(fitDatamodels(given, ridge({ relaxation: 1 }))).rejects.toThrow(
    /LETHE_FIT_OPTION: option relaxation of ridge.*an option of ridge/,
  );
  expect(() => openDesign(given.masks, ridge(), { numTargets: 3, device: 'cuda' })).toThrow(
    /LETHE_FIT_OPTION: ridge is not fitted on cuda/,
  );
  const signal = AbortSignal.abort();
  await expect(fitDatamodels(given, ridge({ lambdaRatio: 1 }), { signal })).rejects.toMatchObject({ code: 'LETHE_TASK_ABORTED' });
});
