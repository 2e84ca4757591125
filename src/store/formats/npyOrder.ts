/** Column-major arrays: the first index runs fastest in the file, the last one in ours. */
import type { NpyValues } from './npyValues.js';

/** Where column `column` (all indices but the first, the last running fastest) lies among the columns of a column-major file. */
export function storedColumn(shape: readonly number[], column: number): number {
  let stored = 0;
  let left = column;
  let stride = shape.slice(1).reduce((product, size) => product * size, 1);
  for (let dimension = shape.length - 1; dimension >= 1; dimension--) {
    const size = shape[dimension]!;
    stride /= size;
    stored += (left % size) * stride;
    left = Math.floor(left / size);
  }
  return stored;
}

/** (columns, rows) from (rows, columns); tiles keep both sides in the cache. `sourceRow`: where a row lies, if not in order. */
export function transpose(values: NpyValues, rows: number, columns: number, sourceRow = (row: number): number => row): NpyValues {
  const result = new (values.constructor as new (length: number) => NpyValues)(values.length);
  const tile = 64;
  for (let top = 0; top < rows; top += tile) {
    const starts = Array.from({ length: Math.min(tile, rows - top) }, (_, k) => sourceRow(top + k) * columns);
    for (let column = 0; column < columns; column++) {
      for (let k = 0; k < starts.length; k++) result[column * rows + top + k] = values[starts[k]! + column]!;
    }
  }
  return result;
}

/** The same array, row-major, from all values of a column-major file. */
export function toRowMajor(values: NpyValues, shape: readonly number[]): NpyValues {
  const rows = shape[0]!;
  return transpose(values, values.length / rows, rows, (column) => storedColumn(shape, column));
}
