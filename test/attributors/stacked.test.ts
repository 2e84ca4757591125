import { describe, expect, it } from '@jest/globals';
import { completeOptions } from '../../src/attributors/options.js';
import { attributorOf, openDesign } from '../../src/attributors/registry.js';
import { holdoutModels } from '../../src/attributors/selection.js';
import { selectRows } from '../../src/data/masks.js';
import { denseWeights, fitDatamodels, toDatamodels } from '../../src/datamodels/fit.js';
import { predict } from '../../src/datamodels/predict.js';
import type { FitOptions, PenaltyChoice } from '../../src/types.js';
import { numPoints, numTrain, problem } from './problem.js';

const options = (estimator: string, more: Partial<FitOptions> = {}): FitOptions =>
  completeOptions(attributorOf({ estimator }), { estimator, ...more });
const given = problem(80);
const all = { masks: given.masks, outputs: given.outputs, numTargets: numPoints, points: given.points };
const sample = Int32Array.from({ length: numPoints }, (_, k) => k);

/** Those of `models` only. */
function rowsOf(values: Float32Array, models: readonly number[], columns: number): Float32Array<ArrayBuffer> {
  return Float32Array.from(
    { length: models.length * columns },
    (_, at) => values[models[Math.floor(at / columns)]! * columns + (at % columns)]!,
  );
}

function someOf(models: readonly number[]): typeof all {
  const trainMargins = (): Promise<Float32Array> => Promise.resolve(rowsOf(given.ofTrain, models, numTrain));
  return {
    masks: selectRows(given.masks, models),
    outputs: rowsOf(given.outputs, models, numPoints),
    numTargets: numPoints,
    points: { ...given.points, trainMargins },
  };
}

const heldOut = [...holdoutModels(80, { select: 'pooled', holdoutFraction: 0.1, seed: 0 })];
const fitted = Array.from({ length: 80 }, (_, model) => model).filter((model) => !heldOut.includes(model));

async function choose(whole: FitOptions): Promise<PenaltyChoice> {
  const design = openDesign(given.masks, whole, { numTargets: numPoints, points: given.points });
  const [choice] = await design.choose({ outputs: given.outputs, numTargets: numPoints, targetsPerRowWeight: 1, sample }, undefined);
  return choice!;
}

/** Squared error of held-out outputs as a share of that of the mean, every target in units of its deviation over the fitted models. */
function heldOutError(predicted: Float32Array): number {
  const value = (values: Float32Array, row: number, target: number): number => values[row * numPoints + target]!;
  const actual = rowsOf(given.outputs, heldOut, numPoints);
  const seen = rowsOf(given.outputs, fitted, numPoints);
  const mean = (values: number[]): number => values.reduce((a, b) => a + b, 0) / values.length;
  let [error, total] = [0, 0];
  for (let target = 0; target < numPoints; target++) {
    const column = (values: Float32Array): number[] =>
      Array.from({ length: values.length / numPoints }, (_, row) => value(values, row, target));
    const centred = (values: number[]): number[] => values.map((each) => each - mean(values));
    const variance = mean(centred(column(seen)).map((each) => each ** 2));
    const [y, p] = [centred(column(actual)), centred(column(predicted))];
    error += y.reduce((sum, each, row) => sum + (each - p[row]!) ** 2, 0) / variance;
    total += y.reduce((sum, each) => sum + each ** 2, 0) / variance;
  }
  return error / total;
}

