/**
 * The safetensors format for weights: 8 bytes header length, a JSON header of names, shapes and offsets, then the numbers. float32 out;
 * float32, float16 and bfloat16 in, all as float32.
 * Files come from strangers: the header is parsed with limits and every offset is checked before anything is allocated.
 */
import type { FileHandle } from 'node:fs/promises';
import { LetheError } from '../../errors.js';
import { allocate, damaged, openForReading, readFully, unreadable } from '../disk/files.js';
import { parseJson } from '../disk/jsonText.js';
import { halvesToFloats } from './npyValues.js';
import { publishFile } from '../disk/publish.js';

export interface Tensor {
  shape: number[];
  /** (product of shape) C order */
  data: Float32Array;
}

export interface TensorFile {
  /** In the order of their data. */
  tensors: Map<string, Tensor>;
  metadata: Map<string, string>;
  /** Names of the counters that PyTorch keeps beside the statistics of its norms; no computation reads them. */
  counters: string[];
}

const counterPattern = /(^|\.)num_batches_tracked$/;
const counterBytes = { I64: 8, I32: 4, F64: 8 } as const;
const itemBytes = { F32: 4, F16: 2, BF16: 2 } as const;
type Dtype = keyof typeof itemBytes;

interface Entry {
  name: string;
  dtype: Dtype | keyof typeof counterBytes;
  shape: number[];
  begin: number;
  end: number;
}

const metadataKey = '__metadata__';
const lengthBytes = 8;
/** The format's own limit is 100 MB; a network of ours needs a few kilobytes. */
const maxHeaderBytes = 1 << 24;
const maxDimensions = 16;

/**
 * Reads a safetensors file.
 * @throws LETHE_FILE_MISSING (exit code 2), LETHE_SAFETENSORS_DAMAGED, LETHE_SAFETENSORS_UNSUPPORTED (exit code 3), LETHE_MEMORY_SHORT
 */
export async function readSafetensors(path: string): Promise<TensorFile> {
  const { handle, bytes } = await openForReading(path);
  try {
    const { header, dataStart } = await readHeader(handle, bytes, path);
    const entries = readEntries(header, path);
    checkOffsets(entries, bytes - dataStart, path);
    const buffer = allocate(bytes - dataStart, path);
    const received = await readFully(handle, buffer, dataStart);
    if (received !== buffer.byteLength) {
      throw broken(`${path} became shorter while it was read`, `${buffer.byteLength} bytes`, `${received} bytes`);
    }
    const counters = entries.map(({ name }) => name).filter(isCounter);
    const tensors = entries
      .filter(({ name }) => !isCounter(name))
      .map((entry): [string, Tensor] => [entry.name, { shape: entry.shape, data: floats(buffer, entry) }]);
    return { tensors: new Map(tensors), metadata: readMetadata(header, path), counters };
  } catch (cause) {
    throw cause instanceof LetheError ? cause : unreadable(path, cause);
  } finally {
    await handle.close();
  }
}

function isCounter(name: string): boolean {
  return counterPattern.test(name);
}

function floats(buffer: ArrayBuffer, { dtype, begin, end }: Entry): Float32Array {
  // after a tensor of halves one of floats may begin anywhere
  const aligned = begin % bytesOf(dtype) === 0 ? { buffer, begin } : { buffer: buffer.slice(begin, end), begin: 0 };
  const count = (end - begin) / bytesOf(dtype);
  if (dtype === 'F32') return new Float32Array(aligned.buffer, aligned.begin, count);
  const halves = new Uint16Array(aligned.buffer, aligned.begin, count);
  if (dtype === 'BF16') return new Float32Array(Uint32Array.from(halves, (half) => half << 16).buffer);
  return halvesToFloats(halves);
}

async function readHeader(handle: FileHandle, bytes: number, path: string): Promise<{ header: Map<string, unknown>; dataStart: number }> {
  const prefix = new DataView(new ArrayBuffer(lengthBytes));
  const complete = (await readFully(handle, prefix.buffer, 0)) === lengthBytes;
  const length = complete ? Number(prefix.getBigUint64(0, true)) : 0;
  if (length < 2 || length > maxHeaderBytes || lengthBytes + length > bytes) {
    const expected = `a header of 2 to ${Math.max(2, Math.min(maxHeaderBytes, bytes - lengthBytes))} bytes`;
    throw broken(`${path} is not a safetensors file`, expected, complete ? `${length} bytes` : `a file of ${bytes} bytes`);
  }
  const text = new ArrayBuffer(length);
  await readFully(handle, text, lengthBytes);
  return { header: parseHeader(text, path), dataStart: lengthBytes + length };
}

