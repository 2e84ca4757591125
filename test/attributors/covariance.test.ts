import { describe, expect, it } from '@jest/globals';
import { openDesign } from '../../src/attributors/registry.js';
import { denseWeights, fitDatamodels, toDatamodels } from '../../src/datamodels/fit.js';
import { predict } from '../../src/datamodels/predict.js';
import type { FitOptions, PenaltyChoice } from '../../src/types.js';
import { numClasses, numPoints, numTrain, problem } from './problem.js';

const covariance = (more: Partial<FitOptions> = {}): FitOptions => ({
  estimator: 'covariance',
  seed: 0,
  keep: 1000,
  holdoutFraction: 0.2,
  ...more,
});
/** As the docstring of the attributor has it, one number after the other. `outputs`: of one target. */
function weightsOf(
  { dense, ofTrain, points, numModels }: ReturnType<typeof problem>,
  outputs: number[],
  { own, targetClass }: { own: number; targetClass: number },
  scales: Record<string, number>,
): number[] {
  const mean = (values: number[]): number => values.reduce((a, b) => a + b, 0) / values.length;
  const bit = (model: number, i: number): number => dense[model * numTrain + i]!;
  const without = (values: number[], i: number): { effect: number; rest: number[] } => {
    const models = [...values.keys()];
    const share = mean(models.map((model) => bit(model, i)));
    const centre = mean(values);
    const square = models.reduce((sum, model) => sum + (bit(model, i) - share) ** 2, 0);
    const effect = models.reduce((sum, model) => sum + (bit(model, i) - share) * (values[model]! - centre), 0) / square;
    return { effect, rest: values.map((value, model) => value - centre - effect * (bit(model, i) - share)) };
  };
  const deviation = (values: number[]): number => Math.sqrt(mean(values.map((value) => (value - mean(values)) ** 2)));
  const target = own < 0 ? { effect: 0, rest: outputs.map((value) => value - mean(outputs)) } : without(outputs, own);
  return Array.from({ length: numTrain }, (_, i) => {
    if (i === own) return scales['own']! * target.effect;
    const { effect, rest } = without(
      Array.from({ length: numModels }, (__, model) => ofTrain[model * numTrain + i]!),
      i,
    );
    const c = mean(rest.map((value, model) => value * target.rest[model]!)) / deviation(rest) / deviation(target.rest);
    const scale = points.labels[i] === targetClass ? scales['same class']! : scales['other classes']!;
    return scale * Math.sign(c) * Math.abs(c) ** 1.3 * Math.sqrt(Math.max(effect, 0)) * deviation(target.rest);
  });
}

const scales = { own: 0.9, 'same class': 0.7, 'other classes': 0.4 };
const choice: PenaltyChoice = { group: 'all', scales, criterion: 'error', numSampled: 1, error: 0 };

