/** What attributors share whose weights are computed for many targets at once, by examples. */
import { requireRunning, LetheError } from '../errors.js';
import type { NativeFits } from '../native/types.js';
import { type FitStatus, fitStatuses, type Masks } from '../types.js';
import type { DesignBlock } from './attributor.js';

/** @throws LETHE_FIT_OPTION (exit code 2) */
export function refuseRowWeights(name: string, { rowWeights }: DesignBlock): void {
  if (rowWeights === undefined) return;
  throw new LetheError('LETHE_FIT_OPTION', `${name} takes no row weights`, {
    expected: 'the same models for all targets',
    received: 'models that count differently for some of them',
    action: 'Leave the models out of masks and outputs, or use another estimator.',
  });
}

/** Lets others work. @throws LETHE_TASK_ABORTED (exit code 75) */
export async function tick(signal: AbortSignal | undefined): Promise<void> {
  await new Promise((resolve) => setImmediate(resolve));
  requireRunning(signal);
}

/** (numTrain) share of the models that are trained on each example */
export function meanMask(rows: readonly Int32Array[], { numModels, numTrain }: Masks): Float64Array {
  const shares = new Float64Array(numTrain);
  for (const row of rows) for (const example of row) shares[example]! += 1 / numModels;
  return shares;
}

/** (numModels, chunk) outputs less their means; float64 */
export function centre(
  { outputs, numTargets }: DesignBlock,
  numModels: number,
  chunk: readonly number[],
): { centred: Float64Array; means: Float64Array } {
  const width = chunk.length;
  const centred = new Float64Array(numModels * width);
  const means = new Float64Array(width);
  for (let model = 0; model < numModels; model++) {
    for (let k = 0; k < width; k++) means[k]! += (centred[model * width + k] = outputs[model * numTargets + chunk[k]!]!) / numModels;
  }
  for (let at = 0; at < centred.length; at++) centred[at]! -= means[at % width]!;
  return { centred, means };
}

/** A sum of equal values divided by their number need not be that value: what does not vary is found by looking. */
export function varies(values: Float64Array): boolean {
  return values.some((value) => value !== values[0]);
}

/** (models.length, columns) */
export function modelRows(values: Float32Array, columns: number, models: Int32Array): Float32Array {
  const rows = new Float32Array(models.length * columns);
  models.forEach((model, k) => {
    rows.set(values.subarray(model * columns, (model + 1) * columns), k * columns);
  });
  return rows;
}

/** (numTargets) */
export function statusesOf({ outputs, numTargets }: DesignBlock, numModels: number): FitStatus[] {
  return Array.from({ length: numTargets }, (_, target) => {
    let constant = true;
    for (let model = 0; model < numModels; model++) {
      const value = outputs[model * numTargets + target]!;
      if (!Number.isFinite(value)) return 'nonfinite';
      constant &&= value === outputs[target];
    }
    return constant ? 'constant' : 'converged';
  });
}

/** As many weights for each target as there is something to fit; a closed form has no gap. Indices are 0, 1, ... */
export function emptyFits(statuses: readonly FitStatus[], weightsPerTarget: number): NativeFits {
  const rowStart = new Float64Array(statuses.length + 1);
  statuses.forEach((status, target) => (rowStart[target + 1] = rowStart[target]! + (status === 'converged' ? weightsPerTarget : 0)));
  const weights = new Float32Array(rowStart.at(-1)!);
  const indices = new Int32Array(weights.length);
  for (let k = 0; k < indices.length; k++) indices[k] = k % weightsPerTarget;
  const numbers = (): Float32Array => Float32Array.from(statuses, (status) => (status === 'nonfinite' ? NaN : 0));
  const status = Uint8Array.from(statuses, (each) => fitStatuses.indexOf(each));
  return { status, bias: numbers(), lambda: numbers(), gap: numbers(), rowStart, indices, weights };
}
