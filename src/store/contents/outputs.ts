/** Shards of model outputs: one row a model, or a row a model and snapshot. */
import { LetheError } from '../../errors.js';
import type { JobStatus } from '../../types.js';
import { encodeRows, Rows, RowsReader, type Column, type RowValues } from '../formats/arrowRows.js';

/** What a shard holds; row r of every array belongs to models[r]. */
export interface ModelOutputs {
  numPoints: number;
  numClasses: number;
  models: Int32Array; // (rows)
  status: JobStatus[]; // (rows)
  /** (rows) epochs done, where models were looked at several times. */
  snapshots?: Int32Array;
  /** (rows, numParameters) */
  parameters?: Float32Array;
  /** (rows, numPoints, numClasses) */
  logits?: Float32Array;
  /** (rows, numPoints) */
  margins?: Float32Array;
  /** (rows, numPoints) class of the largest logit */
  predicted?: Uint8Array;
}

/** The same, read back: matrices are views into the file's bytes. */
export interface StoredOutputs {
  numRows: number;
  numPoints: number;
  numClasses: number;
  models: Int32Array;
  status: JobStatus[];
  snapshots?: Int32Array;
  parameters?: Rows<Float32Array>;
  logits?: Rows<Float32Array>;
  margins?: Rows<Float32Array>;
  predicted?: Rows<Uint8Array>;
}

/**
 * The bytes of a shard, in several record batches when it is large. Equal outputs give equal bytes.
 * @throws LETHE_SHAPE_MISMATCH (exit code 2)
 */
export function encodeOutputs(outputs: ModelOutputs, maxBatchBytes?: number): Uint8Array {
  const { numPoints, numClasses, models, status } = outputs;
  const rows = models.length;
  requireLength('status', status.length, rows);
  const columns: Column[] = [
    { name: 'model', values: models },
    { name: 'status', words: status },
  ];
  if (outputs.snapshots) {
    requireLength('snapshots', outputs.snapshots.length, rows);
    columns.push({ name: 'snapshot', values: outputs.snapshots });
  }
  const matrix = (name: string, values: RowValues | undefined, width: number): void => {
    if (!values) return;
    requireLength(name, values.length, rows * width);
    columns.push({ name, rows: values, width });
  };
  const numParameters = outputs.parameters && rows > 0 ? outputs.parameters.length / rows : 0;
  matrix('parameters', outputs.parameters, numParameters);
  matrix('logits', outputs.logits, numPoints * numClasses);
  matrix('margins', outputs.margins, numPoints);
  matrix('predicted', outputs.predicted, numPoints);
  const metadata = { points: String(numPoints), classes: String(numClasses), parameters: String(numParameters) };
  return encodeRows(rows, columns, metadata, maxBatchBytes);
}

/**
 * Whether row `row` is a model's and not what is left of one that diverged. The status is of the last look at a model: earlier ones may
 * have come before it diverged.
 */
export function isTrained({ models, status, margins, numRows }: StoredOutputs, row: number): boolean {
  if (status[row] === 'trained') return true;
  const last = row + 1 === numRows || models[row + 1] !== models[row];
  return !last && margins !== undefined && margins.row(row).some((margin) => Number.isFinite(margin));
}

function requireLength(name: string, received: number, expected: number): void {
  if (received === expected && Number.isInteger(expected)) return;
  throw new LetheError('LETHE_SHAPE_MISMATCH', `${name} do not fit the shard`, {
    expected: `${expected} values`,
    received: `${received} values`,
  });
}

/**
 * Opens a shard without copying its matrices. The bytes must come from RunFolder.read, which checked them.
 * @throws LETHE_ARROW_DAMAGED (exit code 3)
 */
export function readOutputs(bytes: Uint8Array, what = 'shard'): StoredOutputs {
  const reader = new RowsReader(bytes, what);
  const numPoints = reader.count('points');
  const numClasses = reader.count('classes');
  const floats = (name: string, width: number): Rows<Float32Array> => reader.rows(name, width, Float32Array);
  return {
    numRows: reader.numRows,
    numPoints,
    numClasses,
    models: reader.numbers('model'),
    status: reader.words('status') as JobStatus[],
    ...(reader.has('snapshot') ? { snapshots: reader.numbers('snapshot') } : {}),
    ...(reader.has('parameters') ? { parameters: floats('parameters', reader.count('parameters')) } : {}),
    ...(reader.has('logits') ? { logits: floats('logits', numPoints * numClasses) } : {}),
    ...(reader.has('margins') ? { margins: floats('margins', numPoints) } : {}),
    ...(reader.has('predicted') ? { predicted: reader.rows('predicted', numPoints, Uint8Array) } : {}),
  };
}
