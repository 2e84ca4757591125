/**
 * Arrow IPC files, read under bounds: the footer names the record batches, each of which becomes columns that are views of its bytes.
 * Files come from strangers and from damaged disks: every offset, length and count is checked against the file before anything is read or
 * allocated, and the work is bounded by the size of the file. Writing is left to the apache-arrow package.
 */
import type { FileHandle } from 'node:fs/promises';
import type { ErrorDetails, LetheError } from '../../errors.js';
import { type ArrowField, type ArrowSchema, readSchema } from './arrowSchema.js';
import { allocate, damaged, readFully } from '../disk/files.js';
import { FlatBufferFault, FlatTable, type Structs } from './flatbuffer.js';

/** A column of a record batch. */
export interface ArrowColumn {
  field: ArrowField;
  /** Rows, or items of a list. */
  length: number;
  nullCount: number;
  /** Validity bits first where the type has them; views of the batch. */
  buffers: Uint8Array[];
  children: ArrowColumn[];
}

export interface ArrowBatch {
  numRows: number;
  columns: ArrowColumn[];
}

/** Where a record batch lies in the file. */
interface ArrowBlock {
  at: number;
  metadataBytes: number;
  bodyBytes: number;
}

interface ArrowLayout extends ArrowSchema {
  blocks: ArrowBlock[];
}

const magic = 'ARROW1';
/** The magic and its padding. */
const startBytes = 8;
/** Of a message: a mark and the length, or the length only. */
const prefixBytes = 8;
/** Between blocks, and the end mark of a stream. */
const mostPadding = 64;
/** Length of the footer and the magic. */
const endBytes = 10;
/** Metadata hold names and places; of a column they take some hundred bytes. */
const maxMetadataBytes = 2 ** 26;
/** A Uint8Array of Node 20 ends here. */
const maxBatchBytes = 2 ** 32;
const recordBatch = 3;
/** V4 and V5, as numbers of the format. */
const versions = [3, 4];
const codecs = ['LZ4', 'ZSTD'];

/** @throws LETHE_ARROW_DAMAGED (exit code 3) */
export function broken(what: string, expected: string, received: string): LetheError {
  return damaged('LETHE_ARROW_DAMAGED', `${what} is damaged`, expected, received, 'Copy it again from where it was made.');
}

/** A sound file of a kind that is not read. */
export function unsupported(what: string, { expected = '', received = '', action }: ErrorDetails): LetheError {
  return damaged('LETHE_ARROW_UNSUPPORTED', `${what} cannot be read`, expected, received, action);
}

/** A file whose record batches are read one at a time. */
export interface ArrowFile extends ArrowSchema {
  numBatches: number;
  /** @throws LETHE_ARROW_DAMAGED, LETHE_ARROW_UNSUPPORTED (exit code 3), LETHE_MEMORY_SHORT (exit code 4) */
  batch(index: number): Promise<ArrowBatch>;
}

/**
 * @throws LETHE_ARROW_DAMAGED, LETHE_ARROW_UNSUPPORTED (exit code 3); errors of the system as they are. `bytes`: the size of the file.
 */
export async function openArrow(handle: FileHandle, bytes: number, what: string): Promise<ArrowFile> {
  const read = async (at: number, length: number): Promise<Uint8Array> => {
    const content = allocate(length, what);
    return new Uint8Array(content, 0, await readFully(handle, content, at));
  };
  const from = Math.max(0, bytes - endBytes);
  const start = await read(0, Math.min(startBytes + prefixBytes, bytes));
  const footer = locateFooter(start, await read(from, bytes - from), bytes, what);
  const layout = readLayout(start, await read(footer.at, footer.length), footer.at, what);
  return {
    fields: layout.fields,
    metadata: layout.metadata,
    numBatches: layout.blocks.length,
    async batch(index) {
      const block = layout.blocks[index]!;
      return readBatch(layout, block, await read(block.at, block.metadataBytes + block.bodyBytes), what);
    },
  };
}

/** The same of a file that lies in memory: columns are views of `bytes`. @throws LETHE_ARROW_DAMAGED, LETHE_ARROW_UNSUPPORTED (exit code 3) */
export function readArrow(bytes: Uint8Array, what: string): ArrowSchema & { batches: ArrowBatch[] } {
  const end = bytes.subarray(Math.max(0, bytes.length - endBytes));
  const { at, length } = locateFooter(bytes, end, bytes.length, what);
  const layout = readLayout(bytes, bytes.subarray(at, at + length), at, what);
  const batches = layout.blocks.map((block) => {
    return readBatch(layout, block, bytes.subarray(block.at, block.at + block.metadataBytes + block.bodyBytes), what);
  });
  return { fields: layout.fields, metadata: layout.metadata, batches };
}

function guard<T>(what: string, part: string, read: () => T): T {
  try {
    return read();
  } catch (cause) {
    if (cause instanceof FlatBufferFault) throw broken(what, `a readable ${part}`, cause.message);
    throw cause;
  }
}

