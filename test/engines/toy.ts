/** A data set small enough to train on in a test: each class lights up another corner, with noise. */
import { Purpose, Random } from '../../src/native/random.js';
import type { Dataset, PassTerm, TrainJob } from '../../src/types.js';

const side = 8;

export function toyDataset(numTrain = 96, numValidation = 32, numClasses = 4): Dataset {
  const random = new Random(7, Purpose.synthetic, 0);
  const numPoints = numTrain + numValidation;
  const pixels = new Uint8Array(numPoints * side * side * 3);
  const labels = new Int32Array(numPoints);
  for (let point = 0; point < numPoints; point++) {
    const label = point % numClasses;
    labels[point] = label;
    for (let y = 0; y < side; y++) {
      for (let x = 0; x < side; x++) {
        const lit = Math.floor(y / 4) * 2 + Math.floor(x / 4) === label;
        for (let c = 0; c < 3; c++) pixels[((point * side + y) * side + x) * 3 + c] = random.below(128) + (lit ? 64 * (c + 1) * 0.6 : 0);
      }
    }
  }
  return {
    name: 'toy',
    description: 'corners (test)',
    height: side,
    width: side,
    channels: 3,
    numClasses,
    classNames: Array.from({ length: numClasses }, (_, c) => `corner ${c}`),
    numTrain,
    numValidation,
    pixels,
    labels,
    mean: [0.4, 0.4, 0.4],
    std: [0.25, 0.25, 0.25],
    sha256: 'toy',
  };
}

export const range = (from: number, to: number): Int32Array => Int32Array.from({ length: to - from }, (_, i) => from + i);

export function term(indices: Int32Array, change: Partial<PassTerm> = {}): PassTerm {
  return { indices, objective: { crossEntropy: 1 }, weight: 1, batchSize: 16, ...change };
}

export function toyJob(modelIndex: number, change: Partial<TrainJob> = {}): TrainJob {
  return {
    modelIndex,
    seed: 11,
    epochs: 6,
    passes: [{ terms: [term(range(0, 96))], batchNorm: 'train' }],
    optimizer: { kind: 'sgd', momentum: 0.9, weightDecay: 5e-4 },
    schedule: { kind: 'triangle', learningRate: 0.2, peakEpoch: 2 },
    ...change,
  };
}
