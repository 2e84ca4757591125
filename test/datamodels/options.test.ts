/** Options of a fit against an independent solver: row weights, standardisation, given lambdas, k-fold. */
import fc from 'fast-check';
import { packMasks } from '../../src/data/masks.js';
import { defaultFitOptions, denseWeights, fitDatamodels } from '../../src/datamodels/fit.js';
import { foldsOf } from '../../src/attributors/selection.js';
import type { Datamodels, LassoOptions } from '../../src/types.js';
import { heldOutErrors, largestLambda, penalisedObjective, type Regression, type Solution, solve } from './penalised.js';
import { randomProblem, type Problem } from './problem.js';

const tight: LassoOptions = { ...defaultFitOptions, select: 'holdout', gapTolerance: 1e-7 };
const single = (lambda: number, more: Partial<LassoOptions> = {}): LassoOptions => ({ ...tight, select: 'none', lambda, ...more });

function regression(problem: Problem, target: number, more: Partial<Regression> = {}): Regression {
  const { numModels, numTrain } = problem.masks;
  return {
    x: Array.from({ length: numModels }, (_, i) => Array.from(problem.dense.subarray(i * numTrain, (i + 1) * numTrain))),
    y: Array.from({ length: numModels }, (_, i) => problem.outputs[i * problem.numTargets + target]!),
    weight: new Array<number>(numModels).fill(1),
    standardise: false,
    ...more,
  };
}

function solutionOf(fitted: Datamodels, target: number): Solution {
  return { weights: Array.from(denseWeights(fitted, target, target + 1)), bias: fitted.bias[target]! };
}

/** The fitted solution is as good as the best one, in the given problem. */
function expectOptimal(problem: Regression, lambda: number, found: Solution): void {
  const best = penalisedObjective(problem, lambda, solve(problem, lambda));
  const scale = penalisedObjective(problem, lambda, { weights: found.weights.map(() => 0), bias: solve(problem, 1e9).bias });
  expect(penalisedObjective(problem, lambda, found)).toBeLessThanOrEqual(best + 2e-6 * scale + 1e-9);
}

const shapes = fc.record({
  numModels: fc.integer({ min: 6, max: 50 }),
  numTrain: fc.integer({ min: 1, max: 30 }),
  seed: fc.integer({ min: 0, max: 1_000_000 }),
  share: fc.double({ min: 0.05, max: 0.95, noNaN: true }),
});

describe('the reference', () => {
  it('agrees with a plain fit, and a weight of k is a row k times', async () => {
    const problem = randomProblem(40, 15, 1, 5);
    const naive = regression(problem, 0);
    const fitted = await fitDatamodels(problem, single(0.3 * largestLambda(naive)));
    expectOptimal(naive, fitted.lambda[0]!, solutionOf(fitted, 0));
    const rows = naive.y.flatMap((_, i) => new Array<number>(i % 4).fill(i));
    const repeated = { ...naive, x: rows.map((i) => naive.x[i]!), y: rows.map((i) => naive.y[i]!), weight: rows.map(() => 1) };
    const weighted = { ...naive, weight: naive.y.map((_, i) => i % 4) };
    for (const standardise of [false, true]) {
      const [a, b] = [solve({ ...weighted, standardise }, 0.02), solve({ ...repeated, standardise }, 0.02)];
      a.weights.forEach((weight, j) => {
        expect(weight).toBeCloseTo(b.weights[j]!, 8);
      });
    }
  });
});

describe('standardise', () => {
  it('penalises weights in units of the standard deviations of their columns', async () => {
    await fc.assert(
      fc.asyncProperty(shapes, async ({ numModels, numTrain, seed, share }) => {
        const problem = randomProblem(numModels, numTrain, 2, seed);
        // columns of very different shares: rescaling must matter
        problem.dense.forEach((bit, k) => {
          if (k % numTrain < numTrain / 2 && Math.floor(k / numTrain) % 4 !== 0) problem.dense[k] = 0 * bit;
        });
        problem.masks = packMasks(problem.dense, numModels, numTrain);
        for (const target of [0, 1]) {
          const naive = regression(problem, target, { standardise: true });
          const lambda = share * largestLambda(naive);
          if (!(lambda > 0)) continue;
          const fitted = await fitDatamodels(problem, single(lambda, { standardise: true }));
          expectOptimal(naive, lambda, solutionOf(fitted, target));
        }
      }),
      { numRuns: 40, seed: 1 },
    );
  });

  it('has no weight at its own lambda_max and one at 0.99 of it', async () => {
    const problem = randomProblem(200, 40, 1, 3);
    const largest = largestLambda(regression(problem, 0, { standardise: true }));
    const count = async (lambda: number): Promise<number> =>
      (await fitDatamodels(problem, single(lambda, { standardise: true }))).weights.length;
    expect([await count(largest * (1 + 1e-6)), await count(0.99 * largest)]).toEqual([0, 1]);
  });
});

