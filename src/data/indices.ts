/** Sets of points: train points first, then validation points. */
import type { DatasetFacts, SplitName } from '../types.js';

/** [0, 1, ..., count - 1] */
export function range(count: number): Int32Array {
  return Int32Array.from({ length: count }, (_, i) => i);
}

/** Train indices that are not in the forget set, ascending. */
export function retainIndices(numTrain: number, forget: Int32Array): Int32Array {
  const inForget = new Uint8Array(numTrain);
  for (const index of forget) inForget[index] = 1;
  return range(numTrain).filter((index) => inForget[index] === 0);
}

/** Points of each split; `validation` may be empty. */
export function splitPoints(
  { numTrain, numValidation }: Pick<DatasetFacts, 'numTrain' | 'numValidation'>,
  forget: Int32Array,
): Record<SplitName, Int32Array> {
  return { forget, retain: retainIndices(numTrain, forget), validation: range(numValidation).map((i) => numTrain + i) };
}
