/** Masks as an Arrow file: one row of bits a model. */
import type { Masks } from '../../types.js';
import { encodeRows, RowsReader } from '../formats/arrowRows.js';

/** The bytes of a masks file. */
export function encodeMasks(masks: Masks, maxBatchBytes?: number): Uint8Array {
  const width = Math.ceil(masks.numTrain / 8);
  const columns = [{ name: 'bits', rows: masks.bits, width }];
  return encodeRows(masks.numModels, columns, { train: String(masks.numTrain) }, maxBatchBytes);
}

/**
 * Opens masks; the bits are a view of `bytes` unless the file has several record batches.
 * @throws LETHE_ARROW_DAMAGED (exit code 3)
 */
export function readMasks(bytes: Uint8Array, what = 'masks'): Masks {
  const reader = new RowsReader(bytes, what);
  const numTrain = reader.count('train');
  const bits = reader.rows('bits', Math.ceil(numTrain / 8), Uint8Array).flat();
  return { numModels: reader.numRows, numTrain, bits };
}
