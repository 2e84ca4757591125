/** The score that chooses hyper-parameters with a few unlearned models, where a histogram would be all noise; and the rule of the choice. */
import { nativeAddon } from '../native/addon.js';
import { type MethodSetting, type SplitName, splitNames, type TunedSetting, type TuningCriterion } from '../types.js';
import { summariseSplits } from './percentile.js';

export interface TuningInput {
  /** (numOracles, numPoints) of matched oracles: scored oracles must not be seen here */
  oracleMargins: Float32Array;
  /** (numUnlearned, numPoints) */
  unlearnedMargins: Float32Array;
  numPoints: number;
}

/** Margins closer together than this say nothing: keeps the score of collapsed samples finite. */
const leastVariance = 1e-4;

/**
 * Points of accuracy that a setting may lose on the retain or the validation points, against the lower of doing nothing and retraining
 * (a large forget set costs accuracy with perfect unlearning too). KLOM looks at margins only and would not see the difference.
 */
export const allowedAccuracyLoss = 0.02;

/**
 * How far the margins of unlearned models are from those of retrained ones, in nats: per point d^2 / 2 + log(r)^2, where d is the
 * difference of the means in standard deviations of the oracles and r the ratio of the two standard deviations (for equal normal
 * distributions the KL divergence to second order), summarised over each split by the criterion. Infinite when a margin is not finite, so
 * that a diverged setting is never chosen.
 *
 * Percentiles of what a few models show are percentiles of their noise, which differs between settings: dividing by their own variance
 * would prefer margins that are too wide, dividing by the oracles' alone those that are too narrow. So the noise is taken off first.
 */
export async function tuningScore(
  input: TuningInput,
  splits: Record<SplitName, Int32Array>,
  criterion: TuningCriterion = 'average-p95',
): Promise<number> {
  const { numPoints } = input;
  const oracle = await moments(input.oracleMargins, numPoints);
  const unlearned = await moments(input.unlearnedMargins, numPoints);
  if (unlearned.nonFinite.some((count) => count > 0)) return Infinity;
  const scores = new Float64Array(numPoints);
  for (const name of splitNames) {
    const numModels = { oracles: input.oracleMargins.length / numPoints, unlearned: input.unlearnedMargins.length / numPoints };
    const points = splits[name].filter((point) => !Number.isNaN(oracle.mean[point]!));
    const values = divergences(oracle, unlearned, points, numModels);
    points.forEach((point, i) => (scores[point] = values[i]!));
  }
  const summaries = summariseSplits(scores, splits);
  return criterion === 'forget-p99' ? summaries.forget.p99 : summaries.average.p95;
}

/** Of the points of one split. */
function divergences(
  oracle: Moments,
  unlearned: Moments,
  points: Int32Array,
  numModels: { oracles: number; unlearned: number },
): Float64Array {
  const variance = ({ variance: values }: Moments, point: number): number => Math.max(values[point]!, leastVariance);
  const ratio = Float64Array.from(points, (point) => variance(unlearned, point) / variance(oracle, point));
  const shift = Float64Array.from(points, (point) => (unlearned.mean[point]! - oracle.mean[point]!) / Math.sqrt(variance(oracle, point)));
  const shiftNoise = ratio.reduce((sum, value) => sum + value, 0) / ratio.length / numModels.unlearned + 1 / numModels.oracles;
  // the logarithm of a sample's standard deviation is too low by 1 / 2k and has a variance of 1 / 2k, to first order in 1 / k
  const [few, many] = [numModels.unlearned, numModels.oracles].map((count) => 1 / (2 * Math.max(1, count - 1))) as [number, number];
  const width = ratio.map((value) => 0.5 * Math.log(value) + few - many);
  const [d, l] = [withoutNoise(shift, shiftNoise), withoutNoise(width, few + many)];
  return d.map((value, i) => 0.5 * value ** 2 + l[i]! ** 2);
}

/** Values drawn towards their mean until their variance is what noise of a known variance leaves of it, at least 0. */
function withoutNoise(values: Float64Array, noiseVariance: number): Float64Array {
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
  const variance = values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / values.length;
  const kept = variance > 0 ? Math.sqrt(Math.max(0, 1 - noiseVariance / variance)) : 0;
  return values.map((value) => mean + kept * (value - mean));
}

/** What is known of a setting before the choice. */
export interface Candidate {
  setting: MethodSetting;
  /** An ablation or another form of the method; absent for the method as published. */
  variant?: string;
  score: number;
  accuracy: Record<'retain' | 'validation', number>;
  /** See TunedSetting. */
  numDiverged?: number;
}

/**
 * The lowest score of each variant: among the settings that keep the accuracy, among all where none does; no setting without a finite
 * score. `reference`: accuracies of doing nothing and of retraining.
 */
export function chooseSettings(
  candidates: readonly Candidate[],
  reference: readonly Record<'retain' | 'validation', number>[],
): TunedSetting[] {
  const lost = ({ accuracy }: Candidate, split: 'retain' | 'validation'): number => {
    const kept = reference.map((each) => each[split]).filter(Number.isFinite);
    return kept.length === 0 || Number.isNaN(accuracy[split]) ? 0 : kept.reduce((a, b) => Math.min(a, b)) - accuracy[split];
  };
  const judged = candidates.map((candidate) => {
    const accuracyLost = Math.max(lost(candidate, 'retain'), lost(candidate, 'validation'));
    return { ...candidate, accuracyLost, keepsAccuracy: accuracyLost <= allowedAccuracyLoss, chosen: false };
  });
  for (const variant of new Set(judged.map((each) => each.variant))) {
    const own = judged.filter((each) => each.variant === variant && Number.isFinite(each.score));
    const keeping = own.filter((each) => each.keepsAccuracy);
    const [first, ...others] = keeping.length > 0 ? keeping : own;
    if (first) others.reduce((best, each) => (each.score < best.score ? each : best), first).chosen = true;
  }
  return judged;
}

interface Moments {
  mean: Float64Array;
  variance: Float64Array;
  nonFinite: Int32Array;
}

async function moments(margins: Float32Array, numPoints: number): Promise<Moments> {
  const mean = new Float64Array(numPoints);
  const variance = new Float64Array(numPoints);
  const nonFinite = new Int32Array(numPoints);
  await nativeAddon().moments({ margins, numModels: margins.length / numPoints, numPoints, threads: 0, mean, variance, nonFinite });
  return { mean, variance, nonFinite };
}
