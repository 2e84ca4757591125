/** Subset masks: which examples each model is trained on, one bit per example (paper, Section 3: subsets of a fixed fraction). */
import { LetheError } from '../errors.js';
import { Purpose, Random } from '../native/random.js';
import type { Masks } from '../types.js';

export interface MaskOptions {
  numModels: number;
  numTrain: number;
  /** Each row holds exactly round(subsetFraction * numTrain) examples. */
  subsetFraction: number;
  seed: number;
}

export function maskRowBytes(numTrain: number): number {
  return Math.ceil(numTrain / 8);
}

/**
 * Examples of a subset.
 * @throws LETHE_MASKS_INVALID for counts that are no whole numbers or a fraction that selects no example or more than all.
 */
export function requireSubset({ numModels, numTrain, subsetFraction }: Omit<MaskOptions, 'seed'>): number {
  const subsetSize = Math.round(subsetFraction * numTrain);
  if (!isCount(numModels) || !isCount(numTrain) || !(subsetSize >= 1 && subsetSize <= numTrain)) {
    throw new LetheError('LETHE_MASKS_INVALID', 'these masks cannot be drawn', {
      expected: 'whole numbers of models and train examples, and between one and all examples in a subset',
      received: `numModels ${numModels}, numTrain ${numTrain}, subsetFraction ${subsetFraction}`,
    });
  }
  return subsetSize;
}

/**
 * Row i is drawn without replacement from its own random stream (seed, mask, i): it depends neither on numModels nor on the other rows,
 * so a run can be extended by more models.
 * @throws LETHE_MASKS_INVALID as requireSubset
 */
export function generateMasks({ numModels, numTrain, subsetFraction, seed }: MaskOptions): Masks {
  const subsetSize = requireSubset({ numModels, numTrain, subsetFraction });
  const rowBytes = maskRowBytes(numTrain);
  const bits = new Uint8Array(numModels * rowBytes);
  const order = new Int32Array(numTrain);
  for (let row = 0; row < numModels; row++) {
    const random = new Random(seed, Purpose.mask, row);
    for (let j = 0; j < numTrain; j++) order[j] = j;
    for (let drawn = 0; drawn < subsetSize; drawn++) {
      const other = drawn + random.below(numTrain - drawn);
      const example = order[other]!;
      order[other] = order[drawn]!;
      bits[row * rowBytes + (example >> 3)]! |= 1 << (example & 7);
    }
  }
  return { numModels, numTrain, bits };
}

/** dense: (numModels, numTrain) row-major, any non-zero byte counts as "in the subset". */
export function packMasks(dense: Uint8Array, numModels: number, numTrain: number): Masks {
  if (dense.length !== numModels * numTrain) {
    throw new LetheError('LETHE_SHAPE_MISMATCH', 'dense masks have the wrong length', {
      expected: `${numModels} x ${numTrain} = ${numModels * numTrain} bytes`,
      received: `${dense.length} bytes`,
    });
  }
  const rowBytes = maskRowBytes(numTrain);
  const bits = new Uint8Array(numModels * rowBytes);
  for (let row = 0; row < numModels; row++) {
    for (let j = 0; j < numTrain; j++) {
      if (dense[row * numTrain + j] !== 0) bits[row * rowBytes + (j >> 3)]! |= 1 << (j & 7);
    }
  }
  return { numModels, numTrain, bits };
}

/** (numModels, numTrain) row-major, 0 or 1. */
export function unpackMasks(masks: Masks): Uint8Array {
  const { numModels, numTrain, bits } = masks;
  const rowBytes = maskRowBytes(numTrain);
  const dense = new Uint8Array(numModels * numTrain);
  for (let row = 0; row < numModels; row++) {
    for (let j = 0; j < numTrain; j++) dense[row * numTrain + j] = (bits[row * rowBytes + (j >> 3)]! >> (j & 7)) & 1;
  }
  return dense;
}

/** How many examples are in every mask or in none: no model was trained without them, or with them. */
export function constantExamples({ numModels, numTrain, bits }: Masks): number {
  const rowBytes = maskRowBytes(numTrain);
  const all = new Uint8Array(rowBytes).fill(0xff);
  const any = new Uint8Array(rowBytes);
  for (let row = 0; row < numModels; row++) {
    for (let byte = 0; byte < rowBytes; byte++) {
      all[byte]! &= bits[row * rowBytes + byte]!;
      any[byte]! |= bits[row * rowBytes + byte]!;
    }
  }
  let count = 0;
  for (let j = 0; j < numTrain; j++) count += ((all[j >> 3]! | ~any[j >> 3]!) >> (j & 7)) & 1;
  return count;
}

/** Whether model `row` was trained on `example`. */
export function maskHas(masks: Masks, row: number, example: number): boolean {
  return ((masks.bits[row * maskRowBytes(masks.numTrain) + (example >> 3)]! >> (example & 7)) & 1) === 1;
}

/** The examples of one row, ascending. */
export function maskIndices(masks: Masks, row: number): Int32Array {
  if (!isCount(row) || row >= masks.numModels) {
    throw new LetheError('LETHE_MASKS_ROW', 'there is no such mask', { expected: `a row below ${masks.numModels}`, received: String(row) });
  }
  const indices: number[] = [];
  for (let j = 0; j < masks.numTrain; j++) if (maskHas(masks, row, j)) indices.push(j);
  return Int32Array.from(indices);
}

/** The masks of the given rows, in that order; repeats allowed. */
export function selectRows(masks: Masks, rows: ArrayLike<number>): Masks {
  const rowBytes = maskRowBytes(masks.numTrain);
  const bits = new Uint8Array(rows.length * rowBytes);
  for (let k = 0; k < rows.length; k++) {
    const row = rows[k]!;
    if (!isCount(row) || row >= masks.numModels) {
      throw new LetheError('LETHE_MASKS_ROW', 'there is no such mask', {
        expected: `rows below ${masks.numModels}`,
        received: String(row),
      });
    }
    bits.set(masks.bits.subarray(row * rowBytes, (row + 1) * rowBytes), k * rowBytes);
  }
  return { numModels: rows.length, numTrain: masks.numTrain, bits };
}

function isCount(value: number): boolean {
  return Number.isSafeInteger(value) && value >= 0;
}
