/** What datamodels predict for models trained on given masks. */
import { LetheError } from '../errors.js';
import type { Datamodels, Masks } from '../types.js';

/**
 * Predicted outputs (masks.numModels, numTargets): bias + sum of weights over the examples in the mask, summed in double.
 * Targets flagged 'nonfinite' predict NaN.
 * @throws LETHE_SHAPE_MISMATCH when the masks are of another training set
 */
export function predict(datamodels: Datamodels, masks: Masks): Float32Array {
  const { numTargets, numTrain, bias, rowStart, indices, weights } = datamodels;
  const { numModels, bits } = masks;
  if (masks.numTrain !== numTrain) {
    throw new LetheError('LETHE_SHAPE_MISMATCH', 'masks and datamodels are of different training sets', {
      expected: `masks over ${numTrain} examples`,
      received: `masks over ${masks.numTrain} examples`,
    });
  }
  const columns = maskColumns(bits, numModels, numTrain);
  const predicted = new Float32Array(numModels * numTargets);
  const sums = new Float64Array(numModels);
  for (let target = 0; target < numTargets; target++) {
    sums.fill(bias[target]!);
    for (let k = rowStart[target]!; k < rowStart[target + 1]!; k++) {
      const weight = weights[k]!;
      const column = indices[k]! * numModels;
      for (let model = 0; model < numModels; model++) sums[model]! += weight * columns[column + model]!;
    }
    for (let model = 0; model < numModels; model++) predicted[model * numTargets + target] = sums[model]!;
  }
  return predicted;
}

/** (numTrain, numModels) 0 or 1: a column of the masks is contiguous. */
function maskColumns(bits: Uint8Array, numModels: number, numTrain: number): Uint8Array {
  const rowBytes = Math.ceil(numTrain / 8);
  const columns = new Uint8Array(numTrain * numModels);
  for (let model = 0; model < numModels; model++) {
    for (let j = 0; j < numTrain; j++) columns[j * numModels + model] = (bits[model * rowBytes + (j >> 3)]! >> (j & 7)) & 1;
  }
  return columns;
}
