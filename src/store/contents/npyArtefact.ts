/** Small .npy artefacts inside a run folder: content that RunFolder.read has verified already. */
import { damaged } from '../disk/files.js';
import { encodeNpy } from '../formats/npy.js';
import { parseNpyHeader } from '../formats/npyHeader.js';

/** Sorted train indices as int32. */
export function encodeIndices(indices: Int32Array): Uint8Array {
  return encodeNpy([indices.length], indices);
}

/** @throws LETHE_NPY_DAMAGED */
export function decodeIndices(bytes: Uint8Array, what = 'index file'): Int32Array {
  return new Int32Array(body(bytes, 'int32', what));
}

/** Flat values of a float32 array, row-major. @throws LETHE_NPY_DAMAGED */
export function decodeFloats(bytes: Uint8Array, what = 'float file'): Float32Array {
  return new Float32Array(body(bytes, 'float32', what));
}

function body(bytes: Uint8Array, dtype: 'int32' | 'float32', what: string): ArrayBuffer {
  const start = 10 + (bytes[8]! | (bytes[9]! << 8));
  const header = parseNpyHeader(Buffer.from(bytes.subarray(10, start)).toString('latin1'), what);
  if (header.dtype !== dtype || header.fortranOrder || header.bigEndian || bytes.length - start !== 4 * header.count) {
    const received = `${bytes.length - start} bytes of ${header.dtype}`;
    throw damaged('LETHE_NPY_DAMAGED', `${what} does not hold ${dtype} values`, `${4 * header.count} bytes of ${dtype}`, received);
  }
  // copied: the data of a view need not be aligned
  return new Uint8Array(bytes.subarray(start)).buffer;
}
