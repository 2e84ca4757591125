/** The score that chooses hyper-parameters with a handful of unlearned models, where a histogram would be all noise. */
import { nativeAddon } from '../native/addon.js';
import type { SplitName } from '../types.js';
import { summariseSplits } from './percentile.js';

export interface TuningInput {
  /** (numOracles, numPoints) of matched oracles: scored oracles must not be seen here */
  oracleMargins: Float32Array;
  /** (numUnlearned, numPoints) of the first originals */
  unlearnedMargins: Float32Array;
  numPoints: number;
}

/** Margins closer together than this say nothing: keeps the divergence of collapsed samples finite. */
const leastVariance = 1e-4;

/**
 * KL( N(oracle mean, variance) || N(unlearned mean, variance) ) per point: the 95th percentile over each split, averaged over the three
 * splits, as the KLOM it stands for. Infinite when a margin is not finite, so that a diverged setting is never chosen.
 */
export async function tuningScore(input: TuningInput, splits: Record<SplitName, Int32Array>): Promise<number> {
  const oracle = await moments(input.oracleMargins, input.numPoints);
  const unlearned = await moments(input.unlearnedMargins, input.numPoints);
  const scores = new Float64Array(input.numPoints);
  for (let p = 0; p < scores.length; p++) {
    if (unlearned.nonFinite[p]! > 0) return Infinity;
    scores[p] = gaussianDivergence(oracle.mean[p]!, oracle.variance[p]!, unlearned.mean[p]!, unlearned.variance[p]!);
  }
  return summariseSplits(scores, splits).average.p95;
}

/** KL( N(m0, v0) || N(m1, v1) ) in nats. */
export function gaussianDivergence(m0: number, v0: number, m1: number, v1: number): number {
  const [a, b] = [Math.max(v0, leastVariance), Math.max(v1, leastVariance)];
  return 0.5 * (a / b + (m1 - m0) ** 2 / b - 1 + Math.log(b / a));
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
