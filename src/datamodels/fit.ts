/** Datamodel estimation (Section 3, Appendix C): one linear model per target on the masks of the subset models. */
import type { Design, DesignBlock, TargetPoints } from '../attributors/attributor.js';
import { defaultFitOptions } from '../attributors/lasso.js';
import { columnsOf, choicesOf, sampleTargets } from '../attributors/pooled.js';
import { openDesign } from '../attributors/registry.js';
import { LetheError } from '../errors.js';
import type { NativeFits } from '../native/types.js';
import {
  fitStatuses,
  type Datamodels,
  type FitOptions,
  type Masks,
  type PenaltyChoice,
  type RunOptions,
  type TargetGroups,
} from '../types.js';
import { checkOutputs, targetsPerRowWeight } from './check.js';

export { defaultFitOptions };

export type FitInput = {
  masks: Masks;
  /** (numModels, numTargets), or (numModels, numPoints, numClasses): target point * numClasses + class. */
  outputs: Float32Array;
  /**
   * (numModels, numTargets), or (numModels, numPoints) for all classes of a point: 0 leaves the model out for the target (one that
   * trained on it, say), k counts it k times.
   */
  rowWeights?: Uint8Array;
  /** What the targets are, for attributors that need to know. */
  points?: TargetPoints;
  /** Targets whose lambda is chosen together (select 'pooled'); absent: all. */
  groups?: TargetGroups;
  /** What was chosen for these groups before, on targets of which these are a part; absent: it is chosen on these. */
  choices?: readonly PenaltyChoice[];
} & ({ numTargets: number } | { numPoints: number; numClasses: number });

/**
 * Fits every target by the attributor that the options name (attributors/registry.ts). The Lasso solves min over w, b of 1/(2m) ||y - X w - b||^2 + lambda ||w||_1 for every target: X the 0/1 masks, columns centred and not rescaled
 * (`standardise`: w in units of the columns' standard deviations), b unpenalised. With `select: 'pooled'` one lambda / lambda_max and one
 * relaxation are chosen for all targets of a group, with 'holdout' lambda is chosen per target by squared error on the
 * models of holdoutModels(), with 'kfold' by the sum of squared errors over the folds, then (`refit`) solved on all models. `gap` is the
 * relative duality gap, gap / (||y - mean||^2 / 2m), before weights are rounded to float32; closed forms have gap 0.
 *
 * Statuses are results, not errors: 'nonfinite' (a NaN or infinite output: zero weights, NaN bias, lambda and gap), 'constant' (zero
 * weights, bias is the value), 'unconverged' (the gap says how far). A target's numbers depend on its own column (and what was chosen for
 * its group) only: the same bytes
 * for any number of threads, any neighbours and any grouping. Progress counts targets.
 * @throws LETHE_SHAPE_MISMATCH, LETHE_FIT_OPTION (exit code 2), LETHE_TASK_ABORTED (75)
 */
export async function fitDatamodels(input: FitInput, options: FitOptions = defaultFitOptions, run: RunOptions = {}): Promise<Datamodels> {
  const { masks, outputs, rowWeights, groups } = input;
  const numClasses = 'numClasses' in input ? input.numClasses : 1;
  const numTargets = 'numClasses' in input ? input.numPoints * numClasses : input.numTargets;
  const where = { numTargets, ...(input.points ? { points: input.points } : {}) };
  const design = openDesign(masks, options, { ...where, ...(run.threads === undefined ? {} : { threads: run.threads }) });
  checkOutputs(outputs, masks.numModels, numTargets);
  const shared = rowWeights ? targetsPerRowWeight(rowWeights.length / masks.numModels, numTargets, numClasses) : 1;
  const block = { outputs, numTargets, ...(rowWeights ? { rowWeights } : {}), targetsPerRowWeight: shared };
  if (!design.pooled) return toDatamodels(await design.fit(block, run), numTargets, masks.numTrain);
  const choices = input.choices ?? (await chooseAmong(design, block, groups, run));
  const fits = await design.fit(block, run, choicesOf(choices, groups, 0, numTargets));
  return toDatamodels(fits, numTargets, masks.numTrain);
}

/** Progress of a choice would count other targets: it has none. */
async function chooseAmong(
  design: Design,
  block: DesignBlock,
  groups: TargetGroups | undefined,
  run: RunOptions,
): Promise<PenaltyChoice[]> {
  const sample = sampleTargets(block.numTargets, groups, design.options.seed);
  const { threads, signal } = run;
  const quiet = { ...(threads === undefined ? {} : { threads }), ...(signal ? { signal } : {}) };
  return design.choose({ ...columnsOf(block, design.numModels, sample), sample }, groups, quiet);
}

export function toDatamodels(fits: NativeFits, numTargets: number, numTrain: number): Datamodels {
  return { ...fits, numTargets, numTrain, status: Array.from(fits.status, (code) => fitStatuses[code]!) };
}

/** Dense weights (end - first, numTrain) of targets [first, end), for export. @throws LETHE_MEMORY_SHORT (exit code 4) */
export function denseWeights(datamodels: Datamodels, first = 0, end = datamodels.numTargets): Float32Array {
  const { numTrain, rowStart, indices, weights } = datamodels;
  let dense: Float32Array;
  try {
    dense = new Float32Array((end - first) * numTrain);
  } catch (cause) {
    throw new LetheError('LETHE_MEMORY_SHORT', 'dense weights do not fit in memory', {
      expected: 'fewer targets or train examples',
      received: `${end - first} x ${numTrain} weights`,
      action: 'Use the sparse weights.',
      exitCode: 4,
      cause,
    });
  }
  for (let target = first; target < end; target++) {
    const row = (target - first) * numTrain;
    for (let k = rowStart[target]!; k < rowStart[target + 1]!; k++) dense[row + indices[k]!] = weights[k]!;
  }
  return dense;
}
