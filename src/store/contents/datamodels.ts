/** Datamodels as an Arrow file: one row a target, sparse weights as lists. Read and written whole, or batch by batch. */
import type { Data, DataType, List, RecordBatchFileWriter, Schema, Struct } from 'apache-arrow';
import type { Datamodels } from '../../types.js';
import { type ArrowFile, openArrow, readArrow } from '../formats/arrowFile.js';
import { arrowLibrary } from '../formats/arrowLibrary.js';
import { DatamodelColumns, invalidRows, type LostMetadata, type StoredRows } from './datamodelColumns.js';
import { cutBatches, joinTargets, sliceTargets, type TargetRows } from './datamodelRows.js';
import { openForReading, unreadable } from '../disk/files.js';

/** No record batch is larger than this (but for a single target), so that a reader needs little memory. */
const batchBytes = 2 ** 26;

function makeParts() {
  const { AsyncByteQueue, Field, Float32, Int32, List: ListType, Utf8 } = arrowLibrary();
  const list = <T extends DataType>(type: T): List<T> => new ListType(new Field('item', type, false));
  const types = {
    target: new Int32(),
    bias: new Float32(),
    lambda: new Float32(),
    gap: new Float32(),
    status: new Utf8(),
    numNonzero: new Int32(),
    indices: list(new Int32()),
    weights: list(new Float32()),
  };
  const fields = Object.entries(types).map(([name, type]) => new Field(name, type, false));
  /** Arrow's writer queues what it writes; this one hands it out after every batch. */
  class ChunkSink extends AsyncByteQueue {
    private chunks: Uint8Array[] = [];

    override write(value: Uint8Array): void {
      this.chunks.push(value);
    }

    take(): Uint8Array[] {
      const taken = this.chunks;
      this.chunks = [];
      return taken;
    }
  }
  return { types, fields, makeSink: () => new ChunkSink() };
}

let parts: ReturnType<typeof makeParts> | undefined;

/** What writing is made of, with the library that knows it. */
function writing() {
  return { ...arrowLibrary(), ...(parts ??= makeParts()) };
}

/**
 * The bytes of a datamodels file, in several record batches when it is large. Columns: target, bias, lambda, gap, status, numNonzero,
 * indices (list of int32, ascending), weights (list of float32). Equal datamodels give equal bytes.
 */
export function encodeDatamodels(datamodels: Datamodels, maxBatchBytes = batchBytes): Uint8Array {
  const writer = new DatamodelsWriter(datamodels.numTrain, maxBatchBytes);
  const chunks = [...writer.add(datamodels), ...writer.finish()];
  const bytes = new Uint8Array(chunks.reduce((length, chunk) => length + chunk.length, 0));
  let at = 0;
  for (const chunk of chunks) {
    bytes.set(chunk, at);
    at += chunk.length;
  }
  return bytes;
}

/**
 * The same bytes from parts that follow each other, wherever they were cut; holds a record batch and a part at a time.
 */
export async function* streamDatamodels(
  numTrain: number,
  parts: AsyncIterable<Datamodels>,
  maxBatchBytes = batchBytes,
): AsyncGenerator<Uint8Array> {
  const writer = new DatamodelsWriter(numTrain, maxBatchBytes);
  for await (const part of parts) yield* writer.add(part);
  yield* writer.finish();
}

class DatamodelsWriter {
  private readonly sink = writing().makeSink();
  private readonly writer: RecordBatchFileWriter;
  private readonly schema: Schema;
  private readonly cutter;

  constructor(numTrain: number, maxBatchBytes: number) {
    const { fields, RecordBatchFileWriter: Writer, Schema: SchemaType } = writing();
    this.schema = new SchemaType(fields, new Map([['train', String(numTrain)]]));
    this.writer = new Writer();
    this.writer.reset(this.sink, this.schema);
    this.cutter = cutBatches(maxBatchBytes);
  }

  *add(part: Datamodels): Generator<Uint8Array> {
    for (const batch of this.cutter.add(part)) yield* this.write(batch);
  }

  *finish(): Generator<Uint8Array> {
    for (const batch of this.cutter.finish()) yield* this.write(batch);
    this.writer.finish();
    yield* this.sink.take();
  }

  private write(batch: TargetRows): Uint8Array[] {
    const { RecordBatch } = arrowLibrary();
    this.writer.write(new RecordBatch(this.schema, encodeBatch(batch)));
    return this.sink.take();
  }
}

