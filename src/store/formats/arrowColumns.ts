/** Values of Arrow columns as typed arrays: views where type and alignment allow it, copies otherwise. All of them check what they read. */
import type { LetheError } from '../../errors.js';
import { broken, type ArrowColumn, unsupported } from './arrowFile.js';
import type { ArrowSchema } from './arrowSchema.js';

/** The file and the column, for messages: "FILE, column bias". */
const placeOf = (column: ArrowColumn, what: string): string => `${what}, column ${JSON.stringify(column.field.name.slice(0, 80))},`;

function wrongType(column: ArrowColumn, what: string, expected: string, action?: string): LetheError {
  const received = column.field.typeName;
  return unsupported(placeOf(column, what), { expected, received, ...(action === undefined ? {} : { action }) });
}

/** A class of typed arrays. */
export type NumberKind<T> = { new (buffer: ArrayBufferLike, offset: number, length: number): T; readonly BYTES_PER_ELEMENT: number };

/** (length) the values of a buffer. */
function view<T>(column: ArrowColumn, buffer: number, length: number, kind: NumberKind<T>, what: string): T {
  const bytes = column.buffers[buffer]!;
  const need = length * kind.BYTES_PER_ELEMENT;
  if (need > bytes.length) throw broken(placeOf(column, what), `${need} bytes for ${length} values`, `${bytes.length} bytes`);
  // slice of a Buffer would not copy
  const aligned = bytes.byteOffset % kind.BYTES_PER_ELEMENT === 0 ? bytes : new Uint8Array(bytes.subarray(0, need));
  return new kind(aligned.buffer, aligned.byteOffset, length);
}

function requireNoNulls(column: ArrowColumn, what: string): void {
  if (column.nullCount === 0) return;
  throw unsupported(placeOf(column, what), { expected: 'a value in every row', received: `${column.nullCount} without a value (null)` });
}

const intKinds = new Map<string, NumberKind<ArrayLike<number> | ArrayLike<bigint>>>([
  ['int8', Int8Array],
  ['uint8', Uint8Array],
  ['int16', Int16Array],
  ['uint16', Uint16Array],
  ['uint32', Uint32Array],
  ['int64', BigInt64Array],
  ['uint64', BigUint64Array],
]);

/** (length) whole numbers of any type that fit in int32. @throws LETHE_ARROW_DAMAGED, LETHE_ARROW_UNSUPPORTED (exit code 3) */
export function int32Values(column: ArrowColumn, what: string): Int32Array {
  if (column.field.type.kind !== 'int') throw wrongType(column, what, 'int32');
  requireNoNulls(column, what);
  const kind = intKinds.get(column.field.typeName);
  if (!kind) return view(column, 1, column.length, Int32Array, what);
  const values = view(column, 1, column.length, kind, what);
  const converted = new Int32Array(column.length);
  for (let k = 0; k < converted.length; k++) {
    const value = Number(values[k]!);
    converted[k] = value;
    if (converted[k] !== value) throw unsupported(placeOf(column, what), { expected: 'numbers below 2^31', received: String(value) });
  }
  return converted;
}

/**
 * (length) float32, or float64 that lose nothing by it; null is NaN, as pandas writes it.
 * @throws LETHE_ARROW_DAMAGED, LETHE_ARROW_UNSUPPORTED (exit code 3)
 */
export function float32Values(column: ArrowColumn, what: string): Float32Array {
  const { type } = column.field;
  if (type.kind !== 'float' || type.bits === 16) throw wrongType(column, what, 'float32');
  let values: Float32Array;
  if (type.bits === 32) values = view(column, 1, column.length, Float32Array, what);
  else {
    const wide = view(column, 1, column.length, Float64Array, what);
    values = Float32Array.from(wide);
    const lost = wide.findIndex((value, k) => values[k] !== value && !Number.isNaN(value));
    if (lost >= 0) throw unsupported(placeOf(column, what), { expected: 'values of float32', received: `${wide[lost]} in row ${lost}` });
  }
  return column.nullCount === 0 ? values : withoutNulls(column, values, what);
}

function withoutNulls(column: ArrowColumn, values: Float32Array, what: string): Float32Array {
  const bits = view(column, 0, Math.ceil(column.length / 8), Uint8Array, what);
  return values.map((value, k) => (((bits[k >> 3]! >> (k & 7)) & 1) === 1 ? value : NaN));
}

/** Where rows begin in the items, and the last one ends: (length + 1), ascending, none beyond `items`. */
function offsets(column: ArrowColumn, bits: 32 | 64, items: number, what: string): Float64Array {
  const rows = column.length;
  // of an empty column the one offset may be left out
  if (rows === 0 && column.buffers[1]!.length === 0) return new Float64Array(1);
  const starts =
    bits === 32
      ? Float64Array.from(view(column, 1, rows + 1, Int32Array, what))
      : Float64Array.from(view(column, 1, rows + 1, BigInt64Array, what), Number);
  for (let row = 0; row <= rows; row++) {
    const before = row === 0 ? 0 : starts[row - 1]!;
    if (starts[row]! < before || starts[row]! > items) {
      throw broken(placeOf(column, what), `ascending offsets of at most ${items}`, `${starts[row]!} after ${before}`);
    }
  }
  return starts;
}