function parseHeader(text: ArrayBuffer, path: string): Map<string, unknown> {
  try {
    const header = parseJson(new TextDecoder('utf-8', { fatal: true }).decode(text));
    if (isObject(header)) return new Map(Object.entries(header));
  } catch (cause) {
    throw broken(`${path} has an unreadable header`, 'a JSON object', cause instanceof Error ? cause.message : String(cause));
  }
  throw broken(`${path} has an unreadable header`, 'a JSON object', 'something else');
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function readMetadata(header: Map<string, unknown>, path: string): Map<string, string> {
  const value = header.get(metadataKey) ?? {};
  const texts = isObject(value) ? Object.entries(value) : [['', null] as const];
  return new Map(
    texts.map(([name, text]): [string, string] => {
      if (typeof text === 'string') return [name, text];
      throw broken(`${path} has unreadable metadata`, 'an object of texts', JSON.stringify(value).slice(0, 120));
    }),
  );
}

function readEntries(header: Map<string, unknown>, path: string): Entry[] {
  const names = [...header.keys()].filter((name) => name !== metadataKey);
  return names.map((name) => readEntry(name, header.get(name), path)).sort((a, b) => a.begin - b.begin || a.end - b.end);
}

function readEntry(name: string, value: unknown, path: string): Entry {
  const { dtype, shape, data_offsets: offsets } = isObject(value) ? value : {};
  const sizes = isSizes(shape, maxDimensions) ? shape : undefined;
  if (typeof dtype !== 'string' || !sizes || !isSizes(offsets, 2) || offsets.length !== 2) {
    const expected = 'dtype, shape and two data_offsets';
    throw broken(`${path} has an unreadable tensor ${quote(name)}`, expected, (JSON.stringify(value) || 'nothing').slice(0, 120));
  }
  if (!isDtype(dtype, isCounter(name))) {
    const action = 'Convert it with tensor.float() and save it again.';
    throw damaged('LETHE_SAFETENSORS_UNSUPPORTED', `${path}: dtype of ${quote(name)}`, 'F32, F16 or BF16', quote(dtype), action);
  }
  return { name, dtype, shape: sizes, begin: offsets[0]!, end: offsets[1]! };
}

function isDtype(text: string, counter: boolean): text is Entry['dtype'] {
  return Object.hasOwn(itemBytes, text) || (counter && Object.hasOwn(counterBytes, text));
}

function bytesOf(dtype: Entry['dtype']): number {
  return { ...itemBytes, ...counterBytes }[dtype];
}

function isSizes(value: unknown, most: number): value is number[] {
  return Array.isArray(value) && value.length <= most && value.every((size) => Number.isSafeInteger(size) && (size as number) >= 0);
}

/** Names come from the file: no control characters or endless lines in messages. */
function quote(name: string): string {
  return JSON.stringify(name.slice(0, 80));
}

/** The tensors, in order, must cover the data without holes, overlaps or a rest. */
function checkOffsets(entries: Entry[], dataBytes: number, path: string): void {
  let position = 0;
  for (const { name, dtype, shape, begin, end } of entries) {
    const need = bytesOf(dtype) * shape.reduce((product, size) => product * size, 1);
    if (begin !== position || end - begin !== need || end > dataBytes) {
      const expected = `offsets ${position} to ${position + need} for shape (${shape.join(', ')}), within ${dataBytes} bytes`;
      throw broken(`${path} has impossible offsets for ${quote(name)}`, expected, `${begin} to ${end}`);
    }
    position = end;
  }
  if (position !== dataBytes) throw broken(`${path} does not hold what its header says`, `${position} bytes of data`, `${dataBytes} bytes`);
}

function broken(summary: string, expected: string, received: string): LetheError {
  return damaged('LETHE_SAFETENSORS_DAMAGED', summary, expected, received, 'Write the file again.');
}

/**
 * Writes a safetensors file atomically.
 * @throws LETHE_SHAPE_MISMATCH (exit code 2), LETHE_DISK_FULL, LETHE_FILE_UNWRITABLE (exit code 4)
 */
export async function writeSafetensors(
  path: string,
  tensors: Iterable<[string, Tensor]>,
  metadata: Record<string, string> = {},
  publish: (path: string, content: Iterable<Uint8Array>, bytes: number) => Promise<unknown> = publishFile,
): Promise<void> {
  const header: Record<string, unknown> = Object.keys(metadata).length > 0 ? { [metadataKey]: metadata } : {};
  const chunks: Uint8Array[] = [];
  let position = 0;
  for (const [name, { shape, data }] of tensors) {
    checkTensor(header, name, shape, data);
    header[name] = { dtype: 'F32', shape, data_offsets: [position, position + data.byteLength] };
    chunks.push(new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
    position += data.byteLength;
  }
  const text = Buffer.from(JSON.stringify(header));
  // padded with spaces so that data starts at a multiple of 64: readers may map it
  const length = Math.ceil((lengthBytes + text.length) / 64) * 64 - lengthBytes;
  const start = Buffer.alloc(lengthBytes + length, ' ');
  start.writeBigUInt64LE(BigInt(length));
  text.copy(start, lengthBytes);
  await publish(path, [start, ...chunks], start.length + position);
}

function checkTensor(header: Record<string, unknown>, name: string, shape: number[], data: Float32Array): void {
  const count = shape.reduce((product, size) => product * size, 1);
  if (name !== metadataKey && !Object.hasOwn(header, name) && name !== '__proto__' && count === data.length) return;
  throw new LetheError('LETHE_SHAPE_MISMATCH', `tensor ${quote(name)} cannot be written`, {
    expected: `${count} elements for shape (${shape.join(', ')}), under a name of its own`,
    received: `${data.length} elements`,
  });
}
