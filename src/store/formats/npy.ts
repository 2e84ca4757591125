/**
 * NumPy's .npy format, in and out. Files come from strangers: the header is parsed with limits, and the sizes it states are
 * compared with the file before anything is allocated.
 */
import type { FileHandle } from 'node:fs/promises';
import { ExitCode, LetheError } from '../../errors.js';
import { allocate, damaged, openForReading, readFully, unreadable } from '../disk/files.js';
import { parseNpyHeader, type NpyDtype, type NpyHeader } from './npyHeader.js';
import { toRowMajor } from './npyOrder.js';
import { bytesInMemory, decodeValues, isConverted, type NpyValues } from './npyValues.js';
import { publishFile } from '../disk/publish.js';

export interface NpyArray {
  /** As stored; `data` says what it became. */
  dtype: NpyDtype;
  shape: number[];
  /** (product of shape) in C order, whatever the order in the file. */
  data: NpyValues;
}

/** What can be written: bool (0/1 in a Uint8Array with `bool`), uint8, int32, int64, float32, float64. */
export type NpyData = Uint8Array | Int32Array | BigInt64Array | Float32Array | Float64Array;

/** Conversions go through a window of this many bytes, so that files of converted types need no second copy in memory. */
const windowBytes = 1 << 24;
const maxHeaderBytes = 1 << 14;
const magic = [0x93, 0x4e, 0x55, 0x4d, 0x50, 0x59]; // \x93NUMPY

/**
 * Reads a .npy file of any size.
 * @throws LETHE_FILE_MISSING (exit code 2), LETHE_NPY_DAMAGED, LETHE_NPY_UNSUPPORTED (exit code 3), LETHE_MEMORY_SHORT (exit code 4)
 */
export async function readNpy(path: string): Promise<NpyArray> {
  const { handle, header, dataStart } = await openNpy(path);
  try {
    const { dtype, shape, fortranOrder } = header;
    const data = await readData(handle, dataStart, header, path);
    return { dtype, shape, data: fortranOrder ? toRowMajor(data, shape) : data };
  } catch (cause) {
    throw cause instanceof LetheError ? cause : unreadable(path, cause);
  } finally {
    await handle.close();
  }
}

/**
 * Opens a .npy file whose size agrees with its header, for reading in parts; the caller closes the handle.
 * @throws LETHE_FILE_MISSING (exit code 2), LETHE_NPY_DAMAGED, LETHE_NPY_UNSUPPORTED (exit code 3), LETHE_FILE_UNREADABLE (exit code 4)
 */
export async function openNpy(path: string): Promise<{ handle: FileHandle; header: NpyHeader; dataStart: number; bytes: number }> {
  const { handle, bytes } = await openForReading(path);
  try {
    const { header, dataStart } = await readHeader(handle, bytes, path);
    const expected = header.count * header.itemBytes;
    if (Number.isSafeInteger(expected) && bytes - dataStart === expected) return { handle, header, dataStart, bytes };
    const received = `${bytes - dataStart} bytes`;
    const shape = header.shape.join(', ');
    const action = 'Was it cut short while it was copied or written? Make it again.';
    throw damaged(
      'LETHE_NPY_DAMAGED',
      `${path} does not hold what its header says`,
      `${expected} bytes for shape (${shape})`,
      received,
      action,
    );
  } catch (cause) {
    await handle.close();
    throw cause instanceof LetheError ? cause : unreadable(path, cause);
  }
}

function describeStart(start: DataView, got: number): string {
  const isZip = got >= 2 && start.getUint16(0) === 0x504b; // PK
  return isZip ? 'a zip archive, as numpy.savez writes it' : `${got < 10 ? `only ${got}` : 'other'} bytes`;
}

async function readHeader(handle: FileHandle, bytes: number, path: string): Promise<{ header: NpyHeader; dataStart: number }> {
  const start = new DataView(new ArrayBuffer(12));
  const got = await readFully(handle, start.buffer, 0);
  if (got < 10 || magic.some((byte, index) => start.getUint8(index) !== byte)) {
    throw damaged(
      'LETHE_NPY_DAMAGED',
      `${path} is not a .npy file`,
      'the bytes \\x93NUMPY at the start',
      describeStart(start, got),
      'Write one array with numpy.save.',
    );
  }
  const version = start.getUint8(6);
  if (version < 1 || version > 3 || (version > 1 && got < 12)) {
    throw damaged('LETHE_NPY_UNSUPPORTED', `${path} has an unknown .npy version`, 'version 1, 2 or 3', `version ${version}`);
  }
  const prefix = version === 1 ? 10 : 12;
  const length = version === 1 ? start.getUint16(8, true) : start.getUint32(8, true);
  if (length > maxHeaderBytes || prefix + length > bytes) {
    const expected = `a header of at most ${Math.min(maxHeaderBytes, bytes - prefix)} bytes`;
    throw damaged('LETHE_NPY_DAMAGED', `${path} has an impossible header length`, expected, `${length} bytes`);
  }
  const text = new ArrayBuffer(length);
  await readFully(handle, text, prefix);
  return { header: parseNpyHeader(Buffer.from(text).toString('latin1'), path), dataStart: prefix + length };
}

async function readData(handle: FileHandle, start: number, header: NpyHeader, path: string): Promise<NpyArray['data']> {
  requireOneArray(header, path);
  if (isConverted(header.dtype)) return readWindows(handle, start, header, path);
  const buffer = allocate(header.count * header.itemBytes, path);
  requireAll(await readFully(handle, buffer, start), buffer.byteLength, path);
  return decodeValues(buffer, header, path);
}

