/** Margins of logits by the addon: what every stage that produces outputs stores beside them. */
import type { RunOptions } from '../types.js';
import { abortFlag, nativeAddon } from './addon.js';

export interface MarginsInput {
  /** (models, points, numClasses) */
  logits: Float32Array;
  /** (points) */
  labels: Int32Array;
  numClasses: number;
}

/**
 * margins (models, points): z_y - logsumexp_{j != y} z_j; predicted (models, points): class of the largest logit, 255 where one is NaN.
 * @throws LETHE_ARGUMENT_INVALID, LETHE_TASK_ABORTED
 */
export async function nativeMargins(
  { logits, labels, numClasses }: MarginsInput,
  { threads = 0, signal }: RunOptions = {},
): Promise<{ margins: Float32Array; predicted: Uint8Array }> {
  const numPoints = labels.length;
  const numModels = logits.length / (numPoints * numClasses);
  const margins = new Float32Array(numModels * numPoints);
  const predicted = new Uint8Array(numModels * numPoints);
  await nativeAddon().margins({ logits, labels, numModels, numPoints, numClasses, threads, margins, predicted }, undefined, abortFlag(signal));
  return { margins, predicted };
}
