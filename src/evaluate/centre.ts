/** float64 margins and logits on their way into float32: an offset must not cost the digits of what varies. */
import type { NpyValues } from '../store/formats/npyValues.js';
import type { KlomOptions } from '../types.js';

export interface CentredMargins {
  oracleMargins: Float32Array;
  unlearnedMargins: Float32Array;
  /** Points whose margins lost digits all the same, as they reach beyond the clip. */
  numRounded: number;
}

/** Rounding by more than this share of a point's range would show in its histogram. */
const visible = 1e-5;

/**
 * KLOM of data-dependent bins does not change when a point's margins on both sides are moved together, as long as none is clipped: so the
 * middle is taken off those points whose digits float32 would lose, in double. oracle, unlearned: (models, numPoints)
 */
export function centreMargins(
  oracle: NpyValues,
  unlearned: NpyValues,
  numPoints: number,
  { variant, clip }: Pick<KlomOptions, 'variant' | 'clip'>,
): CentredMargins {
  const result = { oracleMargins: asFloat32(oracle), unlearnedMargins: asFloat32(unlearned), numRounded: 0 };
  const wide = oracle instanceof Float64Array || unlearned instanceof Float64Array;
  if (!wide || variant === 'paper-fixed') return result; // whose bins are wide beside what is lost
  // what was float32 already is not the caller's to change
  if (result.oracleMargins === oracle) result.oracleMargins = result.oracleMargins.slice();
  if (result.unlearnedMargins === unlearned) result.unlearnedMargins = result.unlearnedMargins.slice();
  for (let point = 0; point < numPoints; point++) {
    const { low, high } = rangeOf([oracle, unlearned], point, numPoints);
    const largest = Math.max(Math.abs(low), Math.abs(high));
    if (!(largest * 2 ** -24 > visible * (high - low)) || high === low) continue;
    if (largest > clip) {
      result.numRounded++;
      continue;
    }
    const middle = low + (high - low) / 2;
    for (let at = point; at < oracle.length; at += numPoints) result.oracleMargins[at] = oracle[at]! - middle;
    for (let at = point; at < unlearned.length; at += numPoints) result.unlearnedMargins[at] = unlearned[at]! - middle;
  }
  return result;
}

function asFloat32(values: NpyValues): Float32Array {
  return values instanceof Float32Array ? values : new Float32Array(values);
}

function rangeOf(sides: readonly NpyValues[], point: number, numPoints: number): { low: number; high: number } {
  const range = { low: Infinity, high: -Infinity };
  for (const side of sides) {
    for (let at = point; at < side.length; at += numPoints) {
      if (!Number.isFinite(side[at]!)) continue;
      range.low = Math.min(range.low, side[at]!);
      range.high = Math.max(range.high, side[at]!);
    }
  }
  return range;
}

/** Logits less the largest of their point, in double: the same classes win by the same margins. logits: (..., numClasses) */
export function centreLogits(logits: Float64Array, numClasses: number): Float32Array {
  const centred = new Float32Array(logits.length);
  for (let start = 0; start < logits.length; start += numClasses) {
    let largest = -Infinity;
    for (let k = start; k < start + numClasses; k++) if (Number.isFinite(logits[k]!)) largest = Math.max(largest, logits[k]!);
    const offset = Number.isFinite(largest) ? largest : 0;
    for (let k = start; k < start + numClasses; k++) centred[k] = logits[k]! - offset;
  }
  return centred;
}
