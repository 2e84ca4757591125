import fc from 'fast-check';
import fs from 'node:fs';
import path from 'node:path';
import { packMasks } from '../../src/data/masks.js';
import { defaultFitOptions, denseWeights, fitDatamodels } from '../../src/datamodels/fit.js';
import { predict } from '../../src/datamodels/predict.js';
import { holdoutModels } from '../../src/attributors/selection.js';
import type { Datamodels, LassoOptions } from '../../src/types.js';
import { lambdaMax, objective, optimum, randomProblem, type Problem } from './problem.js';

const at = (lambda: number, more: Partial<LassoOptions> = {}): LassoOptions => ({
  ...defaultFitOptions,
  select: 'none',
  lambda,
  gapTolerance: 1e-7,
  ...more,
});

function nonzero(fitted: Datamodels, target: number): number {
  return fitted.rowStart[target + 1]! - fitted.rowStart[target]!;
}

/** Everything about one target, comparable with toEqual. */
function row(fitted: Datamodels, target: number): unknown {
  const span = [fitted.rowStart[target]!, fitted.rowStart[target + 1]!] as const;
  return {
    status: fitted.status[target],
    numbers: [fitted.bias[target], fitted.lambda[target], fitted.gap[target]],
    indices: fitted.indices.slice(...span),
    weights: fitted.weights.slice(...span),
  };
}

describe('fitDatamodels at one lambda', () => {
  it('finds the optimum of a naive solver on random problems', async () => {
    const shapes = fc.record({
      numModels: fc.integer({ min: 2, max: 60 }),
      numTrain: fc.integer({ min: 1, max: 40 }),
      seed: fc.integer({ min: 0, max: 1_000_000 }),
      share: fc.double({ min: 0.05, max: 0.99, noNaN: true }),
    });
    await fc.assert(
      fc.asyncProperty(shapes, async ({ numModels, numTrain, seed, share }) => {
        const problem = randomProblem(numModels, numTrain, 1, seed);
        const lambda = share * lambdaMax(problem, 0);
        if (lambda === 0) return;
        const fitted = await fitDatamodels(problem, at(lambda));
        const best = optimum(problem, 0, lambda);
        expect(fitted.status).toEqual(['converged']);
        expect(fitted.gap[0]).toBeLessThanOrEqual(1.0001e-7);
        expect(objective(problem, fitted, 0, lambda)).toBeLessThanOrEqual(best * (1 + 1e-6) + 1e-9);
      }),
      { numRuns: 60, seed: 7 },
    );
  });

  it('has the objective of scikit-learn', async () => {
    const file = path.join(import.meta.dirname, 'sklearn', 'lasso.json');
    interface Case {
      target: number;
      lambda: number;
      objective: number;
    }
    const fixture = JSON.parse(fs.readFileSync(file, 'utf8')) as { problems: { masks: string[]; outputs: number[][]; cases: Case[] }[] };
    for (const { masks, outputs, cases } of fixture.problems) {
      const dense = Uint8Array.from(masks.join(''), Number);
      const numTargets = outputs[0]!.length;
      const problem: Problem = {
        masks: packMasks(dense, masks.length, masks[0]!.length),
        dense,
        outputs: Float32Array.from(outputs.flat()),
        numTargets,
      };
      for (const { target, lambda, objective: expected } of cases) {
        const fitted = await fitDatamodels(problem, at(lambda));
        expect(Math.abs(objective(problem, fitted, target, lambda) - expected)).toBeLessThanOrEqual(1e-6 * expected);
      }
    }
  });

  it('has no weight at lambda_max and one at 0.99 lambda_max', async () => {
    const problem = randomProblem(400, 80, 1, 3);
    const largest = lambdaMax(problem, 0);
    const none = await fitDatamodels(problem, at(largest));
    const one = await fitDatamodels(problem, at(0.99 * largest));
    expect(nonzero(none, 0)).toBe(0);
    expect(none.gap[0]).toBeLessThan(1e-9);
    expect(nonzero(one, 0)).toBe(1);
  });
});

