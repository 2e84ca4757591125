/** What the outputs of a fit are not: finite everywhere, or as exact as they were once their offsets are in a float32 bias. */
import type { Datamodels } from '../types.js';
import type { InputBlock } from './blocks.js';

/** A bias is stored to this share of itself. */
const roundOff = 2 ** -24;
/** Rounding by more than this share of what varies in a target is worth a word. */
const noticed = 1e-4;

export class FitNotes {
  private readonly rows = new Set<number>();
  private rounded = 0;
  private largest = 0;

  /** Every block of the fit, new or finished. */
  addInput({ outputs, numTargets, rowWeights, targetsPerRowWeight }: InputBlock): void {
    const columns = numTargets / targetsPerRowWeight; // of row weights
    for (let at = 0; at < outputs.length; at++) {
      if (Number.isFinite(outputs[at]!)) continue;
      const [row, target] = [Math.floor(at / numTargets), at % numTargets];
      if (rowWeights?.[row * columns + Math.floor(target / targetsPerRowWeight)] !== 0) this.rows.add(row);
    }
  }

  addBiases({ bias }: Datamodels, { outputs, offsets, numTargets }: InputBlock): void {
    if (!offsets) return;
    const spread = new Float64Array(numTargets); // largest distance to the mean
    for (let at = 0; at < outputs.length; at++) spread[at % numTargets] = Math.max(spread[at % numTargets]!, Math.abs(outputs[at]!));
    for (let target = 0; target < numTargets; target++) {
      const error = Math.abs(bias[target]!) * roundOff;
      if (!(spread[target]! > 0 && error > noticed * spread[target]!)) continue;
      this.rounded++;
      this.largest = Math.max(this.largest, error);
    }
  }

  /** Models with outputs that are not finite where they count, ascending. */
  nonFiniteModels(): number[] {
    return [...this.rows].sort((a, b) => a - b);
  }

  /** For people; undefined where nothing is lost. */
  rounding(): string | undefined {
    if (this.rounded === 0) return undefined;
    return (
      `${this.rounded} biases lose digits, as they are stored as float32: up to ${this.largest.toPrecision(2)} of an offset. ` +
      'Weights do not depend on it; take the mean off the outputs to keep all digits'
    );
  }
}