/**
 * Lists of any length: row r holds items [starts[r], starts[r + 1]).
 * @throws LETHE_ARROW_DAMAGED, LETHE_ARROW_UNSUPPORTED (exit code 3)
 */
export function lists(column: ArrowColumn, what: string): { starts: Float64Array; items: ArrowColumn } {
  const { type } = column.field;
  if (type.kind !== 'list') throw wrongType(column, what, 'list');
  requireNoNulls(column, what);
  const items = column.children[0]!;
  return { starts: offsets(column, type.offsets, items.length, what), items };
}

/** Lists of one length, as (length * width) values. @throws LETHE_ARROW_DAMAGED, LETHE_ARROW_UNSUPPORTED (exit code 3) */
export function fixedRows<T extends Float32Array | Uint8Array>(column: ArrowColumn, width: number, kind: NumberKind<T>, what: string): T {
  const { type } = column.field;
  const item = column.children[0];
  const itemType = (kind as unknown) === Uint8Array ? 'uint8' : 'float32';
  if (type.kind !== 'fixedList' || type.width !== width || item?.field.typeName !== itemType) {
    throw wrongType(column, what, `${width} x ${itemType}`);
  }
  requireNoNulls(column, what);
  requireNoNulls(item, what);
  const count = column.length * width;
  if (item.length < count) throw broken(placeOf(column, what), `${count} items`, `${item.length} items`);
  return view(item, 1, count, kind, what);
}

/** A word is a status or a name. */
const longestWord = 256;

/** (length) short texts. @throws LETHE_ARROW_DAMAGED, LETHE_ARROW_UNSUPPORTED (exit code 3) */
export function words(column: ArrowColumn, what: string): string[] {
  const { type } = column.field;
  if (type.kind !== 'text') {
    throw wrongType(column, what, 'text', 'Write it as plain text: in pandas column.astype(str), in polars column.cast(pl.String).');
  }
  requireNoNulls(column, what);
  const bytesOf = type.offsets === 'view' ? viewedWords(column, what) : plainWords(column, type.offsets, what);
  return Array.from({ length: column.length }, (_, row) => {
    const bytes = bytesOf(row);
    if (bytes.length > longestWord) throw broken(placeOf(column, what), `words of at most ${longestWord} bytes`, `${bytes.length} bytes`);
    return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('utf8');
  });
}

function plainWords(column: ArrowColumn, bits: 32 | 64, what: string): (row: number) => Uint8Array {
  const text = column.buffers[2]!;
  const starts = offsets(column, bits, text.length, what);
  return (row) => text.subarray(starts[row], starts[row + 1]);
}

/** Of 16 bytes a row: a length and the text itself, or the buffer and the place where it lies. */
function viewedWords(column: ArrowColumn, what: string): (row: number) => Uint8Array {
  const views = view(column, 1, 16 * column.length, Uint8Array, what);
  const numbers = new DataView(views.buffer, views.byteOffset, views.length);
  return (row) => {
    const length = numbers.getInt32(16 * row, true);
    if (length >= 0 && length <= 12) return views.subarray(16 * row + 4, 16 * row + 4 + length);
    const [buffer, at] = [numbers.getInt32(16 * row + 8, true), numbers.getInt32(16 * row + 12, true)];
    const text = buffer < 0 ? undefined : column.buffers[2 + buffer];
    if (length < 0 || !text || at < 0 || at + length > text.length)
      throw broken(placeOf(column, what), 'a text inside the file', 'another place');
    return text.subarray(at, at + length);
  };
}

/** The place of a column among the fields. @throws LETHE_ARROW_UNSUPPORTED (exit code 3) when there is none of that name, or two */
export function columnAt({ fields }: ArrowSchema, name: string, what: string): number {
  const places = fields.flatMap((field, at) => (field.name === name ? [at] : []));
  if (places.length === 1) return places[0]!;
  const received = fields
    .slice(0, 20)
    .map((field) => JSON.stringify(field.name.slice(0, 80)))
    .join(', ');
  throw unsupported(what, { expected: `one column "${name}"`, received: received === '' ? 'no columns' : received });
}

/** A whole number from the metadata; undefined: it is not there. @throws LETHE_ARROW_UNSUPPORTED (exit code 3) */
export function metadataCount({ metadata }: ArrowSchema, name: string, what: string): number | undefined {
  const text = metadata.get(name);
  if (text === undefined || /^\d{1,15}$/.test(text)) return text === undefined ? undefined : Number(text);
  throw unsupported(what, { expected: `a whole number as metadata "${name}"`, received: JSON.stringify(text.slice(0, 80)) });
}