describe('fitDatamodels with selection', () => {
  const problem = randomProblem(160, 120, 40, 11);

  it('recovers predictions better than the mean, and refits on all models', async () => {
    const truth = randomProblem(1000, 30, 20, 12);
    const fitted = await fitDatamodels(truth, { ...defaultFitOptions, select: 'holdout' });
    expect(fitted.status.every((status) => status === 'converged')).toBe(true);
    const predicted = await predict(fitted, truth.masks);
    let rest = 0;
    let spread = 0;
    for (let target = 0; target < 20; target++) {
      const values = (array: Float32Array): number[] => Array.from({ length: 1000 }, (_, model) => array[model * 20 + target]!);
      const y = values(truth.outputs);
      const mean = y.reduce((sum, value) => sum + value, 0) / 1000;
      values(predicted).forEach((value, model) => {
        rest += (value - y[model]!) ** 2;
        spread += (y[model]! - mean) ** 2;
      });
      expect(objective(truth, fitted, target, fitted.lambda[target]!)).toBeCloseTo(optimum(truth, target, fitted.lambda[target]!), 3);
    }
    expect(rest).toBeLessThan(0.6 * spread);
  });

  it.each([
    ['lasso', 'holdout'],
    ['marginal', 'holdout'],
    ['lasso', 'none'],
    ['marginal', 'none'],
  ] as const)('gives the same bytes for any threads and neighbours (%s, %s)', async (estimator, select) => {
    const given = select === 'none' ? { lambdaRatio: 0.4, ...(estimator === 'lasso' ? { relaxation: 0.75 } : {}) } : {};
    const options: LassoOptions = { ...defaultFitOptions, estimator, select, ...given, seed: 5 };
    const clean = await fitDatamodels(problem, options, { threads: 1 });
    const outputs = problem.outputs.slice();
    outputs[3 * 40 + 7] = NaN;
    outputs[9 * 40 + 8] = -Infinity;
    for (let model = 0; model < 160; model++) outputs[model * 40 + 9] = 0.25;
    const dirty = await fitDatamodels({ ...problem, outputs }, options, { threads: 2 });
    for (let target = 0; target < 40; target++) {
      if (target < 7 || target > 9) expect(row(dirty, target)).toEqual(row(clean, target));
    }
    expect(row(dirty, 7)).toMatchObject({ status: 'nonfinite', numbers: [NaN, NaN, NaN] });
    expect(row(dirty, 8)).toMatchObject({ status: 'nonfinite' });
    expect(row(dirty, 9)).toMatchObject({ status: 'constant', numbers: [0.25, 0, 0] });
    expect([7, 8, 9].map((target) => nonzero(dirty, target))).toEqual([0, 0, 0]);
  });

  it('solves the diagonal problem in closed form (marginal)', async () => {
    const lambda = 0.05;
    const fitted = await fitDatamodels(problem, at(lambda, { estimator: 'marginal' }));
    const dense = denseWeights(fitted);
    const { numModels, numTrain } = problem.masks;
    const mean = (value: (model: number) => number): number =>
      Array.from({ length: numModels }, (_, model) => value(model)).reduce((sum, term) => sum + term, 0) / numModels;
    for (const target of [0, 17, 39]) {
      const y = (model: number): number => problem.outputs[model * 40 + target]!;
      let bias = mean(y);
      for (let j = 0; j < numTrain; j++) {
        const x = (model: number): number => problem.dense[model * numTrain + j]!;
        const covariance = mean((model) => x(model) * y(model)) - mean(x) * mean(y);
        const weight = (Math.sign(covariance) * Math.max(Math.abs(covariance) - lambda, 0)) / (mean(x) * (1 - mean(x)));
        bias -= weight * mean(x);
        expect(dense[target * numTrain + j]).toBeCloseTo(weight, 5);
      }
      expect(fitted.bias[target]).toBeCloseTo(bias, 4);
    }
    expect(fitted.gap.every((gap) => gap === 0)).toBe(true);
  });

  it('holds out a random split that depends on the seed only', () => {
    const split = holdoutModels(1000, defaultFitOptions);
    expect(split.length).toBe(100);
    expect(new Set(split).size).toBe(100);
    expect(Array.from(split)).toEqual(Array.from(split).sort((a, b) => a - b));
    expect(holdoutModels(1000, { ...defaultFitOptions, seed: 1 })).not.toEqual(split);
    expect(holdoutModels(2, defaultFitOptions).length).toBe(1);
  });

  it('reports progress, stops when told to, and refuses what does not fit', async () => {
    const seen: number[] = [];
    await fitDatamodels(problem, defaultFitOptions, { onProgress: ({ done }) => seen.push(done) });
    expect(seen.length).toBeGreaterThan(0);
    expect(Math.max(...seen)).toBeLessThanOrEqual(40);
    const controller = new AbortController();
    const running = fitDatamodels(randomProblem(300, 300, 2000, 1), defaultFitOptions, { signal: controller.signal, threads: 1 });
    setTimeout(() => {
      controller.abort();
    }, 20);
    await expect(running).rejects.toMatchObject({ code: 'LETHE_TASK_ABORTED' });
    await expect(fitDatamodels({ ...problem, numTargets: 39 })).rejects.toMatchObject({ code: 'LETHE_SHAPE_MISMATCH' });
    await expect(fitDatamodels(problem, { ...defaultFitOptions, select: 'none' })).rejects.toMatchObject({ code: 'LETHE_FIT_OPTION' });
    await expect(fitDatamodels(problem, { ...defaultFitOptions, lambda: 1 })).rejects.toMatchObject({ code: 'LETHE_FIT_OPTION' });
  });

  it('accepts no targets, one model and one example', async () => {
    const none = await fitDatamodels({ ...problem, outputs: new Float32Array(0), numTargets: 0 });
    expect(none.status).toEqual([]);
    const one = await fitDatamodels(randomProblem(1, 1, 2, 1));
    expect(one.status).toEqual(['constant', 'constant']);
  });
});
