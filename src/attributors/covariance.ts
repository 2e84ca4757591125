/**
 * Weights from how outputs vary together: models that happen to do well on a train example, beyond whether they trained on it, also do well on
 * points that are like it, and these are the points that the example teaches. One product over the outputs that a run already has.
 *
 * With r_i the margin of train example i over the models without what training on i itself changes (b_i), scaled to unit variance, and y_t a
 * target without what training on its own example changes, the weight of i for t is
 * scale * sign(c) |c|^1.3 sqrt(max(b_i, 0)) sd(y_t), c = corr(r_i, y_t); examples of the target's class and others have a scale each, and so has
 * the target's own example, whose weight is the difference of means. Scales are least squares on held-out models, for all targets of a group.
 */
import { selectRows, unpackMasks } from '../data/masks.js';
import { LetheError } from '../errors.js';
import { nativeAddon } from '../native/addon.js';
import type { NativeFits } from '../native/types.js';
import type { FitOptions, PenaltyChoice } from '../types.js';
import { type AttributionSource, type Attributor, type Design, type DesignOptions, numberOf } from './attributor.js';
import { type ChunkParts, type Examples, partsOf, prepareExamples } from './covarianceParts.js';
import { addParts, parts } from './covarianceScales.js';
import { emptyFits, modelRows, refuseRowWeights, statusesOf } from './dense.js';
import { HeldOutScales, unscaled } from './heldOutScales.js';
import { fraction, seed, whole } from './options.js';
import { membersOf } from './pooled.js';
import { holdoutModels, modelsBut } from './selection.js';

export const covariance: Attributor = {
  name: 'covariance',
  title: 'covariance',
  mark: { color: '#009e73', shape: 'triangle-up' },
  description: 'correlations of each output with the margins of all train examples over the models: one product, good with few models',
  needs: () => ['subset-outputs', 'train-margins'],
  devices: ['cpu'],
  isDense: () => true,
  options: {
    keep: whole(1, 'largest weights of a target that are kept', { default: 1000 }),
    holdoutFraction: fraction('share of the models that choose the scales', { default: 0.1 }),
    seed,
  },
  rules: () => [],
  isPooled: () => true,
  describe: ({ holdoutFraction }) =>
    `covariance, scales of a kind of target by least squares on ${100 * (holdoutFraction as number)} % of the models`,
  cost: (_, numModels) => numModels / 1000,
  open: openCovariance,
};

/** Targets of a product. */
const chunkSize = 512;

function openCovariance({ masks, points }: AttributionSource, options: FitOptions, { threads = 0 }: DesignOptions): Design {
  if (!points) {
    throw new LetheError('LETHE_FIT_OPTION', 'covariance needs to know what the targets are', {
      expected: 'labels of the points, train examples first',
      received: 'masks and outputs alone',
      action: 'Give --labels FILE.',
    });
  }
  const { numModels, numTrain } = masks;
  const keep = Math.min(options['keep'] as number, numTrain);
  const heldOut = holdoutModels(numModels, {
    select: 'pooled',
    holdoutFraction: options['holdoutFraction'] as number,
    seed: options.seed,
  });
  const all = new Uint8Array(unpackMasks(masks));
  let prepared: Promise<Examples> | undefined;
  /** Of some models, or of all. */
  const examplesOf = async (models?: Int32Array): Promise<Examples> => {
    const margins = await points.trainMargins();
    if (!models) return prepareExamples(all, margins, numModels, numTrain);
    const rows = selectRows(masks, models);
    return prepareExamples(unpackMasks(rows), modelRows(margins, numTrain, models), models.length, numTrain);
  };
  return {
    numModels,
    numTrain,
    options,
    pooled: true,
    heldOut,
    chosenOn: `${heldOut.length} held-out models`,
    describeChoice: ({ scales = {} }) => parts.map((part) => `${part} ${(scales[part] ?? NaN).toPrecision(2)}`).join(', '),
    backend: `cpu-${nativeAddon().systemInfo().isa}`,
    memoryBytes: numModels * numTrain * (1 + 4 + 4) + 4 * chunkSize * (2 * numTrain + numModels),
    weightsPerTarget: keep,
    mostTargets: 4096,
    gram: () => undefined,
    async choose(sample, groups, run = {}) {
      refuseRowWeights(covariance.name, sample);
      if (heldOut.length === 0) return membersOf(sample.sample, groups).map(({ group }) => unscaled(group, parts));
      const fitted = modelsBut(heldOut, numModels);
      const scales = new HeldOutScales(parts, sample.sample, groups);
      const examples = await examplesOf(fitted);
      const block = { ...sample, outputs: modelRows(sample.outputs, sample.numTargets, fitted) };
      for (let first = 0; first < sample.numTargets; first += chunkSize) {
        const chunk = await partsOf(examples, block, range(first, Math.min(first + chunkSize, sample.numTargets)), points, {
          ...run,
          threads,
          numberOf: (k) => numberOf(sample, k),
        });
        await addParts(scales, sample, chunk, { models: heldOut, masks: all }, { ...run, threads });
      }
      return scales.choices();
    },
    async fit(block, run = {}, chosen) {
      refuseRowWeights(covariance.name, block);
      prepared ??= examplesOf();
      const examples = await prepared;
      const fits = emptyFits(statusesOf(block, numModels), keep);
      for (let first = 0; first < block.numTargets; first += chunkSize) {
        const end = Math.min(first + chunkSize, block.numTargets);
        const where = { ...run, threads, numberOf: (k: number) => numberOf(block, k) };
        fill(fits, await partsOf(examples, block, range(first, end), points, where), examples, chosen!, keep);
        run.onProgress?.({ done: end, total: block.numTargets });
      }
      return fits;
    },
  };
}

function range(first: number, end: number): Int32Array {
  return Int32Array.from({ length: end - first }, (_, k) => first + k);
}

function fill(
  fits: NativeFits,
  { targets, weights, means, own, effects, classes, labels }: ChunkParts,
  { numTrain, shares }: Examples,
  chosen: readonly PenaltyChoice[],
  keep: number,
): void {
  const width = targets.length;
  targets.forEach((target, k) => {
    const [from, end] = [fits.rowStart[target]!, fits.rowStart[target + 1]!];
    if (from === end) {
      if (!Number.isNaN(fits.bias[target]!)) fits.bias[target] = means[k]!;
      return;
    }
    const { scales = {} } = chosen[target]!;
    const row = new Float32Array(numTrain);
    for (let example = 0; example < numTrain; example++) {
      row[example] = weights[example * width + k]! * scales[labels[example] === classes[k] ? 'same class' : 'other classes']!;
    }
    if (own[k]! >= 0) row[own[k]!] = effects[k]! * scales['own']!;
    const kept = largest(row, keep);
    let bias = means[k]!;
    kept.forEach((example, position) => {
      fits.indices[from + position] = example;
      fits.weights[from + position] = row[example]!;
      bias -= row[example]! * shares[example]!;
    });
    fits.bias[target] = bias;
  });
}

/** Positions of the `count` values that are largest in magnitude, ascending; of equals the first. */
function largest(values: Float32Array, count: number): Int32Array {
  const order = Int32Array.from(values.keys());
  if (count >= values.length) return order;
  const magnitudes = values.map(Math.abs);
  const least = magnitudes.slice().sort()[values.length - count]!;
  let equals = count - magnitudes.reduce((above, value) => above + (value > least ? 1 : 0), 0);
  return order.filter((k) => magnitudes[k]! > least || (magnitudes[k] === least && equals-- > 0));
}
