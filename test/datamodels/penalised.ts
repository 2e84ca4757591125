/**
 * An independent Lasso in double precision for the options of a fit: row weights, standardisation, a given grid, k-fold. Naive cyclic
 * coordinate descent on one target, run far beyond the tolerance of the solver under test.
 */

/** One regression: rows of 0/1 examples, a value and a whole weight for each. */
export interface Regression {
  x: number[][]; // (models, train)
  y: number[]; // (models)
  weight: number[]; // (models) 0 leaves the row out, k counts it k times
  standardise: boolean;
}

export interface Solution {
  weights: number[]; // (train)
  bias: number;
}

function weightedMean(values: number[], weight: number[]): number {
  const total = weight.reduce((sum, w) => sum + w, 0);
  return values.reduce((sum, value, i) => sum + weight[i]! * value, 0) / total;
}

/** Penalty factor of every column: its standard deviation over the weighted rows, or 1. */
export function penalties({ x, weight, standardise }: Regression): number[] {
  return x[0]!.map((_, j) => {
    if (!standardise) return 1;
    const share = weightedMean(
      x.map((row) => row[j]!),
      weight,
    );
    return Math.sqrt(share * (1 - share));
  });
}

/** 1/(2M) sum_i weight_i (y_i - x_i w - b)^2 + lambda sum_j penalty_j |w_j|, M the sum of the weights. */
export function penalisedObjective(problem: Regression, lambda: number, { weights, bias }: Solution): number {
  const factor = penalties(problem);
  const total = problem.weight.reduce((sum, w) => sum + w, 0);
  const squares = problem.y.reduce((sum, value, i) => {
    const rest = value - bias - weights.reduce((prediction, w, j) => prediction + w * problem.x[i]![j]!, 0);
    return sum + problem.weight[i]! * rest * rest;
  }, 0);
  return squares / (2 * total) + lambda * weights.reduce((sum, w, j) => sum + factor[j]! * Math.abs(w), 0);
}

/** The smallest lambda without weights: max_j |sum_i weight_i xc_ij yc_i| / (M penalty_j), columns and target centred. */
export function largestLambda(problem: Regression): number {
  const { x, y, weight } = problem;
  const factor = penalties(problem);
  const total = weight.reduce((sum, w) => sum + w, 0);
  const mean = weightedMean(y, weight);
  return Math.max(
    ...factor.map((penalty, j) => {
      const inner = y.reduce((sum, value, i) => sum + weight[i]! * x[i]![j]! * (value - mean), 0) / total;
      return penalty === 0 ? 0 : Math.abs(inner) / penalty;
    }),
  );
}

export function solve(problem: Regression, lambda: number): Solution {
  const { x, y, weight } = problem;
  const factor = penalties(problem);
  const total = weight.reduce((sum, w) => sum + w, 0);
  const columns = x[0]!.map((_, j) => x.map((row) => row[j]!));
  const shares = columns.map((column) => weightedMean(column, weight));
  const mean = weightedMean(y, weight);
  const weights = columns.map(() => 0);
  const rest = y.map((value) => value - mean);
  for (let sweep = 0, moved = 1; sweep < 20_000 && moved > 1e-12; sweep++) {
    moved = 0;
    columns.forEach((column, j) => {
      const square = shares[j]! * (1 - shares[j]!);
      if (square < 1e-12) return;
      const inner = rest.reduce((sum, r, i) => sum + weight[i]! * (column[i]! - shares[j]!) * r, 0) / total;
      const pull = inner + square * weights[j]!;
      const after = (Math.sign(pull) * Math.max(Math.abs(pull) - lambda * factor[j]!, 0)) / square;
      const change = after - weights[j]!;
      if (change === 0) return;
      weights[j] = after;
      for (let i = 0; i < rest.length; i++) rest[i]! -= change * (column[i]! - shares[j]!);
      moved = Math.max(moved, Math.abs(change));
    });
  }
  return { weights, bias: mean - weights.reduce((sum, w, j) => sum + w * shares[j]!, 0) };
}

/** Summed squared error of a solution on rows, weighted. */
export function squaredError({ x, y, weight }: Regression, rows: number[], { weights, bias }: Solution): number {
  return rows.reduce((sum, i) => {
    const rest = y[i]! - bias - weights.reduce((prediction, w, j) => prediction + w * x[i]![j]!, 0);
    return sum + weight[i]! * rest * rest;
  }, 0);
}

/** The squared error of each lambda on held-out rows, summed over the folds (fold[i] = -1: never held out). */
export function heldOutErrors(problem: Regression, fold: ArrayLike<number>, lambdas: number[]): number[] {
  const folds = [...new Set(Array.from(fold))].filter((k) => k >= 0);
  return lambdas.map((lambda) =>
    folds.reduce((sum, k) => {
      const held = problem.y.map((_, i) => i).filter((i) => fold[i] === k);
      const kept = { ...problem, weight: problem.weight.map((w, i) => (fold[i] === k ? 0 : w)) };
      return sum + squaredError(problem, held, solve(kept, lambda));
    }, 0),
  );
}
