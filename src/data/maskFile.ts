/** Masks in a .npy file, packed while they are read: a byte for every bit never lies in memory at once. */
import { LetheError, requireRunning } from '../errors.js';
import { NpyFile } from '../store/formats/npyFile.js';
import { firstOutside } from '../store/formats/npyIntegers.js';
import type { NpyValues } from '../store/formats/npyValues.js';
import type { Masks } from '../types.js';
import { maskRowBytes, packMasks } from './masks.js';

const windowBytes = 1 << 24;

/**
 * bool or integers, 0 or 1, of shape (models, train examples), neither of them 0.
 * @throws LETHE_FILE_MISSING, LETHE_MASKS_SHAPE, LETHE_MASKS_VALUE (exit code 2), LETHE_NPY_DAMAGED, LETHE_NPY_UNSUPPORTED (exit code 3),
 * LETHE_TASK_ABORTED (75)
 */
export async function readMaskFile(path: string, signal?: AbortSignal): Promise<Masks> {
  const file = await NpyFile.open(path);
  try {
    const { dtype, shape } = file;
    if (dtype.startsWith('float') || shape.length !== 2 || shape.includes(0)) {
      throw new LetheError('LETHE_MASKS_SHAPE', `${path} does not hold masks`, {
        expected: 'bool or integers of shape (models, train examples), no dimension empty',
        received: `${dtype} of shape (${shape.join(', ')})`,
        action: 'Write them with numpy.save(file, masks.astype(bool)).',
      });
    }
    const [numModels, numTrain] = shape as [number, number];
    const rowBytes = maskRowBytes(numTrain);
    const bits = new Uint8Array(numModels * rowBytes);
    const step = Math.max(1, Math.floor(windowBytes / numTrain));
    for (let first = 0; first < numModels; first += step) {
      requireRunning(signal);
      const end = Math.min(first + step, numModels);
      const dense = await file.readRows(first, end);
      requireBits(dense, first, numTrain, path);
      bits.set(packMasks(dense instanceof Uint8Array ? dense : Uint8Array.from(dense), end - first, numTrain).bits, first * rowBytes);
    }
    return { numModels, numTrain, bits };
  } finally {
    await file.close();
  }
}

function requireBits(dense: NpyValues, firstModel: number, numTrain: number, path: string): void {
  const wrong = firstOutside(dense, 2);
  if (wrong < 0) return;
  throw new LetheError('LETHE_MASKS_VALUE', `${path} holds a mask that is neither 0 nor 1`, {
    expected: '1 where the model was trained on the example, else 0',
    received: `${dense[wrong]!} for model ${firstModel + Math.floor(wrong / numTrain)}, example ${wrong % numTrain}`,
    action: 'Write them with numpy.save(file, masks.astype(bool)).',
  });
}
