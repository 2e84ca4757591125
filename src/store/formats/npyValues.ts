/** From the bytes of a .npy file to numbers: whatever the type, no value is changed; what cannot be held exactly is refused. */
import { damaged } from '../disk/files.js';
import type { NpyDtype, NpyHeader } from './npyHeader.js';

/**
 * bool and uint8 give Uint8Array, other integers of up to 32 bits the array of their type, int64 and uint64 Float64Array (all values are
 * exact, as others are refused), float16 and float32 Float32Array, float64 Float64Array.
 */
export type NpyValues = Uint8Array | Int8Array | Uint16Array | Int16Array | Uint32Array | Int32Array | Float32Array | Float64Array;

/** Types whose numbers take more or other bytes in memory than in the file. */
export function isConverted(dtype: NpyDtype): boolean {
  return dtype === 'float16' || dtype === 'int64' || dtype === 'uint64';
}

/** Bytes of a number in memory. */
export function bytesInMemory({ dtype, itemBytes }: Pick<NpyHeader, 'dtype' | 'itemBytes'>): number {
  return dtype === 'float16' ? 4 : itemBytes;
}

/**
 * The numbers of `raw`, which is theirs from now on; `firstElement` is where they begin in the file.
 * @throws LETHE_NPY_DAMAGED for a bool that is neither 0 nor 1, LETHE_NPY_UNSUPPORTED for integers beyond 2^53 (exit code 3)
 */
export function decodeValues(raw: ArrayBuffer, { dtype, itemBytes, bigEndian }: NpyHeader, path: string, firstElement = 0): NpyValues {
  if (bigEndian) swapBytes(raw, itemBytes);
  switch (dtype) {
    case 'bool':
      return requireBools(new Uint8Array(raw), path, firstElement);
    case 'uint8':
      return new Uint8Array(raw);
    case 'int8':
      return new Int8Array(raw);
    case 'uint16':
      return new Uint16Array(raw);
    case 'int16':
      return new Int16Array(raw);
    case 'uint32':
      return new Uint32Array(raw);
    case 'int32':
      return new Int32Array(raw);
    case 'float32':
      return new Float32Array(raw);
    case 'float64':
      return new Float64Array(raw);
    case 'float16':
      return halvesToFloats(new Uint16Array(raw));
    case 'int64':
    case 'uint64':
      return exactNumbers(new Int32Array(raw), dtype, path, firstElement);
  }
}

function swapBytes(raw: ArrayBuffer, itemBytes: number): void {
  const step = 2 ** 30; // a Buffer cannot be of any size
  for (let at = 0; at < raw.byteLength; at += step) {
    const part = Buffer.from(raw, at, Math.min(step, raw.byteLength - at));
    if (itemBytes === 2) part.swap16();
    else if (itemBytes === 4) part.swap32();
    else part.swap64();
  }
}

function requireBools(data: Uint8Array, path: string, firstElement: number): Uint8Array {
  const wrong = firstAboveOne(data);
  if (wrong < 0) return data;
  const received = `${data[wrong]!} at element ${firstElement + wrong}`;
  throw damaged('LETHE_NPY_DAMAGED', `${path} holds a bool that is none`, '0 or 1', received);
}

/** Four bytes at a time: mask files have billions of elements. */
function firstAboveOne(data: Uint8Array): number {
  const words = new Uint32Array(data.buffer, 0, Math.floor(data.length / 4));
  let word = 0;
  while (word < words.length && (words[word]! & 0xfefefefe) === 0) word++;
  for (let i = word * 4; i < data.length; i++) if (data[i]! > 1) return i;
  return -1;
}

/** IEEE 754 binary16 to a number, exact, subnormals and NaN included. */
export function halfToFloat(half: number): number {
  const sign = half & 0x8000 ? -1 : 1;
  const exponent = (half >>> 10) & 31;
  const fraction = half & 1023;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  if (exponent === 31) return fraction === 0 ? sign * Infinity : NaN;
  return sign * (1024 + fraction) * 2 ** (exponent - 25);
}

let halfTable: Float32Array | undefined;

/** By a table of all 65,536 values: files of outputs have billions. */
export function halvesToFloats(halves: Uint16Array): Float32Array {
  const table = (halfTable ??= Float32Array.from({ length: 65536 }, (_, half) => halfToFloat(half)));
  const data = new Float32Array(halves.length);
  for (let i = 0; i < halves.length; i++) data[i] = table[halves[i]!]!;
  return data;
}

/** Little-endian 64-bit integers as pairs of 32-bit halves. */
function exactNumbers(halves: Int32Array, dtype: 'int64' | 'uint64', path: string, firstElement: number): Float64Array {
  const data = new Float64Array(halves.length / 2);
  for (let i = 0; i < data.length; i++) {
    const high = halves[2 * i + 1]!;
    const value = (dtype === 'int64' ? high : high >>> 0) * 4294967296 + (halves[2 * i]! >>> 0);
    if (!Number.isSafeInteger(value)) {
      const received = `${value} at element ${firstElement + i}`;
      throw damaged('LETHE_NPY_UNSUPPORTED', `${path} holds an ${dtype} beyond 2^53`, 'integers between -2^53 and 2^53', received);
    }
    data[i] = value;
  }
  return data;
}
