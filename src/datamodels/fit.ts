/** Datamodel estimation (Section 3, Appendix C): one sparse linear regression per target on the masks of the subset models. */
import { LetheError } from '../errors.js';
import { abortFlag, nativeAddon } from '../native/addon.js';
import { Purpose, Random } from '../native/random.js';
import { fitStatuses, type Datamodels, type FitOptions, type Masks, type RunOptions } from '../types.js';
import { checkFit } from './check.js';

export const defaultFitOptions: FitOptions = {
  estimator: 'lasso',
  pathLength: 100,
  lambdaMinRatio: 0.01,
  select: 'holdout',
  holdoutFraction: 0.1,
  refit: true,
  gapTolerance: 1e-4,
  seed: 0,
};

export interface FitInput {
  masks: Masks;
  /** (numModels, numTargets): margins, or logits with target = point * numClasses + class. */
  outputs: Float32Array;
  numTargets: number;
}

/**
 * Solves min over w, b of 1/(2m) ||y - X w - b||^2 + lambda ||w||_1 for every target: X the 0/1 masks, columns centred and not rescaled,
 * b unpenalised. With `select: 'holdout'` lambda is chosen per target by squared error on the models of holdoutModels(), then (`refit`)
 * solved on all models. `gap` is the relative duality gap, gap / (||y - mean||^2 / 2m), before weights are rounded to float32;
 * `marginal` replaces X^T X / m by its diagonal and solves that in closed form, at gap 0.
 *
 * Statuses are results, not errors: 'nonfinite' (a NaN or infinite output: zero weights, NaN bias, lambda and gap), 'constant' (zero
 * weights, bias is the value), 'unconverged' (the gap says how far). A target's numbers depend on its own column only: the same bytes
 * for any number of threads, any neighbours and any grouping. Progress counts targets.
 * @throws LETHE_SHAPE_MISMATCH, LETHE_FIT_OPTION (exit code 2), LETHE_TASK_ABORTED (75)
 */
export async function fitDatamodels(
  { masks, outputs, numTargets }: FitInput,
  options: FitOptions = defaultFitOptions,
  { onProgress, signal, threads = 0 }: RunOptions = {},
): Promise<Datamodels> {
  checkFit(masks, outputs, numTargets, options);
  const { numModels, numTrain, bits } = masks;
  const addon = nativeAddon();
  const design = await addon.openDesign(
    {
      isa: '',
      threads,
      numModels,
      numTrain,
      numTargets,
      bits,
      estimator: options.estimator,
      fold: foldOfModels(numModels, options),
      lambdas: new Float64Array(0),
      pathLength: options.pathLength,
      lambdaMinRatio: options.lambdaMinRatio,
      refit: options.refit,
      // one model leaves nothing to hold out: every target is constant, whatever lambda
      lambda: options.lambda ?? Number.MIN_VALUE,
      standardise: false,
      gapTolerance: options.gapTolerance,
      gramBytes: 2 ** 30,
    },
    undefined,
    abortFlag(signal),
  );
  const fits = await addon.fitDatamodels(
    { design: design.handle, numTargets, outputs, targetsPerRowWeight: 1 },
    (done, total) => onProgress?.({ done, total }),
    abortFlag(signal),
  );
  return { ...fits, numTargets, numTrain, status: Array.from(fits.status, (code) => fitStatuses[code]!) };
}

/**
 * The models that choose lambda: round(holdoutFraction * numModels) of them, at least one and never all, sorted; empty without selection.
 * One random split for all targets.
 */
export function holdoutModels(numModels: number, { select, holdoutFraction, seed }: FitOptions): Int32Array {
  if (select === 'none' || numModels < 2) return new Int32Array(0);
  const count = Math.min(Math.max(Math.round(holdoutFraction * numModels), 1), numModels - 1);
  const random = new Random(seed, Purpose.holdout, 0);
  const order = Int32Array.from({ length: numModels }, (_, model) => model);
  for (let drawn = 0; drawn < count; drawn++) {
    const other = drawn + random.below(numModels - drawn);
    [order[drawn], order[other]] = [order[other]!, order[drawn]!];
  }
  return order.slice(0, count).sort();
}

/** (numModels): 0 held out, -1 not; empty without selection. */
function foldOfModels(numModels: number, options: FitOptions): Int32Array {
  const heldOut = holdoutModels(numModels, options);
  const fold = new Int32Array(heldOut.length === 0 ? 0 : numModels).fill(-1);
  for (const model of heldOut) fold[model] = 0;
  return fold;
}

/** Dense weights (numTargets, numTrain), for export. @throws LETHE_MEMORY_SHORT (exit code 4) */
export function denseWeights({ numTargets, numTrain, rowStart, indices, weights }: Datamodels): Float32Array {
  let dense: Float32Array;
  try {
    dense = new Float32Array(numTargets * numTrain);
  } catch (cause) {
    throw new LetheError('LETHE_MEMORY_SHORT', 'dense weights do not fit in memory', {
      expected: 'fewer targets or train examples',
      received: `${numTargets} x ${numTrain} weights`,
      action: 'Use the sparse weights.',
      exitCode: 4,
      cause,
    });
  }
  for (let target = 0; target < numTargets; target++) {
    for (let k = rowStart[target]!; k < rowStart[target + 1]!; k++) dense[target * numTrain + indices[k]!] = weights[k]!;
  }
  return dense;
}
