/** What the parts of covariance predict for held-out models. */
import { abortFlag, nativeAddon } from '../native/addon.js';
import type { RunOptions } from '../types.js';
import type { SampleBlock } from './attributor.js';
import type { ChunkParts } from './covarianceParts.js';
import type { HeldOutScales } from './heldOutScales.js';

/** What weights are made of; each has a scale. */
export const parts = ['own', 'same class', 'other classes'] as const;

interface HeldOut {
  models: Int32Array;
  /** (all models, train examples) 0 or 1 */
  masks: Uint8Array;
}

/** Adds the targets of a chunk. */
export async function addParts(
  scales: HeldOutScales,
  sample: SampleBlock,
  { targets, weights, deviations, means, own, effects, classes, labels }: ChunkParts,
  { models, masks }: HeldOut,
  { threads = 0, signal }: RunOptions,
): Promise<void> {
  const numTrain = labels.length;
  const width = targets.length;
  const transposed = new Float32Array(numTrain * models.length); // (numTrain, held out)
  models.forEach((model, row) => {
    for (let example = 0; example < numTrain; example++) transposed[example * models.length + row] = masks[model * numTrain + example]!;
  });
  const predict = async (isSame: boolean): Promise<Float32Array> => {
    const part = weights.map((weight, at) => ((labels[Math.floor(at / width)] === classes[at % width]) === isSame ? weight : 0));
    const product = new Float32Array(models.length * width);
    const request = { a: transposed, b: part, rows: numTrain, aColumns: models.length, bColumns: width, isa: '', product };
    await nativeAddon().crossProduct({ ...request, threads }, undefined, abortFlag(signal));
    return product;
  };
  const [same, other] = [await predict(true), await predict(false)];
  targets.forEach((target, k) => {
    const column = (values: Float32Array): Float64Array => Float64Array.from(models, (_, row) => values[row * width + k]!);
    const actual = Float64Array.from(models, (model) => sample.outputs[model * sample.numTargets + target]! - means[k]!);
    const example = own[k]!;
    const ownPart = Float64Array.from(models, (model) => (example < 0 ? 0 : masks[model * numTrain + example]! * effects[k]!));
    scales.add(target, [ownPart, column(same), column(other)], actual, deviations[k]!);
  });
}
