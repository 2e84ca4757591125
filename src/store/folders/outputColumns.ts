/** Columns of model outputs across shards: what a block of targets needs, without holding everything. */
import { nativeFloats } from '../../native/memory.js';
import { layout } from './layout.js';
import { isTrained, readOutputs } from '../contents/outputs.js';
import type { RunFolder } from './run.js';

export interface OutputColumns {
  /** (trained.length, columns) row-major */
  values: Float32Array;
  /** Positions of the models that trained among those of all shards, ascending: a diverged one has no outputs. */
  trained: Int32Array;
  /** Trained and diverged. */
  numModels: number;
}

/**
 * Columns [first, end), or those of a list, of the logits (points * classes columns) or margins (points columns) of the subset models
 * that trained, all shards stacked in order.
 */
export async function readOutputColumns(
  run: RunFolder,
  shards: readonly number[],
  field: 'logits' | 'margins',
  columns: { first: number; end: number } | Int32Array,
): Promise<OutputColumns> {
  const width = 'first' in columns ? columns.end - columns.first : columns.length;
  const parts: Float32Array[] = [];
  const trained: number[] = [];
  let numModels = 0;
  for (const shard of shards) {
    const path = layout.subsetOutputs(shard);
    const outputs = readOutputs(await run.read(path), path);
    const rows = Array.from({ length: outputs.numRows }, (_, row) => row).filter((row) => isTrained(outputs, row));
    const part = new Float32Array(rows.length * width);
    rows.forEach((row, k) => {
      const values = outputs[field]!.row(row);
      if ('first' in columns) part.set(values.subarray(columns.first, columns.end), k * width);
      else columns.forEach((column, at) => (part[k * width + at] = values[column]!));
      trained.push(numModels + row);
    });
    parts.push(part);
    numModels += outputs.numRows;
  }
  const all = nativeFloats(parts.reduce((length, part) => length + part.length, 0));
  let offset = 0;
  for (const part of parts) {
    all.set(part, offset);
    offset += part.length;
  }
  return { values: all, trained: Int32Array.from(trained), numModels };
}
