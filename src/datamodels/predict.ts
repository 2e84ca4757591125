/** What datamodels predict for models trained on given masks. */
import { LetheError } from '../errors.js';
import { abortFlag, nativeAddon } from '../native/addon.js';
import { nativeFloats } from '../native/memory.js';
import type { NativeDatamodels } from '../native/types.js';
import type { Datamodels, Masks, RunOptions } from '../types.js';

/** Datamodels with all their weights: what `lethe fit --export npy` writes, or another program. */
export interface DenseDatamodels {
  numTargets: number;
  numTrain: number;
  bias: Float32Array; // (numTargets)
  weights: Float32Array; // (numTargets, numTrain)
}

/**
 * Predicted outputs (masks.numModels, numTargets): bias + sum of weights over the examples in the mask, summed in double, in an order
 * that depends on nothing but the weights. Targets flagged 'nonfinite' predict NaN. Progress counts targets.
 * @throws LETHE_SHAPE_MISMATCH when the masks are of another training set, LETHE_TASK_ABORTED (75)
 */
export async function predict(
  datamodels: Datamodels | DenseDatamodels,
  masks: Masks,
  { onProgress, signal, threads = 0 }: RunOptions = {},
): Promise<Float32Array> {
  const { numTargets, numTrain, bias } = datamodels;
  const { numModels, bits } = masks;
  if (masks.numTrain !== numTrain) {
    throw new LetheError('LETHE_SHAPE_MISMATCH', 'masks and datamodels are of different training sets', {
      expected: `masks over ${numTrain} examples`,
      received: `masks over ${masks.numTrain} examples`,
    });
  }
  const given: NativeDatamodels =
    'rowStart' in datamodels
      ? { bias, rowStart: datamodels.rowStart, indices: datamodels.indices, weights: datamodels.weights }
      : { bias, dense: datamodels.weights };
  const predicted = nativeFloats(numModels * numTargets);
  await nativeAddon().predict(
    { ...given, numModels, numTrain, numTargets, bits, isa: '', threads, predicted },
    (done, total) => onProgress?.({ done, total }),
    abortFlag(signal),
  );
  return predicted;
}