/** @throws LETHE_MEMORY_SHORT (exit code 4) */
function requireOneArray({ count }: NpyHeader, path: string): void {
  if (count <= 2 ** 32) return;
  throw new LetheError('LETHE_MEMORY_SHORT', `${path} is too large for one array`, {
    expected: `at most ${2 ** 32} elements`,
    received: `${count} elements`,
    action: 'Split the file.',
    exitCode: ExitCode.environment,
  });
}

async function readWindows(handle: FileHandle, start: number, header: NpyHeader, path: string): Promise<NpyArray['data']> {
  const memory = allocate(header.count * bytesInMemory(header), path);
  const data = header.dtype === 'float16' ? new Float32Array(memory) : new Float64Array(memory);
  const total = header.count * header.itemBytes;
  for (let at = 0; at < total; at += windowBytes) {
    const window = new ArrayBuffer(Math.min(windowBytes, total - at));
    requireAll(await readFully(handle, window, start + at), window.byteLength, path);
    data.set(decodeValues(window, header, path, at / header.itemBytes), at / header.itemBytes);
  }
  return data;
}

export function requireAll(received: number, expected: number, path: string): void {
  if (received !== expected) {
    throw damaged('LETHE_NPY_DAMAGED', `${path} became shorter while it was read`, `${expected} bytes`, `${received} bytes`);
  }
}

/** The same numbers as Float32Array; no copy when they are already. */
export function toFloat32(array: NpyArray): Float32Array {
  return array.data instanceof Float32Array ? array.data : new Float32Array(array.data);
}

/**
 * Writes a .npy file atomically (temporary file, rename).
 * @throws LETHE_SHAPE_MISMATCH (exit code 2), LETHE_DISK_FULL, LETHE_FILE_UNWRITABLE (exit code 4)
 */
export async function writeNpy(path: string, shape: number[], data: NpyData, options: { bool?: boolean } = {}): Promise<void> {
  const header = encodeHeader(shape, data, options.bool ?? false);
  await publishFile(path, npyChunks(header, data), header.length + data.byteLength);
}

function* npyChunks(header: Uint8Array, data: NpyData): Generator<Uint8Array> {
  yield header;
  const step = 2 ** 30;
  for (let at = 0; at < data.byteLength; at += step) {
    yield new Uint8Array(data.buffer, data.byteOffset + at, Math.min(step, data.byteLength - at));
  }
}

/** The bytes of a .npy file, for small arrays. @throws LETHE_SHAPE_MISMATCH (exit code 2) */
export function encodeNpy(shape: number[], data: NpyData, options: { bool?: boolean } = {}): Uint8Array {
  const header = encodeHeader(shape, data, options.bool ?? false);
  const bytes = new Uint8Array(header.length + data.byteLength);
  bytes.set(header);
  bytes.set(new Uint8Array(data.buffer, data.byteOffset, data.byteLength), header.length);
  return bytes;
}

function descr(data: NpyData, bool: boolean): string {
  if (data instanceof Uint8Array) return bool ? '|b1' : '|u1';
  if (data instanceof Int32Array) return '<i4';
  if (data instanceof BigInt64Array) return '<i8';
  return data instanceof Float32Array ? '<f4' : '<f8';
}

function encodeHeader(shape: number[], data: NpyData, bool: boolean): Uint8Array {
  const count = shape.reduce((product, size) => product * size, 1);
  if (count !== data.length) {
    throw new LetheError('LETHE_SHAPE_MISMATCH', 'the shape does not fit the data to write', {
      expected: `${count} elements for shape (${shape.join(', ')})`,
      received: `${data.length} elements`,
    });
  }
  return headerOf(shape, descr(data, bool));
}

/**
 * Writes a float32 .npy file atomically whose rows arrive in parts: together as many values as `shape` says, or it is refused.
 * @throws LETHE_SHAPE_MISMATCH (exit code 2), LETHE_DISK_FULL, LETHE_FILE_UNWRITABLE (exit code 4)
 */
export async function writeNpyParts(path: string, shape: number[], parts: AsyncIterable<Float32Array>): Promise<void> {
  const header = headerOf(shape, '<f4');
  const expected = shape.reduce((product, size) => product * size, 1);
  async function* chunks(): AsyncGenerator<Uint8Array> {
    yield header;
    let received = 0;
    for await (const part of parts) {
      received += part.length;
      if (part.byteLength > 0) yield new Uint8Array(part.buffer, part.byteOffset, part.byteLength);
    }
    if (received === expected) return;
    throw new LetheError('LETHE_SHAPE_MISMATCH', 'the parts do not fit the shape to write', {
      expected: `${expected} elements for shape (${shape.join(', ')})`,
      received: `${received} elements`,
    });
  }
  await publishFile(path, chunks(), header.length + 4 * expected);
}

function headerOf(shape: number[], type: string): Uint8Array {
  const sizes = shape.length === 1 ? `${shape[0]!},` : shape.join(', ');
  const text = `{'descr': '${type}', 'fortran_order': False, 'shape': (${sizes}), }`;
  // data starts at a multiple of 64, as the format asks for
  const length = Math.ceil((10 + text.length + 1) / 64) * 64 - 10;
  return Uint8Array.from([...magic, 1, 0, length & 255, length >>> 8, ...Buffer.from(text.padEnd(length - 1) + '\n', 'latin1')]);
}
