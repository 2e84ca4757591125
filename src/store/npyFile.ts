/** Parts of a .npy file: rows or columns of a matrix that need not fit in memory. A third dimension counts as more columns. */
import { createHash } from 'node:crypto';
import type { FileHandle } from 'node:fs/promises';
import { LetheError } from '../errors.js';
import { allocate, readFully, unreadable } from './files.js';
import { halvesToFloats, openNpy, requireAll } from './npy.js';
import type { NpyDtype, NpyHeader } from './npyHeader.js';

/** bool and uint8 give Uint8Array, all floating-point types Float32Array. */
export type PartValues = Uint8Array | Float32Array;

const readsAtOnce = 16;
const fingerprintWindows = 64;
const fingerprintBytes = 1 << 16;

/** bool, uint8, float16, float32 or float64 of shape (rows, ...): columns are counted over all other dimensions, the last running fastest. */
export class NpyFile {
  readonly dtype: NpyDtype;
  readonly shape: readonly number[];
  readonly rows: number;
  readonly columns: number;
  /** Bytes that reading takes for each value, above the value itself. */
  readonly extraBytes: number;

  private constructor(
    readonly path: string,
    private readonly handle: FileHandle,
    private readonly header: NpyHeader,
    private readonly dataStart: number,
    readonly bytes: number,
  ) {
    this.dtype = header.dtype;
    this.shape = header.shape;
    this.rows = header.shape[0] ?? 1;
    this.columns = header.shape.slice(1).reduce((product, size) => product * size, 1);
    const converted = header.dtype === 'float16' || header.dtype === 'float64';
    this.extraBytes = header.fortranOrder || converted ? header.itemBytes : 0;
  }

  /**
   * The caller closes it. The dtype is for the caller to check: int32 and int64 cannot be read in parts.
   * @throws LETHE_FILE_MISSING (exit code 2), LETHE_NPY_DAMAGED, LETHE_NPY_UNSUPPORTED (exit code 3), LETHE_FILE_UNREADABLE (exit code 4)
   */
  static async open(path: string): Promise<NpyFile> {
    const { handle, header, dataStart, bytes } = await openNpy(path);
    return new NpyFile(path, handle, header, dataStart, bytes);
  }

  async close(): Promise<void> {
    await this.handle.close();
  }

  /** (rows, end - first) columns [first, end). @throws LETHE_NPY_DAMAGED (exit code 3), LETHE_MEMORY_SHORT, LETHE_FILE_UNREADABLE (exit code 4) */
  async readColumns(first: number, end: number): Promise<PartValues> {
    const width = end - first;
    const { itemBytes } = this.header;
    const raw = allocate(this.rows * width * itemBytes, this.path);
    if (this.header.fortranOrder) {
      await this.readPieces(width, (k) => ({ at: k * this.rows, from: this.storedColumn(first + k) * this.rows, count: this.rows }), raw);
      return transpose(this.convert(raw), width, this.rows);
    }
    // whole rows lie together: one piece
    const pieces = width === this.columns ? 1 : this.rows;
    const count = (this.rows / pieces) * width;
    if (count > 0) await this.readPieces(pieces, (row) => ({ at: row * width, from: row * this.columns + first, count }), raw);
    return this.convert(raw);
  }

  /** (end - first, columns) rows [first, end). @throws LETHE_NPY_DAMAGED (exit code 3), LETHE_MEMORY_SHORT, LETHE_FILE_UNREADABLE (exit code 4) */
  async readRows(first: number, end: number): Promise<PartValues> {
    const height = end - first;
    const raw = allocate(height * this.columns * this.header.itemBytes, this.path);
    if (this.header.fortranOrder) {
      await this.readPieces(this.columns, (k) => ({ at: k * height, from: this.storedColumn(k) * this.rows + first, count: height }), raw);
      return transpose(this.convert(raw), this.columns, height);
    }
    await this.readPieces(1, () => ({ at: 0, from: first * this.columns, count: height * this.columns }), raw);
    return this.convert(raw);
  }

