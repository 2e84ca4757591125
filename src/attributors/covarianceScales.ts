/** The scales of covariance: least squares on held-out models, for all targets of a group. */
import { abortFlag, nativeAddon } from '../native/addon.js';
import type { PenaltyChoice, RunOptions, TargetGroups } from '../types.js';
import type { SampleBlock } from './attributor.js';
import type { ChunkParts } from './covarianceParts.js';
import { membersOf } from './pooled.js';

/** What weights are made of; each has a scale. */
export const parts = ['own', 'same class', 'other classes'] as const;

export function unscaled(group: string): PenaltyChoice {
  const scales = Object.fromEntries(parts.map((part) => [part, 0]));
  return { group, scales, criterion: 'error', numSampled: 0, error: 1 };
}

/** Least squares of held-out outputs on the predictions of each part, every target in units of its deviation. */
export class ScaleChoice {
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
