/** Arrow IPC file format with one row a model: wide rows as fixed-size lists, read back as typed-array views without copying. */
import { concatenate } from '../../native/concatenate.js';
import type { Data, DataType, Field, FixedSizeList } from 'apache-arrow';
import { columnAt, fixedRows, int32Values, metadataCount, type NumberKind, words } from './arrowColumns.js';
import { arrowLibrary } from './arrowLibrary.js';
import { type ArrowBatch, type ArrowColumn, broken, readArrow } from './arrowFile.js';
import type { ArrowSchema } from './arrowSchema.js';

/** No record batch is larger than this, so that every reader's 32-bit offsets suffice. */
const batchBytes = 2 ** 30;

export type RowValues = Float32Array | Uint8Array;

/** A matrix (length, width), row-major, whose rows may lie in several blocks. */
export class Rows<T extends RowValues> {
  readonly length: number;

  constructor(
    readonly width: number,
    /** (rows of the block, width) each */
    readonly blocks: T[],
  ) {
    this.length = blocks.reduce((rows, block) => rows + block.length / width, 0);
  }

  /** (width) a view of one row. */
  row(index: number): T {
    let at = index * this.width;
    for (const block of this.blocks) {
      if (at < block.length) return block.subarray(at, at + this.width) as T;
      at -= block.length;
    }
    throw new RangeError(`row ${index} of ${this.length}`);
  }

  /** (length, width) as one array: the block itself when there is only one, otherwise a copy. */
  flat(): T {
    const [first] = this.blocks;
    if (this.blocks.length === 1) return first!;
    return concatenate(first!.constructor as new (length: number) => T, this.blocks);
  }
}

/** One column to write: a number or word a row, or `width` values a row. */
export type Column = { name: string } & ({ values: Int32Array } | { words: readonly string[] } | { rows: RowValues; width: number });

function typeOf(column: Column): DataType {
  const { FixedSizeList, Int32, Utf8 } = arrowLibrary();
  if ('values' in column) return new Int32();
  if ('words' in column) return new Utf8();
  return new FixedSizeList(column.width, itemOf(column.rows));
}

function itemOf(rows: RowValues): Field {
  const { Field, Float32, Uint8 } = arrowLibrary();
  return new Field('item', rows instanceof Uint8Array ? new Uint8() : new Float32(), false);
}

function slice(column: Column, from: number, to: number): Data {
  const { FixedSizeList, Float32, Int32, makeData, Uint8, Utf8, vectorFromArray } = arrowLibrary();
  if ('values' in column) return makeData({ type: new Int32(), data: column.values.subarray(from, to), nullCount: 0 });
  if ('words' in column) return vectorFromArray(column.words.slice(from, to), new Utf8()).data[0]!;
  const part = column.rows.subarray(from * column.width, to * column.width);
  const child = part instanceof Uint8Array ? makeData({ type: new Uint8(), data: part }) : makeData({ type: new Float32(), data: part });
  const type: FixedSizeList = new FixedSizeList(column.width, itemOf(column.rows));
  return makeData({ type, length: to - from, nullCount: 0, child });
}

function rowBytes(column: Column): number {
  if ('rows' in column) return column.width * column.rows.BYTES_PER_ELEMENT;
  return 'values' in column ? 4 : 16;
}

/** The bytes of an Arrow file with `length` rows; `metadata` goes into the schema. Equal input gives equal bytes. */
export function encodeRows(length: number, columns: Column[], metadata: Record<string, string>, maxBatchBytes = batchBytes): Uint8Array {
  const { Field, makeData, RecordBatch, RecordBatchFileWriter, Schema, Struct } = arrowLibrary();
  const fields = columns.map((column) => new Field(column.name, typeOf(column), false));
  const schema = new Schema(fields, new Map(Object.entries(metadata)));
  const step = Math.max(1, Math.floor(maxBatchBytes / columns.reduce((sum, column) => sum + rowBytes(column), 0)));
  const writer = new RecordBatchFileWriter();
  writer.reset(undefined, schema);
  for (let from = 0; from < length; from += step) {
    const to = Math.min(length, from + step);
    const children = columns.map((column) => slice(column, from, to));
    writer.write(new RecordBatch(schema, makeData({ type: new Struct(fields), length: to - from, nullCount: 0, children })));
  }
  writer.finish();
  return writer.toUint8Array(true);
}

/** An Arrow file whose columns are taken out by name and type. */
export class RowsReader {
  readonly numRows: number;
  private readonly file: ArrowSchema & { batches: ArrowBatch[] };

  /** `what` names the file. @throws LETHE_ARROW_DAMAGED, LETHE_ARROW_UNSUPPORTED (exit code 3), as all methods do */
  constructor(
    bytes: Uint8Array,
    private readonly what: string,
  ) {
    this.file = readArrow(bytes, what);
    this.numRows = this.file.batches.reduce((rows, batch) => rows + batch.numRows, 0);
  }

  has(name: string): boolean {
    return this.file.fields.some((field) => field.name === name);
  }

  /** A whole number from the metadata. */
  count(name: string): number {
    const count = metadataCount(this.file, name, this.what);
    if (count === undefined) throw broken(this.what, `metadata ${name}`, 'none of that name');
    return count;
  }

  numbers(name: string): Int32Array {
    return concatenate(
      Int32Array,
      this.columns(name).map((column) => int32Values(column, this.what)),
    );
  }

  words(name: string): string[] {
    return this.columns(name).flatMap((column) => words(column, this.what));
  }

  /** Rows of `width` values, not copied. */
  rows<T extends RowValues>(name: string, width: number, kind: NumberKind<T>): Rows<T> {
    const blocks = this.columns(name).map((column) => fixedRows(column, width, kind, this.what));
    return new Rows(width, blocks.length === 0 ? [new kind(new ArrayBuffer(0), 0, 0)] : blocks);
  }

  private columns(name: string): ArrowColumn[] {
    const at = columnAt(this.file, name, this.what);
    return this.file.batches.filter(({ numRows }) => numRows > 0).map(({ columns }) => columns[at]!);
  }
}