const others: [start: string, received: string, action: string][] = [
  ['\xff\xff\xff\xff', 'an Arrow stream', 'Write the file format, with pyarrow.ipc.new_file or polars write_ipc.'],
  ['PAR1', 'a Parquet file', 'Write it as an Arrow IPC file, with pyarrow.feather.write_feather(table, file, compression="uncompressed").'],
  ['FEA1', 'a Feather file of version 1', 'Write version 2, which is an Arrow IPC file, without compression.'],
];

/**
 * Where the footer lies. `start`: the first bytes of the file, 16 or more; `end`: the last 10; fewer of a shorter file.
 * @throws LETHE_ARROW_DAMAGED, LETHE_ARROW_UNSUPPORTED (exit code 3)
 */
function locateFooter(start: Uint8Array, end: Uint8Array, bytes: number, what: string): { at: number; length: number } {
  const text = Buffer.from(start.subarray(0, startBytes)).toString('latin1');
  const other = others.find(([first]) => text.startsWith(first));
  if (other) throw unsupported(what, { expected: 'an Arrow IPC file', received: other[1], action: other[2] });
  if (!text.startsWith(magic))
    throw broken(what, `an Arrow IPC file, which begins with ${magic}`, bytes === 0 ? 'an empty file' : 'other bytes');
  if (bytes < startBytes + endBytes || !Buffer.from(end).toString('latin1').endsWith(magic)) {
    throw broken(what, `${magic} at the end of the file too`, 'other bytes: was it cut short?');
  }
  const length = new DataView(end.buffer, end.byteOffset).getInt32(0, true);
  const most = Math.min(bytes - startBytes - endBytes, maxMetadataBytes);
  if (length < 8 || length > most) throw broken(what, `a footer of 8 to ${most} bytes`, `${length} bytes`);
  return { at: bytes - endBytes - length, length };
}

/** @throws LETHE_ARROW_DAMAGED, LETHE_ARROW_UNSUPPORTED (exit code 3); `start`: of the file, `at`: where the footer lies */
function readLayout(start: Uint8Array, footer: Uint8Array, at: number, what: string): ArrowLayout {
  return guard(what, 'footer', () => {
    const root = FlatTable.root(footer);
    const schema = root.table(1);
    if (!schema) throw new FlatBufferFault('no schema');
    if (!versions.includes(root.uint16(0))) throw new FlatBufferFault(`version ${root.uint16(0)} of the format`);
    const dictionaries = readBlocks(root.structs(2, 24), at);
    const blocks = readBlocks(root.structs(3, 24), at);
    const large = blocks.find(({ metadataBytes, bodyBytes }) => metadataBytes + bodyBytes > maxBatchBytes);
    if (large) throw tooLarge(what, large.metadataBytes + large.bodyBytes);
    requireCovered(start, [...dictionaries, ...blocks], at);
    return { ...readSchema(schema), blocks };
  });
}

/** Blocks in order, none of them over another, before byte `end`. */
function readBlocks(structs: Structs, end: number): ArrowBlock[] {
  let free = startBytes;
  return Array.from({ length: structs.length }, (_, k) => {
    const block = { at: structs.int64(k, 0), metadataBytes: structs.int32(k, 8), bodyBytes: structs.int64(k, 16) };
    const { at, metadataBytes, bodyBytes } = block;
    if (at < free || metadataBytes < 8 || metadataBytes > maxMetadataBytes || bodyBytes < 0 || at + metadataBytes + bodyBytes > end) {
      throw new FlatBufferFault(`a block at ${at} of ${metadataBytes} + ${bodyBytes} bytes, between ${free} and ${end}`);
    }
    free = at + metadataBytes + bodyBytes;
    return block;
  });
}

/** The bytes before the footer are those of the schema, where it is written there too, and of the blocks: none are left out or read twice. */
function requireCovered(start: Uint8Array, blocks: ArrowBlock[], end: number): void {
  const sorted = blocks.sort((a, b) => a.at - b.at);
  const first = sorted[0]?.at ?? end;
  let free = first === startBytes ? startBytes : startBytes + messageLength(start.subarray(startBytes, startBytes + prefixBytes)).end;
  for (const { at, metadataBytes, bodyBytes } of [...sorted, { at: end, metadataBytes: 0, bodyBytes: 0 }]) {
    if (at < free || at > free + mostPadding) throw new FlatBufferFault(`bytes ${free} to ${at}, which no record batch or two hold`);
    free = at + metadataBytes + bodyBytes;
  }
}

/** Where the flatbuffer of a message begins and ends. */
function messageLength(bytes: Uint8Array): { start: number; end: number } {
  if (bytes.length < prefixBytes) throw new FlatBufferFault(`${bytes.length} bytes for a message`);
  const view = new DataView(bytes.buffer, bytes.byteOffset, prefixBytes);
  // files of before 2019 have no mark before the length
  const start = view.getInt32(0, true) === -1 ? 8 : 4;
  return { start, end: start + view.getInt32(start - 4, true) };
}

