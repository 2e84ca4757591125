/** Datamodels out of the columns of an Arrow file, by their names; rows are checked before anything believes them. */
import type { LetheError } from '../../errors.js';
import { fitStatuses, type Datamodels, type FitStatus } from '../../types.js';
import { columnAt, float32Values, int32Values, lists, metadataCount, words } from '../formats/arrowColumns.js';
import { type ArrowBatch, unsupported } from '../formats/arrowFile.js';
import type { ArrowSchema } from '../formats/arrowSchema.js';
import { damaged } from '../disk/files.js';

/** Rows as they lie in a file. */
export interface StoredRows {
  datamodels: Datamodels;
  /** (numTargets) which target a row is of. */
  targets: Int32Array;
}

/** For a file whose metadata another program has dropped. */
export interface LostMetadata {
  /** To be taken in place of the number that stood there. */
  numTrain: number;
  /** Takes one line for people about it. */
  note: (line: string) => void;
}

const needed = ['target', 'bias', 'lambda', 'gap', 'status', 'indices', 'weights'] as const;
const countColumn = 'numNonzero';

/** Reads record batches of one file. Columns may stand in any order, among others. */
export class DatamodelColumns {
  readonly numTrain: number;
  private readonly places: Map<string, number>;

  /** @throws LETHE_ARROW_UNSUPPORTED (exit code 3) */
  constructor(
    schema: ArrowSchema,
    private readonly what: string,
    lost?: LostMetadata,
  ) {
    const given = schema.fields.some(({ name }) => name === countColumn) ? [...needed, countColumn] : needed;
    this.places = new Map(given.map((name) => [name, columnAt(schema, name, what)]));
    const train = metadataCount(schema, 'train', what);
    const missing = 'metadata "train", the number of train examples';
    if (train === undefined) {
      if (!lost) throw unsupported(what, { expected: missing, received: 'none of that name' });
      lost.note(`${what} has lost its ${missing}: ${lost.numTrain} is taken`);
    }
    this.numTrain = train ?? lost!.numTrain;
  }

  /** @throws LETHE_ARROW_DAMAGED, LETHE_ARROW_UNSUPPORTED, LETHE_DATAMODELS_INVALID (exit code 3) */
  rows(batch: ArrowBatch): StoredRows {
    const column = (name: string) => batch.columns[this.places.get(name)!]!;
    const floats = (name: (typeof needed)[number]): Float32Array => float32Values(column(name), this.what);
    const [indices, weights] = [lists(column('indices'), this.what), lists(column('weights'), this.what)];
    const [first, last] = [indices.starts[0]!, indices.starts[batch.numRows]!];
    const [firstWeight, lastWeight] = [weights.starts[0]!, weights.starts[batch.numRows]!];
    const datamodels = {
      numTargets: batch.numRows,
      numTrain: this.numTrain,
      bias: floats('bias'),
      lambda: floats('lambda'),
      gap: floats('gap'),
      status: words(column('status'), this.what) as FitStatus[],
      rowStart: indices.starts.map((start) => start - first),
      indices: int32Values(indices.items, this.what).subarray(first, last),
      weights: float32Values(weights.items, this.what).subarray(firstWeight, lastWeight),
    };
    const counts = this.places.has(countColumn) ? int32Values(column(countColumn), this.what) : undefined;
    const rows = { datamodels, targets: int32Values(column('target'), this.what) };
    for (let row = 0; row < batch.numRows; row++) {
      const length = weights.starts[row + 1]! - weights.starts[row]!;
      this.check(rows, row, length, counts?.[row] ?? length);
    }
    return rows;
  }

  /** `numWeights`, `numNonzero`: of the row, by two other columns. */
  private check({ datamodels, targets }: StoredRows, row: number, numWeights: number, numNonzero: number): void {
    const { status, bias, lambda, gap, rowStart, indices, weights, numTrain } = datamodels;
    const target = targets[row]!;
    const word = status[row]!;
    if (!fitStatuses.includes(word)) throw this.invalid(target, `a status of ${fitStatuses.join(', ')}`, JSON.stringify(word));
    const [from, to] = [rowStart[row]!, rowStart[row + 1]!];
    if (to - from !== numWeights || numNonzero !== numWeights) {
      throw this.invalid(target, 'as many weights as indices', `${numWeights} weights, ${to - from} indices, ${countColumn} ${numNonzero}`);
    }
    for (let k = from; k < to; k++) {
      const [index, before] = [indices[k]!, k === from ? -1 : indices[k - 1]!];
      if (index <= before || index >= numTrain) {
        throw this.invalid(target, `ascending indices below ${numTrain}`, before < 0 ? String(index) : `${index} after ${before}`);
      }
    }
    const finite = [bias[row]!, lambda[row]!, gap[row]!].every(Number.isFinite) && weights.subarray(from, to).every(Number.isFinite);
    if (!finite && word !== 'nonfinite') throw this.invalid(target, `finite numbers, as its status is ${word}`, 'NaN or infinity');
  }

  private invalid(target: number, expected: string, received: string): LetheError {
    return invalidRows(this.what, `target ${target}`, expected, received);
  }
}

export function invalidRows(what: string, part: string, expected: string, received: string): LetheError {
  const action = 'Is it a file of lethe fit, as it was written? Copy it again.';
  return damaged('LETHE_DATAMODELS_INVALID', `${what}: ${part} contradicts itself`, expected, received, action);
}
