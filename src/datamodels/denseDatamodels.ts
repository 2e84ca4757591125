/** Datamodels as dense NumPy arrays. */
import path from 'node:path';
import { requireRunning } from '../errors.js';
import { writeNpy, writeNpyParts } from '../store/formats/npy.js';
import type { Datamodels } from '../types.js';
import { denseWeights } from './fit.js';

const partBytes = 2 ** 24;

export interface DenseDatamodels {
  /** In the order of their targets. */
  batches: AsyncIterable<Datamodels>;
  numTargets: number;
  numTrain: number;
  signal?: AbortSignal | undefined;
}

/**
 * Writes weights.npy (targets, train examples), bias.npy, lambda.npy and gap.npy (targets) into a folder, a few rows in memory at a time.
 * @throws LETHE_DISK_FULL (exit code 4), LETHE_TASK_ABORTED (75)
 */
export async function writeDenseDatamodels(folder: string, { batches, numTargets, numTrain, signal }: DenseDatamodels): Promise<void> {
  const columns = { bias: new Float32Array(numTargets), lambda: new Float32Array(numTargets), gap: new Float32Array(numTargets) };
  async function* rows(): AsyncGenerator<Float32Array> {
    const step = Math.max(1, Math.floor(partBytes / (4 * numTrain)));
    let at = 0;
    for await (const batch of batches) {
      for (const name of ['bias', 'lambda', 'gap'] as const) columns[name].set(batch[name], at);
      at += batch.numTargets;
      for (let first = 0; first < batch.numTargets; first += step) {
        requireRunning(signal);
        yield denseWeights(batch, first, Math.min(first + step, batch.numTargets));
      }
    }
  }
  await writeNpyParts(path.join(folder, 'weights.npy'), [numTargets, numTrain], rows());
  for (const [name, values] of Object.entries(columns)) await writeNpy(path.join(folder, `${name}.npy`), [numTargets], values);
}
