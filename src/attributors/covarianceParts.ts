/** What the weights of covariance are made of, before they are scaled: what training on an example changes, and correlations beyond it. */
import { requireRunning } from '../errors.js';
import { abortFlag, nativeAddon } from '../native/addon.js';
import type { RunOptions } from '../types.js';
import type { DesignBlock, TargetPoints } from './attributor.js';
import { varies } from './dense.js';

/** Small correlations are mostly noise. Measured on CIFAR-10 (1,000 images, 900 models): flat from 1.15 to 1.5; 1 and 2 are worse. */
const power = 1.3;

// ---- train examples

export interface Examples {
  numModels: number;
  numTrain: number;
  /** (numModels, numTrain) 0 or 1 */
  masks: Uint8Array;
  /** (numTrain) share of the models that are trained on each */
  shares: Float64Array;
  /** (numModels, numTrain) margins without what training on the example changes, mean 0 and variance 1; 0 where they do not vary or are not finite. */
  residuals: Float32Array;
  /** (numTrain) root of what training on an example adds to its own margin */
  strengths: Float64Array;
}

export function prepareExamples(masks: Uint8Array, margins: Float32Array, numModels: number, numTrain: number): Examples {
  const shares = new Float64Array(numTrain);
  for (let at = 0; at < masks.length; at++) shares[at % numTrain]! += masks[at]! / numModels;
  const residuals = new Float32Array(margins.length);
  const strengths = new Float64Array(numTrain);
  for (let example = 0; example < numTrain; example++) {
    const column = Float64Array.from({ length: numModels }, (_, model) => margins[model * numTrain + example]!);
    if (!varies(column)) continue;
    const effect = removeEffect(column, masks, numTrain, example, shares[example]!);
    const deviation = Math.sqrt(column.reduce((sum, value) => sum + value ** 2, 0) / numModels);
    if (!(deviation > 0)) continue;
    strengths[example] = Math.sqrt(Math.max(effect, 0));
    for (let model = 0; model < numModels; model++) residuals[model * numTrain + example] = column[model]! / deviation;
  }
  return { numModels, numTrain, masks, shares, residuals, strengths };
}

/** Takes the mean and the difference of means off a column of outputs, in place; the difference. */
function removeEffect(column: Float64Array, masks: Uint8Array, numTrain: number, example: number, share: number): number {
  const mean = column.reduce((sum, value) => sum + value, 0) / column.length;
  let [product, square] = [0, 0];
  const centred = (model: number): number => masks[model * numTrain + example]! - share;
  column.forEach((value, model) => {
    product += centred(model) * (value - mean);
    square += centred(model) ** 2;
  });
  const effect = square > 0 ? product / square : 0;
  column.forEach((value, model) => (column[model] = value - mean - effect * centred(model)));
  return effect;
}

// ---- targets

/** Weights of some targets before they are scaled. */
export interface ChunkParts {
  /** Positions in the block. */
  targets: Int32Array;
  /** (numTrain, targets) of all examples but the own one */
  weights: Float32Array;
  /** (targets) */
  deviations: Float64Array;
  means: Float64Array;
  /** (targets) the own example, or -1; and what training on it changes */
  own: Int32Array;
  effects: Float64Array;
  /** (targets) */
  classes: Int32Array;
  /** (numTrain) */
  labels: Int32Array;
}

interface PartsOptions extends RunOptions {
  threads: number;
  /** Of a position in the block. */
  numberOf: (k: number) => number;
}

export async function partsOf(
  { numModels, numTrain, masks, shares, residuals, strengths }: Examples,
  { outputs, numTargets }: DesignBlock,
  targets: Int32Array,
  { labels, targetsPerPoint }: TargetPoints,
  { numberOf, threads, signal }: PartsOptions,
): Promise<ChunkParts> {
  requireRunning(signal);
  const width = targets.length;
  const rest = new Float32Array(numModels * width);
  const [deviations, means, effects] = [new Float64Array(width), new Float64Array(width), new Float64Array(width)];
  const [own, classes] = [new Int32Array(width).fill(-1), new Int32Array(width)];
  targets.forEach((target, k) => {
    const number = numberOf(target);
    const point = Math.floor(number / targetsPerPoint);
    classes[k] = targetsPerPoint === 1 ? labels[point]! : number % targetsPerPoint;
    if (point < numTrain) own[k] = point;
    const column = Float64Array.from({ length: numModels }, (_, model) => outputs[model * numTargets + target]!);
    means[k] = column.reduce((sum, value) => sum + value, 0) / numModels;
    if (!varies(column)) return;
    if (point < numTrain) effects[k] = removeEffect(column, masks, numTrain, point, shares[point]!);
    else column.forEach((value, model) => (column[model] = value - means[k]!));
    const deviation = Math.sqrt(column.reduce((sum, value) => sum + value ** 2, 0) / numModels);
    deviations[k] = deviation;
    if (deviation > 0) for (let model = 0; model < numModels; model++) rest[model * width + k] = column[model]! / deviation;
  });
  const weights = new Float32Array(numTrain * width);
  const request = {
    a: residuals,
    b: rest,
    rows: numModels,
    aColumns: numTrain,
    bColumns: width,
    threads,
    isa: '',
    product: weights,
  };
  await nativeAddon().crossProduct(request, undefined, abortFlag(signal));
  for (let example = 0; example < numTrain; example++) {
    const strength = strengths[example]!;
    for (let k = 0; k < width; k++) {
      const at = example * width + k;
      const correlation = weights[at]! / numModels;
      weights[at] = own[k] === example ? 0 : Math.sign(correlation) * Math.abs(correlation) ** power * strength * deviations[k]!;
    }
  }
  return { targets, weights, deviations, means, own, effects, classes, labels: labels.subarray(0, numTrain) };
}