describe('an ensemble', () => {
  const members = ['covariance', 'lasso'];
  const whole = options('ensemble', { members });

  it('is the sum of its members, with the factors that are best on held-out models', async () => {
    const choice = await choose(whole);
    const ahead: Float32Array[] = [];
    for (const name of members) {
      const part = someOf(fitted);
      const own = await fitDatamodels({ ...part, choices: [choice.members![name]!] }, options(name));
      ahead.push(await predict(own, selectRows(given.masks, heldOut)));
    }
    const mixed = (a: number, b: number): number => heldOutError(ahead[0]!.map((value, at) => a * value + b * ahead[1]![at]!));
    const [a, b] = members.map((name) => choice.scales![name]!);
    expect(mixed(a!, b!)).toBeCloseTo(choice.error, 5);
    for (const [more, other] of [
      [0.02, 0],
      [-0.02, 0],
      [0, 0.02],
      [0, -0.02],
    ]) {
      if (a! + more! < 0 || b! + other! < 0) continue;
      expect(mixed(a! + more!, b! + other!)).toBeGreaterThan(choice.error);
    }

    const together = await fitDatamodels({ ...all, choices: [choice] }, whole);
    const expected = new Float32Array(numPoints * numTrain);
    for (const [k, name] of members.entries()) {
      const own = denseWeights(await fitDatamodels({ ...all, choices: [choice.members![name]!] }, options(name)));
      own.forEach((weight, at) => (expected[at]! += [a, b][k]! * weight));
    }
    denseWeights(together).forEach((weight, at) => {
      expect(weight).toBeCloseTo(expected[at]!, 5);
    });
    const predicted = await predict(together, given.masks);
    const mean = (values: Float32Array, target: number): number =>
      fitted.concat(heldOut).reduce((sum, model) => sum + values[model * numPoints + target]! / 80, 0);
    for (const target of [2, 29]) expect(mean(predicted, target)).toBeCloseTo(mean(given.outputs, target), 4);
  });

  it('gives the same bytes in any cut', async () => {
    const choice = await choose(whole);
    const design = openDesign(given.masks, whole, { numTargets: numPoints, points: given.points });
    const chosen = (count: number): PenaltyChoice[] => Array.from({ length: count }, () => choice);
    const block = { outputs: given.outputs, numTargets: numPoints, targetsPerRowWeight: 1 };
    const weights = denseWeights(toDatamodels(await design.fit(block, {}, chosen(numPoints)), numPoints, numTrain));
    const part = Float32Array.from({ length: 80 * 5 }, (_, at) => given.outputs[Math.floor(at / 5) * numPoints + 20 + (at % 5)]!);
    const cut = await design.fit({ ...block, first: 20, outputs: part, numTargets: 5 }, {}, chosen(5));
    expect(denseWeights(toDatamodels(cut, 5, numTrain))).toEqual(weights.subarray(20 * numTrain, 25 * numTrain));
  });
});

describe('a prior', () => {
  it('is what the Lasso starts from: only what it leaves over is fitted', async () => {
    const whole = options('lasso', { prior: 'covariance' });
    const choice = await choose(whole);
    const [a, b] = ['covariance', 'lasso'].map((name) => choice.scales![name]!);
    expect(a).toBeGreaterThan(0);
    const prior = await fitDatamodels({ ...all, choices: [choice.members!['covariance']!] }, options('covariance'));
    const predicted = await predict(prior, given.masks);
    const left = given.outputs.map((value, at) => value - a! * predicted[at]!);
    const rest = await fitDatamodels({ ...all, outputs: left, choices: [choice.members!['lasso']!] }, options('lasso'));
    const [first, second] = [denseWeights(prior), denseWeights(rest)];
    const together = await fitDatamodels({ ...all, choices: [choice] }, whole);
    denseWeights(together).forEach((weight, at) => {
      expect(weight).toBeCloseTo(a! * first[at]! + b! * second[at]!, 5);
    });
  });

  it('is no worse on held-out models than the attributor alone', async () => {
    // margins of train examples that say nothing about these models: what correlates with them does so by chance
    const noise = problem(80, 7).ofTrain;
    for (const margins of [noise, given.ofTrain]) {
      const points = { ...given.points, trainMargins: () => Promise.resolve(margins) };
      const design = openDesign(given.masks, options('ridge', { prior: 'covariance' }), { numTargets: numPoints, points });
      const block = { outputs: given.outputs, numTargets: numPoints, targetsPerRowWeight: 1 };
      const choice = (await design.choose({ ...block, sample }, undefined))[0]!;
      const alone = await predict(await fitDatamodels(someOf(fitted), options('ridge')), selectRows(given.masks, heldOut));
      const multiples = Array.from({ length: 201 }, (_, k) => heldOutError(alone.map((value) => (k / 100) * value)));
      expect(choice.error).toBeLessThan(Math.min(...multiples) + 1e-4);
    }
  });

  it('refuses one that is none', () => {
    expect(() => openDesign(given.masks, options('lasso', { prior: 'lasso' }), { numTargets: 1 })).toThrow('LETHE_FIT_OPTION');
    expect(() => openDesign(given.masks, options('ensemble', { members: ['ridge', 'ridge'] }), { numTargets: 1 })).toThrow('none twice');
  });
});
