/** Random fit problems, and a naive double-precision Lasso to compare with. */
import { packMasks } from '../../src/data/masks.js';
import { Purpose, Random } from '../../src/native/random.js';
import type { Datamodels, Masks } from '../../src/types.js';

export interface Problem {
  masks: Masks;
  dense: Uint8Array; // (numModels, numTrain)
  outputs: Float32Array; // (numModels, numTargets)
  numTargets: number;
}

export function randomProblem(numModels: number, numTrain: number, numTargets: number, seed: number): Problem {
  const random = new Random(seed, Purpose.synthetic, 0);
  const dense = Uint8Array.from({ length: numModels * numTrain }, () => random.below(2));
  const outputs = new Float32Array(numModels * numTargets);
  for (let target = 0; target < numTargets; target++) {
    const truth = Array.from({ length: numTrain }, () => (random.below(5) === 0 ? random.normal() : 0));
    for (let model = 0; model < numModels; model++) {
      let sum = random.normal() - 1;
      for (let j = 0; j < numTrain; j++) sum += truth[j]! * dense[model * numTrain + j]!;
      outputs[model * numTargets + target] = sum;
    }
  }
  return { masks: packMasks(dense, numModels, numTrain), dense, outputs, numTargets };
}

/** Centred columns (numTrain arrays of numModels) and the centred target. */
function centred(problem: Problem, target: number): { columns: number[][]; y: number[] } {
  const { numModels, numTrain } = problem.masks;
  const centre = (values: number[]): number[] => {
    const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
    return values.map((value) => value - mean);
  };
  const models = Array.from({ length: numModels }, (_, model) => model);
  return {
    columns: Array.from({ length: numTrain }, (_, j) => centre(models.map((model) => problem.dense[model * numTrain + j]!))),
    y: centre(models.map((model) => problem.outputs[model * problem.numTargets + target]!)),
  };
}

const dot = (a: number[], b: number[]): number => a.reduce((sum, value, i) => sum + value * b[i]!, 0);

export function lambdaMax(problem: Problem, target: number): number {
  const { columns, y } = centred(problem, target);
  return Math.max(...columns.map((column) => Math.abs(dot(column, y)))) / y.length;
}

/** 1/(2m) ||y - X w - b||^2 + lambda ||w||_1 of fitted datamodels, with their own bias. */
export function objective(problem: Problem, fitted: Datamodels, target: number, lambda: number): number {
  const { numModels, numTrain } = problem.masks;
  const start = fitted.rowStart[target]!;
  const end = fitted.rowStart[target + 1]!;
  let squares = 0;
  let absolute = 0;
  for (let k = start; k < end; k++) absolute += Math.abs(fitted.weights[k]!);
  for (let model = 0; model < numModels; model++) {
    let rest = problem.outputs[model * problem.numTargets + target]! - fitted.bias[target]!;
    for (let k = start; k < end; k++) rest -= fitted.weights[k]! * problem.dense[model * numTrain + fitted.indices[k]!]!;
    squares += rest * rest;
  }
  return squares / (2 * numModels) + lambda * absolute;
}

/** The optimal objective by naive coordinate descent; a little above it where 1,000 sweeps do not suffice. */
export function optimum(problem: Problem, target: number, lambda: number): number {
  const { columns, y } = centred(problem, target);
  const weights = columns.map(() => 0);
  const rest = [...y];
  const squares = columns.map((column) => dot(column, column) / y.length);
  for (let sweep = 0, moved = 1; sweep < 1000 && moved > 1e-10; sweep++) {
    moved = 0;
    columns.forEach((column, j) => {
      if (squares[j] === 0) return;
      const pull = dot(column, rest) / y.length + squares[j]! * weights[j]!;
      const after = (Math.sign(pull) * Math.max(Math.abs(pull) - lambda, 0)) / squares[j]!;
      const change = after - weights[j]!;
      weights[j] = after;
      if (change !== 0) for (let i = 0; i < rest.length; i++) rest[i]! -= change * column[i]!;
      moved = Math.max(moved, Math.abs(change));
    });
  }
  return dot(rest, rest) / (2 * y.length) + lambda * weights.reduce((sum, weight) => sum + Math.abs(weight), 0);
}
