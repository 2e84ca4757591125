/** Cutting and joining datamodels by targets. */
import { concatenate } from '../../native/concatenate.js';
import type { Datamodels } from '../../types.js';

/** Datamodels of targets [firstTarget, firstTarget + numTargets). */
export interface TargetRows extends Datamodels {
  firstTarget: number;
}

/** Targets [first, end): views but for the row starts. */
export function sliceTargets(datamodels: Datamodels, first: number, end: number): Datamodels {
  const { numTrain, bias, lambda, gap, status, rowStart, indices, weights } = datamodels;
  const from = rowStart[first]!;
  const to = rowStart[end]!;
  return {
    numTargets: end - first,
    numTrain,
    bias: bias.subarray(first, end),
    lambda: lambda.subarray(first, end),
    gap: gap.subarray(first, end),
    status: status.slice(first, end),
    rowStart: rowStart.slice(first, end + 1).map((start) => start - from),
    indices: indices.subarray(from, to),
    weights: weights.subarray(from, to),
  };
}

/** Parts that follow each other as one; a single part is given back itself. */
export function joinTargets(numTrain: number, parts: readonly Datamodels[]): Datamodels {
  if (parts.length === 1) return parts[0]!;
  const numTargets = parts.reduce((sum, part) => sum + part.numTargets, 0);
  const rowStart = new Float64Array(numTargets + 1);
  let row = 0;
  for (const part of parts) {
    const offset = rowStart[row]!;
    for (let k = 1; k <= part.numTargets; k++) rowStart[++row] = offset + part.rowStart[k]!;
  }
  const floats = (pick: (part: Datamodels) => Float32Array): Float32Array => concatenate(Float32Array, parts.map(pick));
  return {
    numTargets,
    numTrain,
    bias: floats((part) => part.bias),
    lambda: floats((part) => part.lambda),
    gap: floats((part) => part.gap),
    status: parts.flatMap((part) => part.status),
    rowStart,
    indices: concatenate(
      Int32Array,
      parts.map((part) => part.indices),
    ),
    weights: floats((part) => part.weights),
  };
}

export interface BatchCutter {
  /** Batches that are complete with this part. */
  add(part: Datamodels): Generator<TargetRows>;
  /** The last one. */
  finish(): Generator<TargetRows>;
}

/** Batches of at most `maxBytes` (8 a weight, 40 a target) and at least one target: the same ones wherever the parts were cut. */
export function cutBatches(maxBytes: number): BatchCutter {
  let pending: Datamodels[] = [];
  let bytes = 0;
  let firstTarget = 0;
  function take(): TargetRows {
    const joined = joinTargets(pending[0]!.numTrain, pending);
    const batch = { ...joined, firstTarget };
    firstTarget += joined.numTargets;
    pending = [];
    bytes = 0;
    return batch;
  }
  return {
    *add(part) {
      let from = 0;
      for (let target = 0; target < part.numTargets; target++) {
        const weights = part.rowStart[target + 1]! - part.rowStart[target]!;
        if (bytes > 0 && bytes + 8 * weights + 40 > maxBytes) {
          if (target > from) pending.push(sliceTargets(part, from, target));
          from = target;
          yield take();
        }
        bytes += 8 * weights + 40;
      }
      if (part.numTargets > from) pending.push(sliceTargets(part, from, part.numTargets));
    },
    *finish() {
      if (pending.length > 0) yield take();
    },
  };
}