describe('row weights', () => {
  it('0 leaves a model out for a target, k counts it k times', async () => {
    await fc.assert(
      fc.asyncProperty(shapes, async ({ numModels, numTrain, seed, share }) => {
        const problem = randomProblem(numModels, numTrain, 3, seed);
        const rowWeights = Uint8Array.from({ length: numModels * 3 }, (_, k) => [1, 0, 1, 2, 1, 5][(k * 7 + seed) % 6]!);
        for (const target of [0, 1, 2]) {
          const weight = Array.from({ length: numModels }, (_, i) => rowWeights[i * 3 + target]!);
          const naive = regression(problem, target, { weight });
          const lambda = share * largestLambda(naive);
          if (!(lambda > 0)) continue;
          const fitted = await fitDatamodels({ ...problem, rowWeights }, single(lambda));
          expectOptimal(naive, lambda, solutionOf(fitted, target));
        }
      }),
      { numRuns: 40, seed: 2 },
    );
  });

  it('are the same as leaving rows out and repeating them', async () => {
    const problem = randomProblem(40, 15, 1, 5);
    const rowWeights = Uint8Array.from({ length: 40 }, (_, i) => i % 4);
    const rows = Array.from({ length: 40 }, (_, i) => new Array<number>(i % 4).fill(i)).flat();
    const dense = Uint8Array.from(rows.flatMap((i) => Array.from(problem.dense.subarray(i * 15, (i + 1) * 15))));
    const outputs = Float32Array.from(rows, (i) => problem.outputs[i]!);
    const weighted = await fitDatamodels({ ...problem, rowWeights }, single(0.05));
    const repeated = await fitDatamodels({ masks: packMasks(dense, rows.length, 15), outputs, numTargets: 1 }, single(0.05));
    const [a, b] = [solutionOf(weighted, 0), solutionOf(repeated, 0)];
    a.weights.forEach((weight, j) => {
      expect(weight).toBeCloseTo(b.weights[j]!, 4);
    });
    expect(a.bias).toBeCloseTo(b.bias, 4);
  });

  it('all 1 change nothing, (models, points) serve all classes of a point, and a row without weight may be NaN', async () => {
    const problem = randomProblem(60, 20, 6, 8);
    const { masks, outputs } = problem;
    const plain = await fitDatamodels(problem, single(0.05));
    const ones = await fitDatamodels({ ...problem, rowWeights: new Uint8Array(60 * 6).fill(1) }, single(0.05));
    expect(ones).toEqual(plain);
    const ofPoints = Uint8Array.from({ length: 60 * 2 }, (_, k) => (k % 5 === 0 ? 0 : 1));
    const ofTargets = Uint8Array.from({ length: 60 * 6 }, (_, k) => ofPoints[Math.floor(k / 6) * 2 + Math.floor((k % 6) / 3)]!);
    const input = { masks, outputs, numPoints: 2, numClasses: 3 };
    const shared = await fitDatamodels({ ...input, rowWeights: ofPoints }, single(0.05));
    expect(shared).toEqual(await fitDatamodels({ ...input, rowWeights: ofTargets }, single(0.05)));
    const broken = outputs.map((value, k) => (ofTargets[k] === 0 ? NaN : value));
    expect(await fitDatamodels({ ...input, outputs: broken, rowWeights: ofPoints }, single(0.05))).toEqual(shared);
  });

  it('a target with no row left is nonfinite, with equal ones constant; neighbours keep their bytes', async () => {
    const problem = randomProblem(30, 10, 3, 4);
    const rowWeights = new Uint8Array(90).fill(1);
    for (let i = 0; i < 30; i++) rowWeights[i * 3 + 1] = 0;
    const fitted = await fitDatamodels({ ...problem, rowWeights }, single(0.05));
    expect(fitted.status[1]).toBe('nonfinite');
    const plain = await fitDatamodels(problem, single(0.05));
    for (const target of [0, 2]) expect(solutionOf(fitted, target)).toEqual(solutionOf(plain, target));
    rowWeights[4 * 3 + 1] = 3;
    const one = await fitDatamodels({ ...problem, rowWeights }, single(0.05));
    expect([one.status[1], one.bias[1]]).toEqual(['constant', problem.outputs[4 * 3 + 1]]);
  });

  it('choose lambda by the weighted error of the held-out models', async () => {
    const problem = randomProblem(50, 12, 1, 21);
    const rowWeights = Uint8Array.from({ length: 50 }, (_, i) => (i * 3) % 4);
    const lambdas = [0.4, 0.2, 0.1, 0.05, 0.02];
    const fitted = await fitDatamodels({ ...problem, rowWeights }, { ...tight, lambdas });
    const naive = regression(problem, 0, { weight: Array.from(rowWeights) });
    expectBest(fitted.lambda[0]!, lambdas, heldOutErrors(naive, foldsOf(50, tight), lambdas));
  });
});