function encodeBatch({ firstTarget, numTargets, bias, lambda, gap, status, rowStart, indices, weights }: TargetRows): Data<Struct> {
  const { fields, Float32, Int32, makeData, Struct: StructType, types, vectorFromArray } = writing();
  const floats = (values: Float32Array): Data => makeData({ type: types.bias, data: values, nullCount: 0 });
  const ints = (value: (row: number) => number): Data =>
    makeData({ type: types.target, data: Int32Array.from({ length: numTargets }, (_, row) => value(row)), nullCount: 0 });
  // a copy for each list: the writer drops a chunk that is the same memory as the one before it
  const offsets = (): Int32Array => Int32Array.from(rowStart);
  const lists = (type: List, child: Data): Data => makeData({ type, length: numTargets, nullCount: 0, valueOffsets: offsets(), child });
  const children = [
    ints((row) => firstTarget + row),
    floats(bias),
    floats(lambda),
    floats(gap),
    vectorFromArray(status, types.status).data[0]!,
    ints((row) => rowStart[row + 1]! - rowStart[row]!),
    lists(types.indices, makeData({ type: new Int32(), data: indices, nullCount: 0 })),
    lists(types.weights, makeData({ type: new Float32(), data: weights, nullCount: 0 })),
  ];
  return makeData({ type: new StructType(fields), length: numTargets, nullCount: 0, children });
}

/**
 * Opens a datamodels file that lies in memory.
 * @throws LETHE_ARROW_DAMAGED, LETHE_ARROW_UNSUPPORTED, LETHE_DATAMODELS_INVALID (exit code 3)
 */
export function readDatamodels(bytes: Uint8Array, what = 'datamodels'): Datamodels {
  const file = readArrow(bytes, what);
  const columns = new DatamodelColumns(file, what);
  const batches = file.batches.filter(({ numRows }) => numRows > 0).map((batch) => columns.rows(batch));
  return joinTargets(columns.numTrain, inOrder(batches, what));
}

/** Whose rows are not in the order of their targets is sorted in memory up to this size. */
const mostSortedBytes = batchBytes;

/**
 * The record batches of a datamodels file, one in memory at a time; columns are found by their names, rows by column target.
 * `lost`: what to do about a file of another program that has dropped the metadata.
 * @throws LETHE_FILE_MISSING (exit code 2), LETHE_ARROW_DAMAGED, LETHE_ARROW_UNSUPPORTED, LETHE_DATAMODELS_INVALID (exit code 3),
 * LETHE_FILE_UNREADABLE, LETHE_MEMORY_SHORT (exit code 4)
 */
export async function* readDatamodelBatches(path: string, lost?: LostMetadata): AsyncGenerator<Datamodels> {
  const { handle, bytes } = await openForReading(path);
  try {
    const file = await openArrow(handle, bytes, path);
    const columns = new DatamodelColumns(file, path, lost);
    if (bytes <= mostSortedBytes) {
      const batches: StoredRows[] = [];
      for await (const batch of storedBatches(file, columns)) batches.push(batch);
      yield* inOrder(batches, path);
      return;
    }
    let first = 0;
    for await (const batch of storedBatches(file, columns)) {
      if (!isInOrder([batch], first)) {
        throw invalidRows(
          path,
          'column target',
          `targets in order, in a file of more than ${mostSortedBytes} bytes`,
          `others than ${first} and so on`,
        );
      }
      first += batch.targets.length;
      yield batch.datamodels;
    }
  } catch (cause) {
    throw cause instanceof Error && 'syscall' in cause ? unreadable(path, cause) : cause;
  } finally {
    await handle.close();
  }
}

async function* storedBatches(file: ArrowFile, columns: DatamodelColumns): AsyncGenerator<StoredRows> {
  for (let k = 0; k < file.numBatches; k++) {
    const batch = await file.batch(k);
    if (batch.numRows > 0) yield columns.rows(batch);
  }
}

/** True where the rows are those of targets `first`, `first` + 1 and so on. */
function isInOrder(batches: readonly StoredRows[], first = 0): boolean {
  let next = first;
  return batches.every(({ targets }) => targets.every((target) => target === next++));
}

/** The datamodels of targets 0, 1 and so on. @throws LETHE_DATAMODELS_INVALID (exit code 3) unless every one is there once */
function inOrder(batches: readonly StoredRows[], what: string): Datamodels[] {
  const parts = batches.map(({ datamodels }) => datamodels);
  if (isInOrder(batches)) return parts;
  const { numTrain } = parts[0]!;
  const all = joinTargets(numTrain, parts);
  const rowOf = new Int32Array(all.numTargets).fill(-1);
  let row = 0;
  for (const { targets } of batches) {
    for (const target of targets) {
      if (rowOf[target] !== -1) {
        const received = target >= 0 && target < rowOf.length ? `${target} twice` : `${target} among ${rowOf.length} rows`;
        throw invalidRows(what, 'column target', 'every target from 0 on, once', received);
      }
      rowOf[target] = row++;
    }
  }
  const sorted = Array.from(rowOf, (at) => sliceTargets(all, at, at + 1));
  return [joinTargets(numTrain, sorted)];
}
