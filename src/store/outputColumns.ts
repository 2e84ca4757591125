/** Columns of model outputs across shards: what a block of targets needs, without holding everything. */
import { layout } from './layout.js';
import { readOutputs } from './outputs.js';
import type { RunFolder } from './run.js';

/**
 * Columns [first, end), or those of a list, of the subset models' logits (points * classes columns) or margins (points columns), all
 * shards stacked in order. Returns (models, columns) row-major.
 */
export async function readOutputColumns(
  run: RunFolder,
  shards: readonly number[],
  field: 'logits' | 'margins',
  columns: { first: number; end: number } | Int32Array,
): Promise<Float32Array> {
  const width = 'first' in columns ? columns.end - columns.first : columns.length;
  const parts: Float32Array[] = [];
  for (const shard of shards) {
    const path = layout.subsetOutputs(shard);
    const outputs = readOutputs(await run.read(path), path);
    const part = new Float32Array(outputs.numRows * width);
    for (let row = 0; row < outputs.numRows; row++) {
      const values = outputs[field]!.row(row);
      if ('first' in columns) part.set(values.subarray(columns.first, columns.end), row * width);
      else columns.forEach((column, k) => (part[row * width + k] = values[column]!));
    }
    parts.push(part);
  }
  const all = new Float32Array(parts.reduce((length, part) => length + part.length, 0));
  let offset = 0;
  for (const part of parts) {
    all.set(part, offset);
    offset += part.length;
  }
  return all;
}
