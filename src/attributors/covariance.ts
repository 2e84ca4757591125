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
import { LetheError, requireRunning } from '../errors.js';
import { abortFlag, nativeAddon } from '../native/addon.js';
import type { NativeFits } from '../native/types.js';
import type { FitOptions, PenaltyChoice, RunOptions, TargetGroups } from '../types.js';
import type { AttributionSource, Attributor, Design, DesignBlock, DesignOptions, SampleBlock, TargetPoints } from './attributor.js';
import { emptyFits, refuseRowWeights, statusesOf } from './dense.js';
import { fraction, seed, whole } from './options.js';
import { membersOf } from './pooled.js';
import { holdoutModels } from './selection.js';

/** What weights are made of; each has a scale. */
const parts = ['own', 'same class', 'other classes'] as const;

export const covariance: Attributor = {
  name: 'covariance',
  title: 'covariance',
  mark: { color: '#009e73', shape: 'triangle-up' },
  description: 'correlations of each output with the margins of all train examples over the models: one product, good with few models',
  needs: ['subset-outputs', 'train-margins'],
  devices: ['cpu'],
  isDense: true,
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

/** Small correlations are mostly noise. Measured on CIFAR-10 (1,000 images, 900 models): flat from 1.15 to 1.5; 1 and 2 are worse. */
const power = 1.3;

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
    return prepareExamples(unpackMasks(rows), rowsOf(margins, numTrain, models), models.length, numTrain);
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
      if (heldOut.length === 0) return membersOf(sample.sample, groups).map(({ group }) => unscaled(group));
      const out = new Set(heldOut);
      const fitted = Int32Array.from({ length: numModels }, (_, model) => model).filter((model) => !out.has(model));
      const scores = new ScaleChoice(sample, groups, heldOut, all);
      const examples = await examplesOf(fitted);
      const block = { ...sample, outputs: rowsOf(sample.outputs, sample.numTargets, fitted) };
      for (let first = 0; first < sample.numTargets; first += chunkSize) {
        const chunk = await partsOf(examples, block, range(first, Math.min(first + chunkSize, sample.numTargets)), points, {
          ...run,
          threads,
          numberOf: (k) => sample.sample[k]!,
        });
        await scores.add(chunk, { ...run, threads });
      }
      return scores.choices();
    },
    async fit(block, run = {}, chosen) {
      refuseRowWeights(covariance.name, block);
      prepared ??= examplesOf();
      const examples = await prepared;
      const fits = emptyFits(statusesOf(block, numModels), keep);
      for (let first = 0; first < block.numTargets; first += chunkSize) {
        const end = Math.min(first + chunkSize, block.numTargets);
        const where = { ...run, threads, numberOf: (k: number) => (block.first ?? 0) + k };
        fill(fits, await partsOf(examples, block, range(first, end), points, where), examples, chosen!, keep);
        run.onProgress?.({ done: end, total: block.numTargets });
      }
      return fits;
    },
  };
}

function unscaled(group: string): PenaltyChoice {
  const scales = Object.fromEntries(parts.map((part) => [part, 0]));
  return { group, scales, criterion: 'error', numSampled: 0, error: 1 };
}

function range(first: number, end: number): Int32Array {
  return Int32Array.from({ length: end - first }, (_, k) => first + k);
}

/** (models.length, columns) */
function rowsOf(values: Float32Array, columns: number, models: Int32Array): Float32Array {
  const rows = new Float32Array(models.length * columns);
  models.forEach((model, k) => {
    rows.set(values.subarray(model * columns, (model + 1) * columns), k * columns);
  });
  return rows;
}

// ---- train examples

