/** Factors of what a prediction is made of: least squares on held-out models, for all targets of a group together. */
import type { PenaltyChoice, TargetGroups } from '../types.js';
import { membersOf } from './pooled.js';

export function unscaled(group: string, parts: readonly string[]): PenaltyChoice {
  return { group, scales: Object.fromEntries(parts.map((part) => [part, 0])), criterion: 'error', numSampled: 0, error: 1 };
}

/** Every target counts in units of its deviation. */
export class HeldOutScales {
  /** (parts + output, parts + output) of each group */
  private readonly products: Float64Array[];
  private readonly counts: Int32Array;
  private readonly groupOf: Int32Array;
  private readonly names: string[];
  private readonly size: number;

  /** `sample`: numbers of the targets that are added. */
  constructor(
    private readonly parts: readonly string[],
    sample: Int32Array,
    groups: TargetGroups | undefined,
  ) {
    const members = membersOf(sample, groups);
    this.size = parts.length + 1;
    this.names = members.map(({ group }) => group);
    this.products = members.map(() => new Float64Array(this.size ** 2));
    this.counts = new Int32Array(members.length);
    this.groupOf = new Int32Array(sample.length);
    members.forEach(({ members: positions }, group) => {
      for (const k of positions) this.groupOf[k] = group;
    });
  }

  /**
   * `predictions`: of each part for the held-out models, `actual`: their outputs; means do not matter. A target that does not vary or is not
   * finite is left out.
   */
  add(position: number, predictions: readonly Float64Array[], actual: Float64Array, deviation: number): void {
    const terms = [...predictions, actual].map(centred);
    if (!(deviation > 0) || !terms.every((values) => values.every(Number.isFinite))) return;
    const group = this.groupOf[position]!;
    this.counts[group]!++;
    const product = this.products[group]!;
    terms.forEach((a, i) => {
      terms.forEach((b, j) => {
        product[i * this.size + j]! += a.reduce((sum, value, row) => sum + value * b[row]!, 0) / deviation ** 2;
      });
    });
  }

  choices(): PenaltyChoice[] {
    return this.names.map((group, index) => {
      const product = this.products[index]!;
      const last = this.size - 1;
      const total = product[this.size * this.size - 1]!;
      if (!(total > 0)) return unscaled(group, this.parts);
      const scales = nonNegative(product, this.size);
      const error = scales.reduce(
        (sum, a, i) =>
          sum - 2 * a * product[i * this.size + last]! + scales.reduce((inner, b, j) => inner + a * b * product[i * this.size + j]!, 0),
        total,
      );
      return {
        group,
        scales: Object.fromEntries(this.parts.map((part, i) => [part, scales[i]!])),
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
