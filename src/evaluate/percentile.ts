/** Summaries of per-point scores over splits. */
import type { SplitName, SplitSummary } from '../types.js';
import { splitNames } from '../types.js';

/** NumPy's default percentile: linear interpolation between order statistics. `sorted` ascending; NaN when empty. */
export function percentile(sorted: Float64Array, percent: number): number {
  if (sorted.length === 0) return NaN;
  const position = ((sorted.length - 1) * percent) / 100;
  const low = Math.floor(position);
  const high = Math.min(low + 1, sorted.length - 1);
  return sorted[low]! + (position - low) * (sorted[high]! - sorted[low]!);
}

/** Mean and percentiles of the scores of some points; points without a score (NaN) are left out. */
export function summarise(scores: Float64Array, points: Int32Array): SplitSummary {
  const values = Float64Array.from(points, (point) => scores[point]!)
    .filter((value) => !Number.isNaN(value))
    .sort();
  const mean = values.length === 0 ? NaN : values.reduce((sum, value) => sum + value, 0) / values.length;
  return { mean, p50: percentile(values, 50), p85: percentile(values, 85), p95: percentile(values, 95), p99: percentile(values, 99) };
}

/** Each split by itself, and the average of the three summaries (the paper's first column). */
export function summariseSplits(scores: Float64Array, splits: Record<SplitName, Int32Array>): Record<SplitName | 'average', SplitSummary> {
  const of = splitNames.map((name) => summarise(scores, splits[name]));
  const mean = (key: keyof SplitSummary): number => of.reduce((sum, summary) => sum + summary[key], 0) / of.length;
  return {
    forget: of[0]!,
    retain: of[1]!,
    validation: of[2]!,
    average: { mean: mean('mean'), p50: mean('p50'), p85: mean('p85'), p95: mean('p95'), p99: mean('p99') },
  };
}
