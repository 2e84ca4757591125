/** Columns of model outputs across shards: what a block of targets needs, without holding everything. */
import { nativeFloats } from '../native/memory.js';
import { layout } from './layout.js';
import { readOutputs } from './outputs.js';
import type { RunFolder } from './run.js';

/**
 * Columns [first, end) of the subset models' logits (points * classes columns) or margins (points columns), all shards stacked in order.
 * Returns (models, end - first) row-major.
 */
export async function readOutputColumns(
  run: RunFolder,
  shards: readonly number[],
  field: 'logits' | 'margins',
  first: number,
  end: number,
): Promise<Float32Array> {
  const width = end - first;
  const parts: Float32Array[] = [];
  for (const shard of shards) {
    const path = layout.subsetOutputs(shard);
    const outputs = readOutputs(await run.read(path), path);
    const part = new Float32Array(outputs.numRows * width);
    for (let row = 0; row < outputs.numRows; row++) part.set(outputs[field]!.row(row).subarray(first, end), row * width);
    parts.push(part);
  }
  const all = nativeFloats(parts.reduce((length, part) => length + part.length, 0));
  let offset = 0;
  for (const part of parts) {
    all.set(part, offset);
    offset += part.length;
  }
  return all;
}
