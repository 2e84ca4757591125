import type { Datamodels, TrainRecipe } from '../../src/types.js';
import type { UnlearnInput } from '../../src/unlearn/index.js';

export const recipe: TrainRecipe = {
  epochs: 24,
  batchSize: 512,
  optimizer: { kind: 'sgd', momentum: 0.9, weightDecay: 5e-4 },
  schedule: { kind: 'triangle', learningRate: 0.4, peakEpoch: 5 },
  labelSmoothing: 0,
};

export const sizes = { numForget: 100, numRetain: 49900, recipeEpochs: 24 };

/** Every value of a matrix tells its row, column and matrix. */
export function matrix(rows: number, columns: number, base: number): Float32Array {
  return Float32Array.from({ length: rows * columns }, (_, i) => base + i);
}

/** 40 train points (forget 3, 8, 20), 10 validation points, 4 classes. */
export function fixtureInput(changes: Partial<UnlearnInput> = {}): UnlearnInput {
  const forget = Int32Array.of(3, 8, 20);
  return {
    modelIndex: 7,
    seed: 11,
    numTrain: 40,
    numClasses: 4,
    forget,
    retain: Int32Array.from({ length: 40 }, (_, i) => i).filter((i) => !forget.includes(i)),
    labels: Int32Array.from({ length: 50 }, (_, point) => point % 4),
    originalParameters: matrix(1, 5, 0),
    originalLogits: matrix(50, 4, 1000),
    matchedOracleLogits: matrix(50, 4, 2000),
    shift: { full: matrix(50, 4, 0), diagonal: matrix(50, 4, -500) },
    recipe,
    ...changes,
  };
}

/** A dense weight matrix (targets, numTrain) as sparse datamodels. */
export function sparse(dense: number[][]): Datamodels {
  const rowStart = new Float64Array(dense.length + 1);
  const indices: number[] = [];
  const weights: number[] = [];
  dense.forEach((row, target) => {
    row.forEach((weight, example) => {
      if (weight === 0) return;
      indices.push(example);
      weights.push(weight);
    });
    rowStart[target + 1] = indices.length;
  });
  return {
    numTargets: dense.length,
    numTrain: dense[0]!.length,
    bias: new Float32Array(dense.length),
    lambda: new Float32Array(dense.length),
    gap: new Float32Array(dense.length),
    status: dense.map(() => 'converged' as const),
    rowStart,
    indices: Int32Array.from(indices),
    weights: Float32Array.from(weights),
  };
}
