/** Datamodels as an Arrow file: one row a target, sparse weights as lists. Read and written whole, or batch by batch. */
import {
  AsyncByteQueue,
  Field,
  Float32,
  Int32,
  List,
  makeData,
  RecordBatch,
  RecordBatchFileWriter,
  RecordBatchReader,
  Schema,
  Struct,
  tableFromIPC,
  Utf8,
  vectorFromArray,
} from 'apache-arrow';
import type { Data, DataType } from 'apache-arrow';
import { fitStatuses, type Datamodels, type FitStatus } from '../types.js';
import { cutBatches, joinTargets, type TargetRows } from './datamodelRows.js';
import { damaged, openForReading, unreadable } from './files.js';

/** No record batch is larger than this (but for a single target), so that a reader needs little memory. */
const batchBytes = 2 ** 26;

const list = <T extends DataType>(type: T): List<T> => new List(new Field('item', type, false));
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

class DatamodelsWriter {
  private readonly sink = new ChunkSink();
  private readonly writer = new RecordBatchFileWriter();
  private readonly schema: Schema;
  private readonly cutter;

  constructor(numTrain: number, maxBatchBytes: number) {
    this.schema = new Schema(fields, new Map([['train', String(numTrain)]]));
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
    this.writer.write(new RecordBatch(this.schema, encodeBatch(batch)));
    return this.sink.take();
  }
}

function encodeBatch({ firstTarget, numTargets, bias, lambda, gap, status, rowStart, indices, weights }: TargetRows): Data<Struct> {
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
  return makeData({ type: new Struct(fields), length: numTargets, nullCount: 0, children });
}

/**
 * Opens a datamodels file. Only for bytes whose checksum was verified or that come from this machine's own fit.
 * @throws LETHE_ARROW_DAMAGED (exit code 3)
 */
export function readDatamodels(bytes: Uint8Array, what = 'datamodels'): Datamodels {
  let table;
  try {
    table = tableFromIPC(bytes);
  } catch (cause) {
    throw noDatamodels(what, 'an Arrow IPC file', cause instanceof Error ? cause.message : String(cause));
  }
  const numTrain = trainOf(table.schema, what);
  return joinTargets(
    numTrain,
    table.batches.filter((batch) => batch.numRows > 0).map((batch) => decodeBatch(batch, numTrain, what)),
  );
}

/**
 * The record batches of a datamodels file, one in memory at a time. The file should be one that Lethe wrote: what is not such a file is
 * refused, but Arrow's reader does not survive every damage inside one.
 * @throws LETHE_FILE_MISSING (exit code 2), LETHE_ARROW_DAMAGED (exit code 3), LETHE_FILE_UNREADABLE (exit code 4)
 */
export async function* readDatamodelBatches(path: string): AsyncGenerator<Datamodels> {
  const { handle } = await openForReading(path);
  try {
    const reader = await RecordBatchReader.from(handle);
    await reader.open();
    const numTrain = trainOf(reader.schema, path);
    for await (const batch of reader) if (batch.numRows > 0) yield decodeBatch(batch, numTrain, path);
  } catch (cause) {
    if (cause instanceof Error && 'code' in cause) throw 'syscall' in cause ? unreadable(path, cause) : cause;
    throw noDatamodels(path, 'an Arrow IPC file', cause instanceof Error ? cause.message : String(cause));
  } finally {
    await handle.close();
  }
}

function noDatamodels(what: string, expected: string, received: string): Error {
  return damaged('LETHE_ARROW_DAMAGED', `${what} is no datamodels file`, expected, received, 'Run lethe fit again.');
}

/** Checks the columns; gives the number of train examples. */
function trainOf(schema: Schema, what: string): number {
  const described = (found: readonly Field[]): string => found.map(({ name, type }) => `${name}: ${String(type)}`).join(', ');
  if (described(schema.fields) !== described(fields)) {
    throw noDatamodels(what, `columns ${described(fields)}`, described(schema.fields));
  }
  const numTrain = Number(schema.metadata.get('train') ?? NaN);
  if (!Number.isSafeInteger(numTrain)) throw noDatamodels(what, 'the number of train examples in the metadata', String(numTrain));
  return numTrain;
}

/** Views of the batch's memory. */
function decodeBatch(batch: RecordBatch, numTrain: number, what: string): Datamodels {
  const length = batch.numRows;
  const floats = (name: string): Float32Array => (batch.getChild(name)!.data[0] as Data<Float32>).values.subarray(0, length);
  const indices = batch.getChild('indices')!.data[0] as Data<List<Int32>>;
  const weights = batch.getChild('weights')!.data[0] as Data<List<Float32>>;
  const status = Array.from(batch.getChild('status')! as Iterable<unknown>, String) as FitStatus[];
  const unknown = status.find((word) => !fitStatuses.includes(word));
  if (unknown !== undefined) throw noDatamodels(what, `a status of ${fitStatuses.join(', ')}`, unknown);
  const offsets = (indices.valueOffsets as Int32Array).subarray(0, length + 1);
  const first = offsets[0]!;
  return {
    numTargets: length,
    numTrain,
    bias: floats('bias'),
    lambda: floats('lambda'),
    gap: floats('gap'),
    status,
    rowStart: Float64Array.from(offsets, (offset) => offset - first),
    indices: (indices.children[0] as Data<Int32>).values.subarray(first, offsets[length]),
    weights: (weights.children[0] as Data<Float32>).values.subarray(first, offsets[length]),
  };
}
