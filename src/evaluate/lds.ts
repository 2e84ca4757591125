/** Linear datamodeling score: Spearman correlation of predicted and true outputs over held-out masks, summarised over points. */
import { LetheError } from '../errors.js';
import { abortFlag, nativeAddon } from '../native/addon.js';
import { chooseDevice, type DeviceName } from '../native/device.js';
import type { RunOptions } from '../types.js';
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
  /** Over all points; NaN when there is none. */
  mean: number;
  median: number;
  /** 95 % bootstrap interval of the mean: percentiles of the means of 1,000 resamples of the points, with replacement. */
  low: number;
  high: number;
  numPoints: number;
  /** Points without a correlation: a constant prediction (no weights), constant or non-finite outputs. Their LDS counts as 0 in `mean`. */
  numUndefined: number;
}

/** Rank correlations of some points. */
export interface PointCorrelations {
  /** (points) 0 where undefined */
  values: Float64Array;
  numUndefined: number;
}

const resamples = 1000;

/**
 * A datamodel without weights predicts a constant: it has no rank correlation, and leaving such points out would flatter sparse fits,
 * so they count as 0.
 * @throws LETHE_SHAPE_MISMATCH, LETHE_TASK_ABORTED (75)
 */
export async function lds(input: LdsInput, options?: Partial<LdsOptions>, run: RunOptions = {}): Promise<Lds> {
  return summariseLds([await correlatePoints(input, options, run)], options?.seed ?? 0, run);
}

/** The part of a score that needs the outputs: for points that do not fit in memory together. @throws LETHE_SHAPE_MISMATCH, LETHE_TASK_ABORTED (75), LETHE_GPU_UNAVAILABLE (4) */
export async function correlatePoints(
  { predicted, actual, numModels, numPoints }: LdsInput,
  { first = 0, end = numPoints }: Partial<LdsOptions> = {},
  { signal, threads = 0, device = 'cpu' }: RunOptions & { device?: DeviceName } = {},
): Promise<PointCorrelations> {
  if (predicted.length !== numModels * numPoints || actual.length !== numModels * numPoints) {
    throw new LetheError('LETHE_SHAPE_MISMATCH', 'predictions and outputs differ in shape', {
      expected: `${numModels} models x ${numPoints} points on both sides`,
      received: `${predicted.length} and ${actual.length} values`,
    });
  }
  const values = new Float64Array(end - first);
  const counts = await nativeAddon().spearman(
    {
      predicted,
      actual,
      numModels,
      numPoints,
      firstPoint: first,
      endPoint: end,
      device: chooseDevice(device),
      threads,
      correlation: values,
    },
    undefined,
    abortFlag(signal),
  );
  for (let point = 0; point < values.length; point++) if (Number.isNaN(values[point]!)) values[point] = 0;
  return { values, numUndefined: counts.numConstant + counts.numNonFinite };
}

/** One score of all parts, in order: the same for any cut into parts. @throws LETHE_TASK_ABORTED (75) */
export async function summariseLds(parts: readonly PointCorrelations[], seed: number, run: RunOptions = {}): Promise<Lds> {
  const values = new Float64Array(parts.reduce((count, part) => count + part.values.length, 0));
  let at = 0;
  for (const part of parts) {
    values.set(part.values, at);
    at += part.values.length;
  }
  return {
    mean: values.length === 0 ? NaN : values.reduce((sum, value) => sum + value, 0) / values.length,
    median: percentile(values.slice().sort(), 50),
    ...(await bootstrapInterval(values, seed, run)),
    numPoints: values.length,
    numUndefined: parts.reduce((count, part) => count + part.numUndefined, 0),
  };
}

async function bootstrapInterval(
  values: Float64Array,
  seed: number,
  { signal, threads = 0 }: RunOptions,
): Promise<{ low: number; high: number }> {
  if (values.length === 0) return { low: NaN, high: NaN };
  const means = new Float64Array(resamples);
  await nativeAddon().bootstrapMeans({ values, means, seed, threads }, undefined, abortFlag(signal));
  means.sort();
  return { low: percentile(means, 2.5), high: percentile(means, 97.5) };
}
