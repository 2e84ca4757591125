/** Theorem 1: the closed form of full-batch iterates, held against the iterates. */
import type { RidgeCheck, RidgeMethodName, RidgeSettings } from '../types.js';
import type { Repetition, Trajectories } from './trajectories.js';

/** Agreement that counts as equal in double precision. */
const tolerance = 1e-10;
/** Errors are relative to the iterate's own distance to theta_*; a distance of 1e-3 and less is dominated by the rounding of theta_*. */
const comparedAbove = 1e-3;
const comparedBelow = 1e3;

export const theorem1Methods: readonly RidgeMethodName[] = ['gradient-descent', 'oracle-matching'];
/** Powers t of the closed form that are compared. */
export const theorem1Iterations = Int32Array.of(1, 2, 3, 5, 10, 20, 50, 100, 200);
export const theorem1Repetitions = 10;

/**
 * What one iteration multiplies the error by in an eigendirection. Gradient descent: (1 - 2 eta lambda)(1 - 2 eta / (1 - 2 eta lambda) s) with
 * s an eigenvalue of X_R^T X_R. The two factors of the theorem multiply to 1 - 2 eta (s + lambda), the derivative of equation 5 as it
 * stands, factor 2 included; at eta = 1 / (2 lambda), where the second does not exist, only the product does. Oracle matching:
 * 1 - 2 eta s with s an eigenvalue of X^T X.
 */
export function contraction(method: RidgeMethodName, step: number, lambda: number, eigenvalue: number): number {
  if (method === 'oracle-matching') return 1 - 2 * step * eigenvalue;
  const penalty = 1 - 2 * step * lambda;
  return penalty === 0 ? -2 * step * eigenvalue : penalty * (1 - ((2 * step) / penalty) * eigenvalue);
}

/** Largest relative difference of iterate and closed form over repetitions, steps and iterations; `runs` keep their iterates. */
export function checkTheorem1(runs: readonly Trajectories[], repetitions: readonly Repetition[], { lambdas }: RidgeSettings): RidgeCheck[] {
  return theorem1Methods.map((method) => {
    const differences = runs
      .filter(({ variant }) => variant.method === method)
      .flatMap((run) => repetitions.flatMap((each, position) => relativeDifferences(run, position, each, lambdas[run.lambdaIndex]!)));
    const value = differences.reduce((a, b) => Math.max(a, b), 0);
    const form = method === 'oracle-matching' ? '(I - 2 eta X^T X)^t' : '(I - 2 eta lambda)^t (I - 2 eta / (1 - 2 eta lambda) X_R^T X_R)^t';
    return {
      name: `theorem-1-${method}`,
      statement: `Theorem 1: the iterates are theta_t - theta_* = ${form} (theta_full - theta_*)`,
      holds: differences.length > 0 && value <= tolerance,
      value,
      relation: '<=',
      tolerance,
      numbers: `largest relative difference ${value.toExponential(1)} over ${differences.length} iterates of all step sizes, t = 1 to ${theorem1Iterations.at(-1)!}`,
    };
  });
}

/** One number for every step size and iteration whose distance lies within 1e-3 and 1e3 times the first one; compared in eigencoordinates. */
function relativeDifferences(run: Trajectories, position: number, { data, optima }: Repetition, lambda: number): number[] {
  const { method } = run.variant;
  const spectrum = method === 'oracle-matching' ? data.all : data.retain;
  const directions = Float64Array.from(spectrum.vectors.transpose().to1DArray()); // (direction, dim)
  const { thetaFull, thetaStar } = optima[run.lambdaIndex]!;
  const start = project(directions, difference(thetaFull, thetaStar, 0));
  const found: number[] = [];
  for (const [s, step] of run.steps.entries()) {
    const factors = Float64Array.from(spectrum.values, (eigenvalue) => contraction(method, step, lambda, eigenvalue));
    for (const [l, t] of run.loggedAt.entries()) {
      const at = s * run.loggedAt.length + l;
      const closed = Float64Array.from(start, (part, j) => part * factors[j]! ** t);
      const size = norm(closed) / norm(start);
      if (!(size >= comparedAbove && size <= comparedBelow) || run.inSpan[position]![at] === Infinity) continue;
      const iterate = project(directions, difference(run.iterates[position]!, thetaStar, at * data.dim));
      found.push(norm(difference(iterate, closed, 0)) / norm(closed));
    }
  }
  return found;
}

/** minuend[offset + j] - subtrahend[j] */
function difference(minuend: Float64Array, subtrahend: Float64Array, offset: number): Float64Array {
  return Float64Array.from(subtrahend, (value, j) => minuend[offset + j]! - value);
}

/** Coordinates of `vector` along the rows of `directions` (dim, dim). */
function project(directions: Float64Array, vector: Float64Array): Float64Array {
  const dim = vector.length;
  const result = new Float64Array(dim);
  for (let row = 0; row < dim; row++) {
    let sum = 0;
    for (let j = 0; j < dim; j++) sum += directions[row * dim + j]! * vector[j]!;
    result[row] = sum;
  }
  return result;
}

function norm(vector: Float64Array): number {
  let sum = 0;
  for (const value of vector) sum += value * value;
  return Math.sqrt(sum);
}