/** The chosen lambda is one of the list, and its error the smallest up to the solver's tolerance. */
function expectBest(chosen: number, lambdas: number[], errors: number[]): void {
  const index = lambdas.findIndex((lambda) => Math.fround(lambda) === chosen);
  expect(index).toBeGreaterThanOrEqual(0);
  expect(errors[index]!).toBeLessThanOrEqual(Math.min(...errors) * (1 + 1e-4));
}

describe('given lambdas', () => {
  const lambdas = [0.3, 0.1, 0.03, 0.01];

  it('the one with the smallest held-out error is chosen, whatever their order', async () => {
    const problem = randomProblem(80, 20, 5, 13);
    const fitted = await fitDatamodels(problem, { ...tight, lambdas });
    const fold = foldsOf(80, tight);
    for (let target = 0; target < 5; target++) {
      const naive = regression(problem, target);
      expectBest(fitted.lambda[target]!, lambdas, heldOutErrors(naive, fold, lambdas));
      expectOptimal(naive, fitted.lambda[target]!, solutionOf(fitted, target));
    }
    expect(await fitDatamodels(problem, { ...tight, lambdas: [0.01, 0.3, 0.03, 0.1] })).toEqual(fitted);
  });

  it('one alone is taken, also above lambda_max', async () => {
    const problem = randomProblem(40, 10, 1, 2);
    const fitted = await fitDatamodels(problem, { ...tight, lambdas: [50] });
    expect([fitted.lambda[0], fitted.weights.length]).toEqual([50, 0]);
  });
});

describe('k-fold', () => {
  it('chooses the lambda with the smallest error over all folds, and fits it on all models', async () => {
    const lambdas = [0.4, 0.2, 0.1, 0.05, 0.02];
    for (const [folds, seed] of [
      [2, 1],
      [5, 2],
      [7, 3],
    ] as const) {
      const problem = randomProblem(45, 14, 3, 30 + seed);
      const options: LassoOptions = { ...tight, select: 'kfold', folds, lambdas, seed };
      const fitted = await fitDatamodels(problem, options);
      for (let target = 0; target < 3; target++) {
        const naive = regression(problem, target);
        expectBest(fitted.lambda[target]!, lambdas, heldOutErrors(naive, foldsOf(45, options), lambdas));
        expectOptimal(naive, fitted.lambda[target]!, solutionOf(fitted, target));
      }
    }
  });

  it('on the automatic grid gives the same bytes for any threads and neighbours', async () => {
    const problem = randomProblem(90, 30, 24, 17);
    const options: LassoOptions = { ...defaultFitOptions, select: 'kfold' };
    const all = await fitDatamodels(problem, options, { threads: 1 });
    expect(await fitDatamodels(problem, options, { threads: 2 })).toEqual(all);
    const alone = await fitDatamodels(
      { masks: problem.masks, outputs: problem.outputs.filter((_, k) => k % 24 === 7), numTargets: 1 },
      options,
    );
    expect(solutionOf(alone, 0)).toEqual(solutionOf(all, 7));
    expect(alone.lambda[0]).toBe(all.lambda[7]);
  });

  it('holds out every model once, in folds of equal size', () => {
    const fold = foldsOf(23, { ...defaultFitOptions, select: 'kfold' });
    const sizes = [0, 1, 2, 3, 4].map((k) => fold.filter((value) => value === k).length);
    expect(sizes.sort()).toEqual([4, 4, 5, 5, 5]);
    expect(foldsOf(23, { ...defaultFitOptions, select: 'kfold', seed: 1 })).not.toEqual(fold);
  });
});
