/** Labels, indices and counts in .npy files of any numeric type: taken as they are or refused, never cut to fit. */
import type { LetheError } from '../../errors.js';
import { readNpy } from './npy.js';
import type { NpyValues } from './npyValues.js';

/** Makes the caller's error. `received` says what is there, `action` what to do about it. */
export type Refuse = (received: string, action?: string) => LetheError;

/**
 * A vector of whole numbers from 0 to `below` - 1 (at most 2^31): integers, or floating-point numbers that are whole.
 * @throws what `refuse` makes, and the errors of readNpy
 */
export async function readWholeNumbers(path: string, below: number, refuse: Refuse): Promise<Int32Array> {
  const { dtype, shape, data } = await readNpy(path);
  const described = `${dtype} of shape (${shape.join(', ')})`;
  if (shape.length !== 1) {
    throw refuse(
      described,
      data.length > 0 && shape.includes(data.length) ? 'Save array.reshape(-1), if that is what is meant.' : undefined,
    );
  }
  if (dtype === 'bool') throw refuse(described, 'Flags are no numbers: numpy.flatnonzero(array) gives the indices of those that are set.');
  const wrong = firstOutside(data, below);
  if (wrong >= 0) throw refuse(`${data[wrong]!} at position ${wrong}`);
  return Int32Array.from(data);
}

/** Position of the first value that is no whole number from 0 to `below` - 1; -1 where all are. */
export function firstOutside(data: NpyValues, below: number): number {
  for (let i = 0; i < data.length; i++) if (!(Number.isInteger(data[i]!) && data[i]! >= 0 && data[i]! < below)) return i;
  return -1;
}
