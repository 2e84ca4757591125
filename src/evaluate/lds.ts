/** Linear datamodeling score: Spearman correlation of predicted and true outputs over held-out masks, summarised over points. */
import { LetheError } from '../errors.js';
import { abortFlag, nativeAddon } from '../native/addon.js';
import { concatenate } from '../native/concatenate.js';
import { chooseDevice, type DeviceName } from '../native/device.js';
import type { RunOptions } from '../types.js';
import { percentile } from './percentile.js';

export interface LdsInput {
  /** (numModels, numPoints) datamodel predictions for masks no fit has seen */
  predicted: Float32Array;
  /** (numModels, numPoints) outputs of the models trained on those masks; a model without a finite one is left out for that point */
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
  /** Over all points; NaN when there is none, or none whose predictions and outputs are finite. */
  mean: number;
  median: number;
  /** 95 % bootstrap interval of the mean: percentiles of the means of 1,000 resamples of the points, with replacement. */
  low: number;
  high: number;
  numPoints: number;
  /** Points without a correlation: a constant prediction (no weights), constant or non-finite outputs. Their LDS counts as 0 in `mean`. */
  numUndefined: number;
  /** Of these: predictions that are not finite, or fewer than two models with a finite output. */
  numNonFinite: number;
}

/** Rank correlations of some points. */
export interface PointCorrelations {
  /** (points) 0 where undefined */
  values: Float64Array;
  numUndefined: number;
  numNonFinite: number;
}

const resamples = 1000;

/**
 * A datamodel without weights predicts a constant: it has no rank correlation, and leaving such points out would flatter sparse fits,
 * so they count as 0.
 * @throws LETHE_SHAPE_MISMATCH, LETHE_TASK_ABORTED (75)
 */
export async function lds(input: LdsInput, options?: Partial<LdsOptions>, run: RunOptions & { device?: DeviceName } = {}): Promise<Lds> {
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
  const result: PointCorrelations = { values: new Float64Array(end - first), numUndefined: 0, numNonFinite: 0 };
  for (const { rows, points } of finiteGroups(actual, { numModels, numPoints, first, end })) {
    if (rows.length < 2) {
      result.numUndefined += points.length;
      result.numNonFinite += points.length;
      continue;
    }
    const whole = rows.length === numModels && points.length === end - first;
    const part = whole
      ? { predicted, actual, numPoints, firstPoint: first, endPoint: end }
      : cut({ predicted, actual, numPoints }, rows, points);
    const correlation = new Float64Array(points.length);
    const { numConstant, numNonFinite } = await nativeAddon().spearman(
      { ...part, numModels: rows.length, device: chooseDevice(device), threads, correlation },
      undefined,
      abortFlag(signal),
    );
    points.forEach((point, k) => {
      result.values[point - first] = Number.isNaN(correlation[k]!) ? 0 : correlation[k]!;
    });
    result.numUndefined += numConstant + numNonFinite;
    result.numNonFinite += numNonFinite;
  }
  return result;
}

/** Points whose outputs are finite for the same models. */
interface FiniteGroup {
  /** Models, ascending. */
  rows: number[];
  points: number[];
}

function finiteGroups(
  actual: Float32Array,
  { numModels, numPoints, first, end }: { numModels: number; numPoints: number; first: number; end: number },
): FiniteGroup[] {
  const missing = new Map<number, number[]>(); // models without a finite output, by point
  for (let model = 0; model < numModels; model++) {
    for (let point = first; point < end; point++) {
      if (Number.isFinite(actual[model * numPoints + point]!)) continue;
      const of = missing.get(point);
      if (of) of.push(model);
      else missing.set(point, [model]);
    }
  }
  const groups = new Map<string, FiniteGroup>();
  for (let point = first; point < end; point++) {
    const without = missing.get(point) ?? [];
    const key = without.join();
    const group = groups.get(key);
    if (group) group.points.push(point);
    else groups.set(key, { rows: numbersBut(without, numModels), points: [point] });
  }
  return [...groups.values()];
}

function numbersBut(without: readonly number[], count: number): number[] {
  const left = new Set(without);
  return Array.from({ length: count }, (_, i) => i).filter((i) => !left.has(i));
}

function cut(
  { predicted, actual, numPoints }: Pick<LdsInput, 'predicted' | 'actual' | 'numPoints'>,
  rows: readonly number[],
  points: readonly number[],
) {
  const of = (matrix: Float32Array): Float32Array => {
    const part = new Float32Array(rows.length * points.length);
    rows.forEach((row, i) => {
      for (let k = 0; k < points.length; k++) part[i * points.length + k] = matrix[row * numPoints + points[k]!]!;
    });
    return part;
  };
  return { predicted: of(predicted), actual: of(actual), numPoints: points.length, firstPoint: 0, endPoint: points.length };
}

/** One score of all parts, in order: the same for any cut into parts. @throws LETHE_TASK_ABORTED (75) */
export async function summariseLds(parts: readonly PointCorrelations[], seed: number, run: RunOptions = {}): Promise<Lds> {
  const values = concatenate(
    Float64Array,
    parts.map((part) => part.values),
  );
  const total = (key: 'numUndefined' | 'numNonFinite'): number => parts.reduce((count, part) => count + part[key], 0);
  const counts = { numPoints: values.length, numUndefined: total('numUndefined'), numNonFinite: total('numNonFinite') };
  // a score of nothing is none, however many zeros stand for it
  if (counts.numNonFinite === values.length) return { mean: NaN, median: NaN, low: NaN, high: NaN, ...counts };
  return {
    mean: values.reduce((sum, value) => sum + value, 0) / values.length,
    median: percentile(values.slice().sort(), 50),
    ...(await bootstrapInterval(values, seed, run)),
    ...counts,
  };
}

async function bootstrapInterval(
  values: Float64Array,
  seed: number,
  { signal, threads = 0 }: RunOptions,
): Promise<{ low: number; high: number }> {
  const means = new Float64Array(resamples);
  await nativeAddon().bootstrapMeans({ values, means, seed, threads }, undefined, abortFlag(signal));
  means.sort();
  return { low: percentile(means, 2.5), high: percentile(means, 97.5) };
}
