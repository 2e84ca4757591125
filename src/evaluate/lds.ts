/** Linear datamodeling score: Spearman correlation of predicted and true outputs over held-out masks, summarised over points. */
import { LetheError } from '../errors.js';
import { nativeAddon } from '../native/addon.js';
import { Purpose, Random } from '../native/random.js';
import { percentile } from './percentile.js';

export interface LdsInput {
  /** (numModels, numPoints) datamodel predictions for masks no fit has seen */
  predicted: Float32Array;
  /** (numModels, numPoints) outputs of the models trained on those masks */
  actual: Float32Array;
  numModels: number;
  numPoints: number;
}

export interface LdsOptions {
  /** Points [first, end). */
  first: number;
  end: number;
  seed: number;
}

export interface Lds {
  /** Over points whose correlation is defined; NaN when there is none. */
  mean: number;
  median: number;
  /** 95 % bootstrap interval of the mean over points. */
  low: number;
  high: number;
  numPoints: number;
  /** Points without a correlation: a constant prediction (no weights), constant or non-finite outputs. Their LDS counts as 0 in `mean`. */
  numUndefined: number;
}

const resamples = 1000;

/**
 * A datamodel without weights predicts a constant: it has no rank correlation, and leaving such points out would flatter sparse fits,
 * so they count as 0.
 * @throws LETHE_SHAPE_MISMATCH
 */
export async function lds(input: LdsInput, options?: Partial<LdsOptions>): Promise<Lds> {
  const { predicted, actual, numModels, numPoints } = input;
  const { first = 0, end = numPoints, seed = 0 } = options ?? {};
  if (predicted.length !== numModels * numPoints || actual.length !== numModels * numPoints) {
    throw new LetheError('LETHE_SHAPE_MISMATCH', 'predictions and outputs differ in shape', {
      expected: `${numModels} models x ${numPoints} points on both sides`,
      received: `${predicted.length} and ${actual.length} values`,
    });
  }
  const correlation = new Float64Array(end - first);
  const counts = await nativeAddon().spearman({
    predicted,
    actual,
    numModels,
    numPoints,
    firstPoint: first,
    endPoint: end,
    threads: 0,
    correlation,
  });
  const values = correlation.map((value) => (Number.isNaN(value) ? 0 : value));
  const interval = bootstrapMean(values, seed);
  return {
    mean: meanOf(values),
    median: percentile(values.slice().sort(), 50),
    ...interval,
    numPoints: values.length,
    numUndefined: counts.numConstant + counts.numNonFinite,
  };
}

function meanOf(values: Float64Array): number {
  return values.length === 0 ? NaN : values.reduce((sum, value) => sum + value, 0) / values.length;
}

function bootstrapMean(values: Float64Array, seed: number): { low: number; high: number } {
  if (values.length === 0) return { low: NaN, high: NaN };
  const random = new Random(seed, Purpose.bootstrap, 2);
  const means = Float64Array.from({ length: resamples }, () => {
    let sum = 0;
    for (let i = 0; i < values.length; i++) sum += values[random.below(values.length)]!;
    return sum / values.length;
  }).sort();
  return { low: percentile(means, 2.5), high: percentile(means, 97.5) };
}
