/** Datamodels as an Arrow file: one row a target, sparse weights as lists. */
import {
  Field,
  Float32,
  Int32,
  List,
  makeData,
  RecordBatch,
  RecordBatchFileWriter,
  Schema,
  Struct,
  tableFromIPC,
  Utf8,
  vectorFromArray,
} from 'apache-arrow';
import type { Data, DataType } from 'apache-arrow';
import { fitStatuses, type Datamodels, type FitStatus } from '../types.js';
import { damaged } from './files.js';

/** No record batch is larger than this, so that 32-bit list offsets suffice everywhere. */
const batchBytes = 2 ** 28;

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
  const schema = new Schema(fields, new Map([['train', String(datamodels.numTrain)]]));
  const writer = new RecordBatchFileWriter();
  writer.reset(undefined, schema);
  const { numTargets, rowStart } = datamodels;
  for (let from = 0; from < numTargets;) {
    let to = from + 1;
    while (to < numTargets && 8 * (rowStart[to + 1]! - rowStart[from]!) + 40 * (to - from) < maxBatchBytes) to++;
    writer.write(new RecordBatch(schema, encodeBatch(datamodels, from, to)));
    from = to;
  }
  writer.finish();
  return writer.toUint8Array(true);
}

/** Rows [from, to). */
function encodeBatch({ bias, lambda, gap, status, rowStart, indices, weights }: Datamodels, from: number, to: number): Data<Struct> {
  const length = to - from;
  const first = rowStart[from]!;
  const end = rowStart[to]!;
  const floats = (values: Float32Array): Data => makeData({ type: types.bias, data: values.subarray(from, to), nullCount: 0 });
  const ints = (value: (row: number) => number): Data =>
    makeData({ type: types.target, data: Int32Array.from({ length }, (_, row) => value(from + row)), nullCount: 0 });
  // a copy for each list: the writer drops a chunk that is the same memory as the one before it
  const offsets = (): Int32Array => Int32Array.from({ length: length + 1 }, (_, row) => rowStart[from + row]! - first);
  const children = [
    ints((row) => row),
    floats(bias),
    floats(lambda),
    floats(gap),
    vectorFromArray(status.slice(from, to), types.status).data[0]!,
    ints((row) => rowStart[row + 1]! - rowStart[row]!),
    makeData({
      type: types.indices,
      length,
      nullCount: 0,
      valueOffsets: offsets(),
      child: makeData({ type: new Int32(), data: indices.subarray(first, end), nullCount: 0 }),
    }),
    makeData({
      type: types.weights,
      length,
      nullCount: 0,
      valueOffsets: offsets(),
      child: makeData({ type: new Float32(), data: weights.subarray(first, end), nullCount: 0 }),
    }),
  ];
  return makeData({ type: new Struct(fields), length, nullCount: 0, children });
}

/**
 * Opens a datamodels file. Only for bytes whose checksum was verified or that come from this machine's own fit.
 * @throws LETHE_ARROW_DAMAGED (exit code 3)
 */
export function readDatamodels(bytes: Uint8Array, what = 'datamodels'): Datamodels {
  const batches = openBatches(bytes, what);
  const numTargets = batches.rows.reduce((sum, { length }) => sum + length, 0);
  const rowStart = new Float64Array(numTargets + 1);
  let row = 0;
  for (const batch of batches.rows) {
    for (let k = 0; k < batch.length; k++, row++) rowStart[row + 1] = rowStart[row]! + batch.offsets[k + 1]! - batch.offsets[k]!;
  }
  const floats = (pick: (batch: Batch) => Float32Array, length: number): Float32Array =>
    concat(new Float32Array(length), batches.rows.map(pick));
  return {
    numTargets,
    numTrain: batches.numTrain,
    bias: floats((batch) => batch.bias, numTargets),
    lambda: floats((batch) => batch.lambda, numTargets),
    gap: floats((batch) => batch.gap, numTargets),
    status: batches.rows.flatMap((batch) => batch.status),
    rowStart,
    indices: concat(
      new Int32Array(rowStart[numTargets]!),
      batches.rows.map((batch) => batch.indices),
    ),
    weights: floats((batch) => batch.weights, rowStart[numTargets]!),
  };
}

interface Batch {
  length: number;
  bias: Float32Array;
  lambda: Float32Array;
  gap: Float32Array;
  status: FitStatus[];
  offsets: Int32Array; // (length + 1)
  indices: Int32Array;
  weights: Float32Array;
}

function openBatches(bytes: Uint8Array, what: string): { numTrain: number; rows: Batch[] } {
  const wrong = (expected: string, received: string): Error =>
    damaged('LETHE_ARROW_DAMAGED', `${what} is no datamodels file`, expected, received, 'Run lethe fit again.');
  let table;
  try {
    table = tableFromIPC(bytes);
  } catch (cause) {
    throw wrong('an Arrow IPC file', cause instanceof Error ? cause.message : String(cause));
  }
  const described = (found: readonly Field[]): string => found.map(({ name, type }) => `${name}: ${String(type)}`).join(', ');
  if (described(table.schema.fields) !== described(fields)) throw wrong(`columns ${described(fields)}`, described(table.schema.fields));
  const numTrain = Number(table.schema.metadata.get('train') ?? NaN);
  if (!Number.isSafeInteger(numTrain)) throw wrong('the number of train examples in the metadata', String(numTrain));
  const rows = table.batches
    .filter((batch) => batch.numRows > 0)
    .map((batch): Batch => {
      const length = batch.numRows;
      const floats = (name: string): Float32Array => (batch.getChild(name)!.data[0] as Data<Float32>).values.subarray(0, length);
      const indices = batch.getChild('indices')!.data[0] as Data<List<Int32>>;
      const weights = batch.getChild('weights')!.data[0] as Data<List<Float32>>;
      const status = Array.from(batch.getChild('status')! as Iterable<unknown>, String) as FitStatus[];
      const unknown = status.find((word) => !fitStatuses.includes(word));
      if (unknown !== undefined) throw wrong(`a status of ${fitStatuses.join(', ')}`, unknown);
      const offsets = (indices.valueOffsets as Int32Array).subarray(0, length + 1);
      return {
        length,
        bias: floats('bias'),
        lambda: floats('lambda'),
        gap: floats('gap'),
        status,
        offsets,
        indices: (indices.children[0] as Data<Int32>).values.subarray(offsets[0], offsets[length]),
        weights: (weights.children[0] as Data<Float32>).values.subarray(offsets[0], offsets[length]),
      };
    });
  return { numTrain, rows };
}

function concat<T extends Float32Array | Int32Array>(all: T, parts: T[]): T {
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}
