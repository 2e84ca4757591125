/** float64 outputs on their way into float32, in which the solver works: an offset must not cost the digits of what varies. */
import type { Datamodels } from '../types.js';

export interface CentredOutputs {
  /** (numModels, numTargets) outputs less `offsets` */
  outputs: Float32Array;
  /** (numTargets) what was taken off; belongs to the bias */
  offsets: Float64Array;
}

/** Which row weight belongs to a target (see FitInput). */
export interface CountedRows {
  rowWeights: Uint8Array;
  targetsPerRowWeight: number;
}

/**
 * Takes the mean of its finite outputs off every target, in double, before they are rounded to float32. Exact for a constant target; rows
 * of weight 0 do not count, NaN and infinite outputs stay what they are. values: (numModels, numTargets)
 */
export function centreOutputs(values: Float64Array, numTargets: number, counted?: CountedRows): CentredOutputs {
  const offsets = meanOffsets(values, numTargets, counted);
  const outputs = new Float32Array(values.length);
  for (let row = 0; row < values.length; row += numTargets) {
    for (let target = 0; target < numTargets; target++) outputs[row + target] = values[row + target]! - offsets[target]!;
  }
  return { outputs, offsets };
}

/** Sums are of differences to a target's first output: they are small however large the outputs are. */
function meanOffsets(values: Float64Array, numTargets: number, counted: CountedRows | undefined): Float64Array {
  const first = new Float64Array(numTargets).fill(NaN);
  const sums = new Float64Array(numTargets);
  const counts = new Float64Array(numTargets);
  const { rowWeights, targetsPerRowWeight = 1 } = counted ?? {};
  const columns = numTargets / targetsPerRowWeight; // of row weights
  for (let row = 0; row * numTargets < values.length; row++) {
    for (let target = 0; target < numTargets; target++) {
      const value = values[row * numTargets + target]!;
      if (!Number.isFinite(value) || rowWeights?.[row * columns + Math.floor(target / targetsPerRowWeight)] === 0) continue;
      if (counts[target] === 0) first[target] = value;
      sums[target]! += value - first[target]!;
      counts[target]!++;
    }
  }
  return first.map((value, target) => {
    const mean = value + sums[target]! / counts[target]!;
    return Number.isFinite(mean) ? mean : 0;
  });
}

/** Adds offsets (numTargets) to the biases in double; they are stored as float32. */
export function shiftBias(datamodels: Datamodels, offsets: Float64Array): Datamodels {
  return { ...datamodels, bias: datamodels.bias.map((value, target) => value + offsets[target]!) };
}
