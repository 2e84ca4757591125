/** Masks in a .npy file, packed while they are read: a byte for every bit never lies in memory at once. */
import { LetheError, requireRunning } from '../errors.js';
import { NpyFile } from '../store/npyFile.js';
import type { Masks } from '../types.js';
import { maskRowBytes, packMasks } from './masks.js';

const windowBytes = 1 << 24;

/**
 * bool or uint8 of shape (models, train examples).
 * @throws LETHE_FILE_MISSING, LETHE_MASKS_SHAPE, LETHE_MASKS_VALUE (exit code 2), LETHE_NPY_DAMAGED, LETHE_NPY_UNSUPPORTED (exit code 3),
 * LETHE_TASK_ABORTED (75)
 */
export async function readMaskFile(path: string, signal?: AbortSignal): Promise<Masks> {
  const file = await NpyFile.open(path);
  try {
    const { dtype, shape } = file;
    if ((dtype !== 'bool' && dtype !== 'uint8') || shape.length !== 2) {
      throw new LetheError('LETHE_MASKS_SHAPE', `${path} does not hold masks`, {
        expected: 'bool or uint8 of shape (models, train examples)',
        received: `${dtype} of shape (${shape.join(', ')})`,
        action: 'Write them with numpy.save(file, masks.astype(bool)).',
      });
    }
    const [numModels, numTrain] = shape as [number, number];
    const rowBytes = maskRowBytes(numTrain);
    const bits = new Uint8Array(numModels * rowBytes);
    const step = Math.max(1, Math.floor(windowBytes / Math.max(numTrain, 1)));
    for (let first = 0; first < numModels; first += step) {
      requireRunning(signal);
      const end = Math.min(first + step, numModels);
      const dense = (await file.readRows(first, end)) as Uint8Array;
      requireBits(dense, first, numTrain, path);
      bits.set(packMasks(dense, end - first, numTrain).bits, first * rowBytes);
    }
    return { numModels, numTrain, bits };
  } finally {
    await file.close();
  }
}

function requireBits(dense: Uint8Array, firstModel: number, numTrain: number, path: string): void {
  let wrong = 0;
  while (wrong < dense.length && dense[wrong]! <= 1) wrong++;
  if (wrong === dense.length) return;
  throw new LetheError('LETHE_MASKS_VALUE', `${path} holds a mask that is neither 0 nor 1`, {
    expected: '1 where the model was trained on the example, else 0',
    received: `${dense[wrong]!} for model ${firstModel + Math.floor(wrong / numTrain)}, example ${wrong % numTrain}`,
    action: 'Write them with numpy.save(file, masks.astype(bool)).',
  });
}
