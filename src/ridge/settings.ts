/** What the linear study runs: the two examples of the paper, with every size open to change. */
import { LetheError } from '../errors.js';
import type { RidgeBatch, RidgeMethodName, RidgeSettings } from '../types.js';

/** Step sizes 10 / 2^k, k = 0..20, largest first (Appendix E.3). */
export const stepGrid = Float64Array.from({ length: 21 }, (_, halvings) => 10 / 2 ** halvings);

const ascentWeights = [0.01, 0.1, 1, 10] as const;

/** R at which a method counts as having arrived, and below which differences are rounding. */
export const arrivedBelow = 1e-6;
export const equalBelow = 1e-20;

/** A method as the study runs it: descent-ascent once for every weight. */
export interface RidgeVariant {
  method: RidgeMethodName;
  ascentWeight?: number;
}

export const variants: readonly RidgeVariant[] = [
  { method: 'gradient-descent' },
  ...ascentWeights.map((ascentWeight) => ({ method: 'descent-ascent', ascentWeight }) as const),
  { method: 'oracle-matching' },
  { method: 'oracle-matching-retain' },
];

/**
 * The paper gives sizes, lambdas and, for example 2, the noise. Example 1's data are open: points from N(0, I), labels theta . x + noise
 * with theta from N(0, I) and noise variance 4. Then 95 of 400 directions, 24 % of the forget points' mass, lie in the retain span, as
 * the paper says, and lambda = 4 is the best ridge penalty, as lambda = 1/4 is in example 2.
 */
export function defaultRidgeSettings(example: 1 | 2): RidgeSettings {
  return {
    example,
    dimension: 400,
    numTrain: 100,
    numForget: 5,
    noiseVariance: example === 1 ? 4 : 0.25,
    lambdas: example === 1 ? [4, 400] : [0.25, 5],
    batchSize: 5,
    iterations: { full: 2000, stochastic: 10_000 },
    seeds: 20,
    seed: 0,
  };
}

interface Rule {
  /** The setting, as the message names it. */
  what: string;
  value: number;
  expected: string;
  holds: (value: number) => boolean;
  action: string;
}

const integerFrom =
  (least: number, most = 2 ** 31 - 1) =>
  (value: number): boolean =>
    Number.isInteger(value) && value >= least && value <= most;

function rulesOf(settings: RidgeSettings): Rule[] {
  const { dimension, numTrain, numForget, noiseVariance, lambdas, batchSize, iterations, seeds, seed } = settings;
  const [small, large] = lambdas;
  const positive = (value: number): boolean => Number.isFinite(value) && value > 0;
  return [
    rule('dimension', dimension, 'an integer from 1 to 20000', integerFrom(1, 20_000), 'Give --dimension.'),
    rule('number of train points', numTrain, 'an integer from 2 to 20000', integerFrom(2, 20_000), 'Give --train.'),
    rule(
      'number of forget points',
      numForget,
      `an integer from 1 to ${numTrain - 1}, fewer than the ${numTrain} train points`,
      integerFrom(1, numTrain - 1),
      'Give fewer with --forget, or more points with --train.',
    ),
    rule('noise variance', noiseVariance, 'a number >= 0', (value) => Number.isFinite(value) && value >= 0, 'Give --noise-variance.'),
    rule('small lambda', small, 'a number > 0: without a penalty the optimum is not unique', positive, 'Give --lambda SMALL,LARGE.'),
    rule(
      'large lambda',
      large,
      `a number > ${small}, the small lambda`,
      (value) => positive(value) && value > small,
      'Give --lambda SMALL,LARGE.',
    ),
    rule(
      'batch size',
      batchSize,
      `an integer from 1 to ${numTrain - numForget}, the number of retain points`,
      integerFrom(1, numTrain - numForget),
      'Give --batch.',
    ),
    rule('number of full-batch iterations', iterations.full, 'an integer from 10 to 1e7', integerFrom(10, 1e7), 'Give --iterations.'),
    rule(
      'number of stochastic iterations',
      iterations.stochastic,
      'an integer from 10 to 1e7',
      integerFrom(10, 1e7),
      'Give --stochastic-iterations.',
    ),
    rule('number of repetitions', seeds, 'an integer from 1 to 1000', integerFrom(1, 1000), 'Give --seeds.'),
    rule('seed', seed, 'an integer from 0 to 2^53 - 1', (value) => Number.isSafeInteger(value) && value >= 0, 'Give --seed.'),
  ];
}

function rule(what: string, value: number, expected: string, holds: (value: number) => boolean, action: string): Rule {
  return { what, value, expected, holds, action };
}

/** @throws LETHE_LINEAR_SETTING (exit code 2) naming the first setting that cannot be run */
export function checkRidgeSettings(settings: RidgeSettings): void {
  for (const { what, value, expected, holds, action } of rulesOf(settings)) {
    if (!holds(value)) {
      throw new LetheError('LETHE_LINEAR_SETTING', `the study cannot run with this ${what}`, { expected, received: String(value), action });
    }
  }
}

/** Iteration counts at which distances are kept: all up to 50, then 40 a decade, and the last. */
export function loggedIterations(last: number): Int32Array {
  const logged = new Set<number>();
  for (let t = 0; t <= Math.min(50, last); t++) logged.add(t);
  for (let k = 0; 50 * 10 ** (k / 40) < last; k++) logged.add(Math.round(50 * 10 ** (k / 40)));
  logged.add(last);
  return Int32Array.from([...logged].sort((a, b) => a - b));
}

/** 0 stands for the full batch on the native side. */
export const nativeBatchSize = (batch: RidgeBatch, settings: RidgeSettings): number => (batch === 'full' ? 0 : settings.batchSize);