  /**
   * sha256 over the header's facts and 64 evenly spaced windows of 64 KiB, the first and the last bytes among them: tells files of
   * other experiments apart in milliseconds. It does not see every change of single values; whoever must, hashes what he reads.
   */
  async fingerprint(): Promise<string> {
    const hash = createHash('sha256');
    const size = this.bytes - this.dataStart;
    hash.update(JSON.stringify([this.dtype, this.shape, this.header.fortranOrder, size]));
    for (let k = 0; k < fingerprintWindows; k++) {
      const at = Math.floor((Math.max(size - fingerprintBytes, 0) * k) / (fingerprintWindows - 1));
      const window = new ArrayBuffer(Math.min(fingerprintBytes, size - at));
      requireAll(await readFully(this.handle, window, this.dataStart + at), window.byteLength, this.path);
      hash.update(new Uint8Array(window));
      if (size <= fingerprintBytes) break;
    }
    return hash.digest('hex');
  }

  /** Position of a column in a Fortran-order file: its first index but the rows runs fastest, ours runs slowest. */
  private storedColumn(column: number): number {
    let stored = 0;
    let left = column;
    let stride = this.columns;
    for (let dimension = this.shape.length - 1; dimension >= 1; dimension--) {
      const size = this.shape[dimension]!;
      stride /= size;
      stored += (left % size) * stride;
      left = Math.floor(left / size);
    }
    return stored;
  }

  /** Reads `pieces` runs of elements into `raw`, a few at a time: the disk works while the last ones arrive. */
  private async readPieces(
    pieces: number,
    piece: (index: number) => { at: number; from: number; count: number },
    raw: ArrayBuffer,
  ): Promise<void> {
    const { itemBytes } = this.header;
    let next = 0;
    const worker = async (): Promise<void> => {
      while (next < pieces) {
        const { at, from, count } = piece(next++);
        await this.fill(raw, at * itemBytes, count * itemBytes, this.dataStart + from * itemBytes);
      }
    };
    try {
      await Promise.all(Array.from({ length: Math.min(readsAtOnce, pieces) }, worker));
    } catch (cause) {
      next = pieces;
      throw cause instanceof LetheError ? cause : unreadable(this.path, cause);
    }
  }

  private async fill(raw: ArrayBuffer, at: number, length: number, position: number): Promise<void> {
    for (let filled = 0; filled < length;) {
      // single reads of 2 GiB fail
      const window = new Uint8Array(raw, at + filled, Math.min(length - filled, 2 ** 26));
      const { bytesRead } = await this.handle.read(window, 0, window.length, position + filled);
      if (bytesRead === 0) requireAll(filled, length, this.path);
      filled += bytesRead;
    }
  }

  private convert(raw: ArrayBuffer): PartValues {
    switch (this.dtype) {
      case 'float32':
        return new Float32Array(raw);
      case 'float64':
        return Float32Array.from(new Float64Array(raw));
      case 'float16': {
        const values = new Float32Array(raw.byteLength / 2);
        halvesToFloats(new Uint16Array(raw), values, 0);
        return values;
      }
      case 'bool':
      case 'uint8':
        return new Uint8Array(raw);
      default:
        throw new LetheError('LETHE_NPY_UNSUPPORTED', `${this.path} cannot be read in parts`, {
          expected: 'bool, uint8, float16, float32 or float64',
          received: this.dtype,
        });
    }
  }
}

/** (columns, rows) from (rows, columns); tiles keep both sides in the cache. */
function transpose(values: PartValues, rows: number, columns: number): PartValues {
  const result = values instanceof Uint8Array ? new Uint8Array(values.length) : new Float32Array(values.length);
  const tile = 64;
  for (let top = 0; top < rows; top += tile) {
    const bottom = Math.min(top + tile, rows);
    for (let column = 0; column < columns; column++) {
      for (let row = top; row < bottom; row++) result[column * rows + row] = values[row * columns + column]!;
    }
  }
  return result;
}