/** The message of a record batch, from its metadata. */
function readMessage(bytes: Uint8Array): { message: FlatTable; batch: FlatTable } {
  const { start, end } = messageLength(bytes);
  if (end < start + 4 || end > bytes.length) throw new FlatBufferFault(`a message of ${end} bytes in ${bytes.length}`);
  const message = FlatTable.root(bytes.subarray(start, end));
  const batch = message.table(2);
  if (!versions.includes(message.uint16(0)) || message.uint8(1) !== recordBatch || !batch) throw new FlatBufferFault('another message');
  return { message, batch };
}

/** `bytes`: those of the block. @throws LETHE_ARROW_DAMAGED, LETHE_ARROW_UNSUPPORTED (exit code 3) */
function readBatch({ fields }: ArrowLayout, block: ArrowBlock, bytes: Uint8Array, what: string): ArrowBatch {
  return guard(what, 'record batch', () => {
    if (bytes.length < block.metadataBytes + block.bodyBytes) throw new FlatBufferFault('the end of the file: it became shorter');
    const { message, batch } = readMessage(bytes.subarray(0, block.metadataBytes));
    if (message.int64(3) !== block.bodyBytes) throw new FlatBufferFault(`a body of ${message.int64(3)} bytes, not ${block.bodyBytes}`);
    const compression = batch.table(3);
    if (compression) throw compressed(what, codecs[compression.uint8(0)] ?? 'unknown');
    const body = bytes.subarray(block.metadataBytes, block.metadataBytes + block.bodyBytes);
    const walk = new Walk(batch, body);
    const columns = fields.map((field) => walk.column(field));
    walk.requireEnd();
    const numRows = batch.int64(0);
    const other = columns.find((column) => column.length !== numRows);
    if (numRows < 0 || other) throw new FlatBufferFault(`${numRows} rows, and ${other?.length ?? 0} in a column`);
    return { numRows, columns };
  });
}

function tooLarge(what: string, bytes: number): LetheError {
  return unsupported(what, {
    expected: `record batches of at most ${maxBatchBytes} bytes`,
    received: `one of ${bytes} bytes`,
    action: 'Write it again in smaller ones (chunksize of pyarrow write_feather, record_batch_size of polars write_ipc).',
  });
}

function compressed(what: string, codec: string): LetheError {
  return unsupported(what, {
    expected: 'an Arrow file without compression',
    received: `compression ${codec}`,
    action: "Write it again with compression='uncompressed' (pandas to_feather, pyarrow write_feather, polars write_ipc).",
  });
}

/** Hands out lengths and buffers in the order of the columns, depth first. */
class Walk {
  private node = 0;
  private buffer = 0;
  private free = 0;
  private variadic = 0;
  private readonly nodes;
  private readonly buffers;
  private readonly variadics;

  constructor(
    batch: FlatTable,
    private readonly body: Uint8Array,
  ) {
    this.nodes = batch.structs(1, 16);
    this.buffers = batch.structs(2, 16);
    this.variadics = batch.structs(4, 8);
  }

  column(field: ArrowField): ArrowColumn {
    const node = this.node++;
    if (node >= this.nodes.length) throw new FlatBufferFault(`${this.nodes.length} columns, fewer than the schema has`);
    const [length, nullCount] = [this.nodes.int64(node, 0), this.nodes.int64(node, 8)];
    if (length < 0 || nullCount < 0 || nullCount > length)
      throw new FlatBufferFault(`a column of ${length} rows, ${nullCount} of them null`);
    const further = field.view ? this.furtherBuffers() : 0;
    const buffers = Array.from({ length: field.buffers + further }, () => this.nextBuffer());
    return { field, length, nullCount, buffers, children: field.children.map((child) => this.column(child)) };
  }

  requireEnd(): void {
    if (this.node === this.nodes.length && this.buffer === this.buffers.length) return;
    const found = `${this.nodes.length} columns in ${this.buffers.length} buffers`;
    throw new FlatBufferFault(`${found}, where the schema has ${this.node} in ${this.buffer}`);
  }

  private furtherBuffers(): number {
    const count = this.variadic < this.variadics.length ? this.variadics.int64(this.variadic++, 0) : 0;
    if (count >= 0 && this.buffer + count <= this.buffers.length) return count;
    throw new FlatBufferFault(`a column of ${count} further buffers`);
  }

  private nextBuffer(): Uint8Array {
    const k = this.buffer++;
    if (k >= this.buffers.length) throw new FlatBufferFault(`${this.buffers.length} buffers, fewer than the schema has`);
    const [at, length] = [this.buffers.int64(k, 0), this.buffers.int64(k, 8)];
    if (length === 0) return this.body.subarray(0, 0);
    if (at < this.free || length < 0 || at + length > this.body.length) {
      throw new FlatBufferFault(`a buffer at ${at} of ${length} bytes, behind ${this.free}, in a body of ${this.body.length}`);
    }
    this.free = at + length;
    return this.body.subarray(at, at + length);
  }
}
