/** Parts of a .npy file: rows or columns of a matrix that need not fit in memory. A third dimension counts as more columns. */
import { createHash } from 'node:crypto';
import type { FileHandle } from 'node:fs/promises';
import { LetheError } from '../../errors.js';
import { allocate, readFully, unreadable } from '../disk/files.js';
import { openNpy, requireAll } from './npy.js';
import type { NpyDtype, NpyHeader } from './npyHeader.js';
import { storedColumn, transpose } from './npyOrder.js';
import { bytesInMemory, decodeValues, isConverted, type NpyValues } from './npyValues.js';

const readsAtOnce = 16;
const fingerprintWindows = 64;
const fingerprintBytes = 1 << 16;

/** An array of shape (rows, ...): columns are counted over all other dimensions, the last running fastest. */
export class NpyFile {
  readonly dtype: NpyDtype;
  readonly shape: readonly number[];
  readonly rows: number;
  readonly columns: number;
  /** Bytes that reading takes for each value, above those of the value as float32 (numbers) or as uint8 (counts and flags). */
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
    const held = bytesInMemory(header);
    const read = (isConverted(header.dtype) ? header.itemBytes : 0) + held * (header.fortranOrder ? 2 : 1);
    this.extraBytes = ['bool', 'uint8', 'float16', 'float32'].includes(header.dtype) ? read - held : read;
  }

  /**
   * The caller closes it, and checks the dtype.
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
  async readColumns(first: number, end: number): Promise<NpyValues> {
    const width = end - first;
    const { itemBytes } = this.header;
    const raw = allocate(this.rows * width * itemBytes, this.path);
    if (this.header.fortranOrder) {
      await this.readPieces(
        width,
        (k) => ({ at: k * this.rows, from: storedColumn(this.shape, first + k) * this.rows, count: this.rows }),
        raw,
      );
      return transpose(this.convert(raw), width, this.rows);
    }
    // whole rows lie together: one piece
    const pieces = width === this.columns ? 1 : this.rows;
    const count = (this.rows / pieces) * width;
    if (count > 0) await this.readPieces(pieces, (row) => ({ at: row * width, from: row * this.columns + first, count }), raw);
    return this.convert(raw);
  }

  /** (end - first, columns) rows [first, end). @throws LETHE_NPY_DAMAGED (exit code 3), LETHE_MEMORY_SHORT, LETHE_FILE_UNREADABLE (exit code 4) */
  async readRows(first: number, end: number): Promise<NpyValues> {
    const height = end - first;
    const raw = allocate(height * this.columns * this.header.itemBytes, this.path);
    if (this.header.fortranOrder) {
      await this.readPieces(
        this.columns,
        (k) => ({ at: k * height, from: storedColumn(this.shape, k) * this.rows + first, count: height }),
        raw,
      );
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

  private convert(raw: ArrayBuffer): NpyValues {
    return decodeValues(raw, this.header, this.path);
  }
}
