/** The design that all targets of a fit share: the only place that calls the addon's solver. */
import { LetheError } from '../errors.js';
import { abortFlag, nativeAddon } from '../native/addon.js';
import type { NativeFits } from '../native/types.js';
import type { FitOptions, Masks, RunOptions } from '../types.js';
import { checkMasks, checkOptions } from './check.js';
import { foldsOf, heldOutModels } from './selection.js';

/** Targets of one call. */
export interface DesignBlock {
  /** (numModels, numTargets) */
  outputs: Float32Array;
  numTargets: number;
  /** (numModels, numTargets / targetsPerRowWeight) */
  rowWeights?: Uint8Array;
  targetsPerRowWeight: number;
}

export interface Design {
  numModels: number;
  numTrain: number;
  /** A target's fit depends on its own column only. Progress counts targets. @throws LETHE_TASK_ABORTED */
  fit(block: DesignBlock, run?: RunOptions): Promise<NativeFits>;
  /** Upper bound of what the solver holds beside a block's outputs and results. */
  memoryBytes: number;
}

export interface DesignOptions {
  /** Blocks will bring row weights. */
  rowWeights?: boolean;
  /** For memoryBytes. 0: all allowed. */
  threads?: number;
}

/** @throws LETHE_SHAPE_MISMATCH, LETHE_FIT_OPTION, LETHE_FIT_UNSUPPORTED (exit code 2) */
export function openDesign(masks: Masks, options: FitOptions, { rowWeights = false, threads = 0 }: DesignOptions = {}): Design {
  checkMasks(masks);
  checkOptions(options, masks.numModels);
  refuseUnsupported(options, rowWeights);
  const { numModels, numTrain, bits } = masks;
  const fold = foldsOf(numModels, options);
  const shared = {
    isa: '',
    numModels,
    numTrain,
    bits,
    estimator: options.estimator,
    holdout: heldOutModels(fold),
    fold,
    lambdas: Float64Array.from(options.lambdas ?? []).sort((a, b) => b - a),
    standardise: options.standardise ?? false,
    pathLength: options.pathLength,
    lambdaMinRatio: options.lambdaMinRatio,
    refit: options.refit,
    // one model leaves nothing to hold out: every target is constant, whatever lambda
    lambda: options.lambda ?? Number.MIN_VALUE,
    gapTolerance: options.gapTolerance,
  } as const;
  return {
    numModels,
    numTrain,
    memoryBytes: solverBytes(numModels, numTrain, threads || nativeAddon().systemInfo().threads),
    fit: (block, { onProgress, signal, threads: workers = 0 } = {}) =>
      nativeAddon().fitDatamodels(
        { ...shared, ...block, threads: workers },
        (done, total) => onProgress?.({ done, total }),
        abortFlag(signal),
      ),
  };
}

/** What the present solver cannot do yet. Delete this function, and its call, when it can. */
function refuseUnsupported(options: FitOptions, rowWeights: boolean): void {
  const asked = [
    ...(options.select === 'kfold' ? ['select "kfold"'] : []),
    ...(options.lambdas === undefined ? [] : ['a list of lambdas']),
    ...(options.standardise === true ? ['standardise'] : []),
    ...(rowWeights ? ['row weights'] : []),
  ];
  if (asked.length === 0) return;
  throw new LetheError('LETHE_FIT_UNSUPPORTED', 'the solver of this build cannot do that', {
    expected: 'selection on held-out models or one lambda, columns not rescaled, all models for every target',
    received: asked.join(', '),
    action: 'Leave the option out.',
  });
}

/** Gram tables beyond this are not made (native/core/lasso.cpp). */
const pairsBytes = 2 ** 30;
/** Targets a worker has in flight, and a generous active set. */
const inFlight = 16;
const activeSet = 1024;

/** Bit columns, Gram tables of the fitted and of all models, and what every worker keeps of its targets. */
function solverBytes(numModels: number, numTrain: number, threads: number): number {
  const columns = numTrain * Math.ceil(numModels / 64) * 8;
  const pairs = 2 * numTrain * numTrain;
  const target = 32 * numModels + 64 * numTrain + 4 * activeSet * activeSet;
  const worker = inFlight * target + 4 * inFlight * (2 * numModels + numTrain);
  return columns + 2 * (pairs <= pairsBytes ? pairs : 0) + threads * worker;
}