interface Examples {
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

function prepareExamples(masks: Uint8Array, margins: Float32Array, numModels: number, numTrain: number): Examples {
  const shares = new Float64Array(numTrain);
  for (let at = 0; at < masks.length; at++) shares[at % numTrain]! += masks[at]! / numModels;
  const residuals = new Float32Array(margins.length);
  const strengths = new Float64Array(numTrain);
  for (let example = 0; example < numTrain; example++) {
    const column = Float64Array.from({ length: numModels }, (_, model) => margins[model * numTrain + example]!);
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
interface ChunkParts {
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

async function partsOf(
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
    isa: '' as const,
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

// ---- the choice of scales

/** Least squares of held-out outputs on the predictions of each part, every target in units of its deviation. */
class ScaleChoice {
  /** (parts + output, parts + output) of each group */
  private readonly products: Float64Array[];
  private readonly counts: Int32Array;
  private readonly groupOf: Int32Array;
  private readonly names: string[];

  constructor(
    private readonly sample: SampleBlock,
    groups: TargetGroups | undefined,
    private readonly heldOut: Int32Array,
    private readonly masks: Uint8Array,
  ) {
    const members = membersOf(sample.sample, groups);
    this.names = members.map(({ group }) => group);
    this.products = members.map(() => new Float64Array((parts.length + 1) ** 2));
    this.counts = new Int32Array(members.length);
    this.groupOf = new Int32Array(sample.numTargets);
    members.forEach(({ members: positions }, group) => {
      for (const k of positions) this.groupOf[k] = group;
    });
  }

  async add({ targets, weights, deviations, means, own, effects, classes, labels }: ChunkParts, run: RunOptions): Promise<void> {
    const numTrain = labels.length;
    const width = targets.length;
    const transposed = new Float32Array(numTrain * this.heldOut.length); // (numTrain, held out)
    this.heldOut.forEach((model, row) => {
      for (let example = 0; example < numTrain; example++) {
        transposed[example * this.heldOut.length + row] = this.masks[model * numTrain + example]!;
      }
    });
    const predict = async (isSame: boolean): Promise<Float32Array> => {
      const own_ = weights.map((weight, at) => ((labels[Math.floor(at / width)] === classes[at % width]) === isSame ? weight : 0));
      const product = new Float32Array(this.heldOut.length * width);
      const request = { a: transposed, b: own_, rows: numTrain, aColumns: this.heldOut.length, bColumns: width, isa: '' as const, product };
      await nativeAddon().crossProduct({ ...request, threads: run.threads ?? 0 }, undefined, abortFlag(run.signal));
      return product;
    };
    const [same, other] = [await predict(true), await predict(false)];
    targets.forEach((target, k) => {
      const column = (values: Float32Array): Float64Array => centred(Float64Array.from(this.heldOut, (_, row) => values[row * width + k]!));
      const actual = Float64Array.from(this.heldOut, (model) => this.sample.outputs[model * this.sample.numTargets + target]! - means[k]!);
      const example = own[k]!;
      const ownPart = Float64Array.from(this.heldOut, (model) => (example < 0 ? 0 : this.masks[model * numTrain + example]! * effects[k]!));
      const terms = [centred(ownPart), column(same), column(other), centred(actual)];
      if (!(deviations[k]! > 0) || !terms.every((values) => values.every(Number.isFinite))) return;
      const group = this.groupOf[target]!;
      this.counts[group]!++;
      const product = this.products[group]!;
      terms.forEach((a, i) => {
        terms.forEach((b, j) => {
          product[i * terms.length + j]! += a.reduce((sum, value, row) => sum + value * b[row]!, 0) / deviations[k]! ** 2;
        });
      });
    });
  }

  choices(): PenaltyChoice[] {
    return this.names.map((group, index) => {
      const product = this.products[index]!;
      const size = parts.length + 1;
      const total = product[size * size - 1]!;
      if (!(total > 0)) return unscaled(group);
      const scales = nonNegative(product, size);
      const error = scales.reduce(
        (sum, a, i) =>
          sum - 2 * a * product[i * size + size - 1]! + scales.reduce((inner, b, j) => inner + a * b * product[i * size + j]!, 0),
        total,
      );
      return {
        group,
        scales: Object.fromEntries(parts.map((part, i) => [part, scales[i]!])),
        criterion: 'error',
        numSampled: this.counts[index]!,
        error: error / total,
      };
    });
  }
}

function centred(values: Float64Array): Float64Array {
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
  return values.map((value) => value - mean);
}

/** Least squares with no factor below 0, by coordinate descent on the normal equations: the last row and column are of the outputs. */
function nonNegative(product: Float64Array, size: number): number[] {
  const factors = Array<number>(size - 1).fill(0);
  for (let sweep = 0; sweep < 1000; sweep++) {
    factors.forEach((_, i) => {
      const square = product[i * size + i]!;
      if (!(square > 0)) return;
      const others = factors.reduce((sum, b, j) => sum + (i === j ? 0 : b * product[i * size + j]!), 0);
      factors[i] = Math.max(0, (product[i * size + size - 1]! - others) / square);
    });
  }
  return factors;
}