describe('covariance', () => {
  it('is what its definition says, for margins and for logits, in any cut, and the largest weights only', async () => {
    const given = problem(50);
    const design = openDesign(given.masks, covariance(), { numTargets: numPoints, points: given.points });
    const block = { outputs: given.outputs, numTargets: numPoints, targetsPerRowWeight: 1 };
    const chosen = Array.from({ length: numPoints }, () => choice);
    const fitted = toDatamodels(await design.fit(block, {}, chosen), numPoints, numTrain);
    const weights = denseWeights(fitted);
    const column = (t: number): number[] => Array.from({ length: 50 }, (_, model) => given.outputs[model * numPoints + t]!);
    for (const t of [0, 5, 23, 24, 31]) {
      const naive = weightsOf(given, column(t), { own: t < numTrain ? t : -1, targetClass: given.points.labels[t]! }, scales);
      naive.forEach((weight, i) => {
        expect(weights[t * numTrain + i]).toBeCloseTo(weight, 5);
      });
    }
    // predictions have the mean of the outputs
    const predicted = await predict(fitted, given.masks);
    for (const t of [3, 30]) {
      const mean = (values: Float32Array): number => column(t).reduce((sum, _, model) => sum + values[model * numPoints + t]!, 0) / 50;
      expect(mean(predicted)).toBeCloseTo(mean(given.outputs), 4);
    }
    const part = Float32Array.from({ length: 50 * 7 }, (_, at) => given.outputs[Math.floor(at / 7) * numPoints + 20 + (at % 7)]!);
    const cut = await design.fit({ ...block, first: 20, outputs: part, numTargets: 7 }, {}, chosen.slice(20, 27));
    expect(cut.weights).toEqual(weights.subarray(20 * numTrain, 27 * numTrain));

    const logits = openDesign(given.masks, covariance({ keep: 4 }), {
      numTargets: numPoints,
      points: { ...given.points, targetsPerPoint: numClasses },
    });
    const few = await logits.fit({ ...block, first: 3 * 30, outputs: part, numTargets: 7 }, {}, chosen.slice(0, 7));
    expect(few.weights.length).toBe(28);
    const naive = weightsOf(given, column(22), { own: -1, targetClass: 2 }, scales); // number 92 is class 2 of point 30
    const kept = [...naive.keys()].sort((a, b) => Math.abs(naive[b]!) - Math.abs(naive[a]!)).slice(0, 4);
    expect([...few.indices.subarray(8, 12)]).toEqual(kept.sort((a, b) => a - b));
    kept.forEach((i, k) => {
      expect(few.weights[8 + k]).toBeCloseTo(naive[i]!, 5);
    });
  });

  it('predicts held-out truth better than the Lasso where models are few', async () => {
    const [given, other] = [problem(60), problem(200, 2)];
    const correlation = async (options: FitOptions): Promise<number> => {
      const fitted = await fitDatamodels({ ...given, numTargets: numPoints }, options);
      const predicted = await predict(fitted, other.masks);
      const of = (values: Float32Array, t: number): number[] => {
        const column = Array.from({ length: 200 }, (_, model) => values[model * numPoints + t]!);
        const mean = column.reduce((a, b) => a + b, 0) / 200;
        return column.map((value) => value - mean);
      };
      const dot = (a: number[], b: number[]): number => a.reduce((sum, value, k) => sum + value * b[k]!, 0);
      let sum = 0;
      for (let t = numTrain; t < numPoints; t++) {
        const [a, b] = [of(predicted, t), of(other.truth, t)];
        sum += dot(a, b) / Math.sqrt(dot(a, a) * dot(b, b) + 1e-12) / (numPoints - numTrain);
      }
      return sum;
    };
    const { estimator, ...lasso } = {
      estimator: 'lasso',
      seed: 0,
      pathLength: 50,
      lambdaMinRatio: 0.01,
      select: 'pooled',
      holdoutFraction: 0.2,
      refit: true,
      gapTolerance: 1e-4,
    };
    const [ours, theirs] = [await correlation(covariance()), await correlation({ estimator, ...lasso })];
    expect(ours).toBeGreaterThan(0.7);
    expect(ours).toBeGreaterThan(theirs + 0.1);
  });

  it('chooses scales by least squares on held-out models, none below 0', async () => {
    const given = problem(90);
    const design = openDesign(given.masks, covariance(), { numTargets: numPoints, points: given.points });
    const sample = Int32Array.from({ length: numPoints }, (_, t) => t);
    const groups = { names: ['train', 'validation'], of: Uint8Array.from(sample, (t) => (t < numTrain ? 0 : 1)) };
    const block = { outputs: given.outputs, numTargets: numPoints, targetsPerRowWeight: 1, sample };
    const choices = await design.choose(block, groups);
    expect(choices.map(({ group, numSampled }) => [group, numSampled])).toEqual([
      ['train', numTrain],
      ['validation', numPoints - numTrain],
    ]);
    const [train, validation] = choices as [PenaltyChoice, PenaltyChoice];
    expect(train.scales!['own']).toBeGreaterThan(0.7);
    expect(validation.scales!['own']).toBe(0); // no point is its own example
    for (const { scales: found, error } of choices) {
      expect(Object.values(found!).every((scale) => scale >= 0)).toBe(true);
      expect(error).toBeLessThan(0.95);
    }
    expect(design.describeChoice(train)).toMatch(/^own [\d.]+, same class [\d.]+, other classes [\d.]+$/);
    expect(await design.choose(block, groups, { threads: 1 })).toEqual(choices);
  });

  it('marks what has nothing to fit, and says what it needs', async () => {
    const given = problem(30);
    const outputs = given.outputs.slice();
    for (let model = 0; model < 30; model++) outputs[model * numPoints + 1] = 0.1; // 30 times 0.1 / 30 is not 0.1
    outputs[4 * numPoints + 2] = NaN;
    const fitted = await fitDatamodels({ ...given, outputs, numTargets: numPoints }, covariance());
    expect(fitted.status.slice(0, 4)).toEqual(['converged', 'constant', 'nonfinite', 'converged']);
    expect([fitted.bias[1], fitted.bias[2]]).toEqual([Math.fround(0.1), NaN]);
    expect(fitted.rowStart[3]! - fitted.rowStart[1]!).toBe(0);
    expect(fitted.weights.every(Number.isFinite)).toBe(true);
    const { masks } = given;
    const sample = Int32Array.from({ length: numPoints }, (_, t) => t);
    const block = { outputs, numTargets: numPoints, targetsPerRowWeight: 1, sample };
    for (const options of [covariance(), { estimator: 'ensemble', members: ['covariance', 'ridge'], holdoutFraction: 0.2, seed: 0 }]) {
      const [choice] = await openDesign(masks, options, { numTargets: numPoints, points: given.points }).choose(block, undefined);
      expect([options.estimator, choice!.numSampled]).toEqual([options.estimator, numPoints - 2]);
    }
    await expect(fitDatamodels({ masks, outputs, numTargets: numPoints }, covariance())).rejects.toMatchObject({
      code: 'LETHE_FIT_OPTION',
      message: expect.stringContaining('--labels') as unknown,
    });
    const rowWeights = new Uint8Array(30 * numPoints).fill(1);
    await expect(fitDatamodels({ ...given, rowWeights, numTargets: numPoints }, covariance())).rejects.toMatchObject({
      code: 'LETHE_FIT_OPTION',
    });
  });
});
