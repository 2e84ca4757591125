/**
 * Memory for large arrays that go to the addon. It works in place on what it gave out itself, and on copies of everything else, since an
 * ArrayBuffer may be transferred or shrunk while a call runs.
 */
import { nativeAddon } from './addon.js';

/** Below, a copy costs nothing; above, the addon gives nothing (a Buffer of Node 20 ends at 4 GiB). */
const least = 2 ** 16;
const most = 2 ** 32;

/** Zeroed; ordinary memory where the addon gives none: that costs a copy and no more. @throws RangeError when there is no memory */
export function nativeBuffer(bytes: number): ArrayBuffer {
  if (bytes < least || bytes > most) return new ArrayBuffer(bytes);
  try {
    return nativeAddon().allocate(bytes);
  } catch {
    return new ArrayBuffer(bytes);
  }
}

/** Zeros. */
export function nativeFloats(length: number): Float32Array {
  return new Float32Array(nativeBuffer(4 * length));
}
