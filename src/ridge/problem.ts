/** Data, rotation, optima and spectrum of one repetition. Decompositions are ml-matrix's, in double precision. */
import { CholeskyDecomposition, EigenvalueDecomposition, Matrix, QrDecomposition } from 'ml-matrix';
import { Purpose, Random } from '../native/random.js';
import type { RidgeSettings } from '../types.js';

/** Raw data: retain rows first, then the forget rows (which is what a uniform choice of forget points amounts to: rows are i.i.d.). */
export interface RidgeData {
  x: Float64Array; // (numTrain, dimension)
  y: Float64Array; // (numTrain)
}

/** Eigenvalues, ascending, and orthonormal eigenvectors as columns. */
export interface Spectrum {
  values: Float64Array; // (dim)
  vectors: Matrix; // (dim, dim)
}

/**
 * The data in rotated coordinates. Every iterate of every method stays in the span of all points, so min(dimension, numTrain)
 * coordinates hold everything and no distance changes; the first `spanSize` of them are the span of the retain points.
 */
export interface RotatedData {
  dim: number;
  spanSize: number;
  x: Float64Array; // (numTrain, dim)
  y: Float64Array; // (numTrain)
  all: Spectrum; // of X^T X
  retain: Spectrum; // of X_R^T X_R
}

export interface Optima {
  lambda: number;
  thetaFull: Float64Array; // (dim)
  thetaStar: Float64Array; // (dim)
}

/** Draws the points of repetition `repetition`: labels theta . x + noise, theta from N(0, I). */
export function drawData(settings: RidgeSettings, repetition: number): RidgeData {
  const { example, dimension, numTrain, noiseVariance, seed } = settings;
  const random = new Random(seed, Purpose.ridgeData, repetition, example);
  const deviation = Float64Array.from({ length: dimension }, (_, j) => (example === 1 ? 1 : Math.sqrt(1 / (j + 1))));
  const theta = Float64Array.from({ length: dimension }, () => random.normal());
  const x = new Float64Array(numTrain * dimension);
  const y = new Float64Array(numTrain);
  for (let i = 0; i < numTrain; i++) {
    let label = Math.sqrt(noiseVariance) * random.normal();
    for (let j = 0; j < dimension; j++) {
      const value = deviation[j]! * random.normal();
      x[i * dimension + j] = value;
      label += theta[j]! * value;
    }
    y[i] = label;
  }
  return { x, y };
}

/** Rotates with Q of X^T = Q R, rows of X in order: the first columns of Q span the retain points because their rows come first. */
export function rotate({ x, y }: RidgeData, { dimension, numTrain, numForget }: RidgeSettings): RotatedData {
  const dim = Math.min(dimension, numTrain);
  const points = Matrix.from1DArray(numTrain, dimension, x);
  const basis = new QrDecomposition(points.subMatrix(0, dim - 1, 0, dimension - 1).transpose()).orthogonalMatrix;
  const rotated = points.mmul(basis.subMatrix(0, dimension - 1, 0, dim - 1));
  const retain = rotated.subMatrix(0, numTrain - numForget - 1, 0, dim - 1);
  return {
    dim,
    spanSize: Math.min(dimension, numTrain - numForget),
    x: Float64Array.from(rotated.to1DArray()),
    y,
    all: spectrumOf(rotated),
    retain: spectrumOf(retain),
  };
}

function spectrumOf(points: Matrix): Spectrum {
  const { realEigenvalues, eigenvectorMatrix } = new EigenvalueDecomposition(points.transpose().mmul(points), { assumeSymmetric: true });
  return { values: Float64Array.from(realEigenvalues), vectors: eigenvectorMatrix };
}

/** Minimisers of sum (theta . x - y)^2 + lambda |theta|^2 over all points and over the retain points (equation 5), by Cholesky. */
export function optima({ x, y, dim }: RotatedData, lambda: number, numForget: number): Optima {
  const points = Matrix.from1DArray(y.length, dim, x);
  return {
    lambda,
    thetaFull: ridge(points, y, lambda),
    thetaStar: ridge(points.subMatrix(0, y.length - numForget - 1, 0, dim - 1), y, lambda),
  };
}

function ridge(points: Matrix, y: Float64Array, lambda: number): Float64Array {
  const transposed = points.transpose();
  const normal = transposed.mmul(points).add(Matrix.eye(points.columns).mul(lambda));
  // exactly symmetric, which the decomposition asks for; sums in another order are so only up to rounding
  for (let j = 0; j < normal.rows; j++) for (let k = 0; k < j; k++) normal.set(j, k, normal.get(k, j));
  const moments = transposed.mmul(Matrix.columnVector(y.subarray(0, points.rows)));
  return Float64Array.from(new CholeskyDecomposition(normal).solve(moments).to1DArray());
}

/** Share of the squared norm of `rows` (count, dim) in the first `spanSize` coordinates. */
export function massInSpan(rows: Float64Array, dim: number, spanSize: number): number {
  let inside = 0;
  let total = 0;
  for (let at = 0; at < rows.length; at++) {
    const squared = rows[at]! ** 2;
    total += squared;
    if (at % dim < spanSize) inside += squared;
  }
  return inside / total;
}
