/**
 * One judge for us and for the peers: objective and relative duality gap in double precision from the float32 weights. The same
 * definition as native/reference/lasso/reference.cpp; the intercept is at its optimum for the weights.
 */
import { maskRowBytes } from '../data/masks.js';
import type { Masks } from '../types.js';
import type { SparseSolution } from './types.js';

export interface Certificate {
  /** 1/(2m) ||y - X w - b||^2 + lambda ||w||_1 */
  objective: number;
  /** (primal - dual) / (||y - mean||^2 / 2m) */
  relativeGap: number;
}

/** target: (masks.numModels). NaN in, NaN out. */
export function certify(masks: Masks, target: Float64Array, { lambda, indices, weights }: SparseSolution): Certificate {
  const m = masks.numModels;
  const centred = centre(target);
  const residual = centre(subtractColumns(masks, target, indices, weights));
  const squares = dot(residual, residual) / m;
  const product = dot(residual, centred) / m;
  const largest = maxAbs(correlations(masks, residual));
  let absolute = 0;
  for (let k = 0; k < weights.length; k++) absolute += Math.abs(weights[k]!);
  // the best dual feasible multiple of the residual: |x_j^T s r| / m <= lambda
  let s = squares > 0 ? product / squares : 0;
  if (!(largest <= 0)) s = Math.min(s, lambda / largest);
  const objective = squares / 2 + lambda * absolute;
  const dual = s * product - (s * s * squares) / 2;
  return { objective, relativeGap: (objective - dual) / (dot(centred, centred) / (2 * m)) };
}

/** max_j |x_j^T (y - mean)| / m: the smallest lambda at which all weights are zero. */
export function lambdaMax(masks: Masks, target: Float64Array): number {
  return maxAbs(correlations(masks, centre(target)));
}

/** One column of outputs (m, stride) at the given rows. */
export function targetColumn(outputs: Float32Array, stride: number, target: number, rows: ArrayLike<number>): Float64Array {
  return Float64Array.from(rows, (row) => outputs[row * stride + target]!);
}

function subtractColumns(masks: Masks, target: Float64Array, indices: ArrayLike<number>, weights: ArrayLike<number>): Float64Array {
  const rowBytes = maskRowBytes(masks.numTrain);
  const { bits } = masks;
  const residual = Float64Array.from(target);
  for (let i = 0; i < residual.length; i++) {
    let sum = residual[i]!;
    for (let k = 0; k < indices.length; k++) {
      const j = indices[k]!;
      sum -= weights[k]! * ((bits[i * rowBytes + (j >> 3)]! >> (j & 7)) & 1);
    }
    residual[i] = sum;
  }
  return residual;
}

/** x_j^T r / m for every example j. The residual sums to zero, so the mean of a column drops out. */
function correlations(masks: Masks, residual: Float64Array): Float64Array {
  const { numModels, numTrain, bits } = masks;
  const rowBytes = maskRowBytes(numTrain);
  const sums = new Float64Array(rowBytes * 8);
  for (let i = 0; i < numModels; i++) {
    const r = residual[i]! / numModels;
    for (let byte = 0; byte < rowBytes; byte++) {
      const word = bits[i * rowBytes + byte]!;
      const at = byte * 8;
      // products with 0 and 1: a branch a bit would be mispredicted half the time
      for (let bit = 0; bit < 8; bit++) sums[at + bit]! += r * ((word >> bit) & 1);
    }
  }
  return sums.subarray(0, numTrain);
}

function centre(values: Float64Array): Float64Array {
  let mean = 0;
  for (const value of values) mean += value;
  mean /= values.length;
  return values.map((value) => value - mean);
}

function dot(a: Float64Array, b: Float64Array): number {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += a[i]! * b[i]!;
  return sum;
}

function maxAbs(values: Float64Array): number {
  let largest = 0;
  for (const value of values) largest = Math.max(largest, Math.abs(value));
  return largest;
}
