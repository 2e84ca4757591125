/** The LDS that a perfect prediction would have: models of one mask differ by their random numbers, which no datamodel knows. */
import type { LdsCeiling, RunOptions } from '../types.js';
import type { DeviceName } from '../native/device.js';
import { lds, type LdsInput } from './lds.js';

/**
 * From two models of each mask. If an output is what its mask decides plus noise of its own, the rank correlation of the two models is the
 * reliability r of one (the test-retest coefficient behind the Spearman-Brown formula), and what the mask decides correlates with one model's
 * output by sqrt(r). The root of the mean over points is an upper bound of the mean of the roots: shares of the ceiling are not flattered.
 * @param input `predicted`: outputs of the second models, `actual`: of the first, (numModels, numPoints) each; points [first, end).
 * @throws LETHE_SHAPE_MISMATCH, LETHE_TASK_ABORTED (75)
 */
export async function ldsCeiling(
  input: LdsInput,
  options: { first: number; end: number; seed: number },
  run: RunOptions & { device?: DeviceName } = {},
): Promise<Omit<LdsCeiling, 'points'>> {
  const { mean, low, high } = await lds(input, options, run);
  return { reliability: mean, mean: root(mean), low: root(low), high: root(high), numMasks: input.numModels };
}

/** Two models that agree less than by chance: nothing can be predicted. NaN stays NaN. */
function root(reliability: number): number {
  return Math.sqrt(Math.max(reliability, 0));
}
