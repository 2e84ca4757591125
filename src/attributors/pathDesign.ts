/** The design of the Lasso and of its marginal form: the only place that calls the addon's solver. */
import { abortFlag, nativeAddon } from '../native/addon.js';
import type { NativeDesign, NativeDesignRequest } from '../native/types.js';
import type { LassoOptions, Masks, PenaltyChoice } from '../types.js';
import type { AttributionSource, Design, DesignOptions } from './attributor.js';
import { choosePenalties } from './pathChoice.js';
import { foldsOf, heldOutModels } from './selection.js';

/** `relaxations`: to choose from. Bits and tables are made at the first fit. */
export function openPathDesign(
  estimator: NativeDesignRequest['estimator'],
  { masks }: AttributionSource,
  options: LassoOptions,
  relaxations: readonly number[],
  { numTargets, gramBytes = 2 ** 30, threads = 0, device = 'cpu' }: DesignOptions,
): Design {
  const { numModels, numTrain, bits } = masks;
  const fold = foldsOf(numModels, options);
  const heldOut = heldOutModels(fold);
  const subsets = fold.reduce((most, k) => Math.max(most, k), -1) + 2;
  const pooled = options.select === 'pooled';
  const weightsPerTarget = weightsToExpect(masks, options);
  const workers = threads || nativeAddon().systemInfo().threads;
  const inFlight = Math.min(workers * targetsOfWorker, numTargets);
  let opened: Promise<NativeDesign> | undefined;
  let gram: NativeDesign['gram'] | undefined;
  const open = (signal: AbortSignal | undefined): Promise<NativeDesign> =>
    nativeAddon().openDesign(
      {
        isa: '',
        device,
        threads,
        numModels,
        numTrain,
        numTargets,
        bits,
        estimator,
        fold,
        lambdas: Float64Array.from(options.lambdas ?? []).sort((a, b) => b - a),
        standardise: options.standardise ?? false,
        pathLength: options.pathLength,
        lambdaMinRatio: options.lambdaMinRatio,
        refit: options.refit,
        pooled,
        // one model leaves nothing to hold out: every target is constant, whatever lambda
        lambda: options.lambda ?? Number.MIN_VALUE,
        relaxation: options.relaxation ?? 0,
        gapTolerance: options.gapTolerance,
        gramBytes: Math.floor(gramBytes),
        setBytes: setBytes(masks, { inFlight, weightsPerTarget }),
      },
      undefined,
      abortFlag(signal),
    );
  const ready = async (signal: AbortSignal | undefined): Promise<NativeDesign> => {
    opened ??= open(signal);
    const design = await opened;
    gram = design.gram;
    return design;
  };
  return {
    numModels,
    numTrain,
    options,
    pooled,
    heldOut,
    chosenOn: `${heldOut.length} held-out models`,
    describeChoice: ({ lambdaRatio = NaN, relaxation = 0 }) =>
      `lambda ${lambdaRatio.toPrecision(2)} of lambda_max, relaxation ${relaxation}`,
    backend: device === 'cuda' ? device : `cpu-${nativeAddon().systemInfo().isa}`,
    memoryBytes:
      device === 'cuda' ? gpuSolverBytes(masks, subsets) : solverBytes(masks, { subsets, gramBytes, inFlight, weightsPerTarget }),
    weightsPerTarget,
    // a GPU keeps thousands of targets in flight, and is not busy while the last of a call end
    mostTargets: device === 'cuda' ? 16384 : 4096,
    gram: () => gram,
    async fit(block, { onProgress, signal } = {}, chosen) {
      const design = await ready(signal);
      const penalties = chosen ? penaltiesOf(chosen) : samePenalties(options, block.numTargets);
      const request = { ...block, ...penalties, design: design.handle };
      return nativeAddon().fitDatamodels(request, (done, total) => onProgress?.({ done, total }), abortFlag(signal));
    },
    async choose(sample, groups, { onProgress, signal } = {}) {
      const size = sample.numTargets * options.pathLength * relaxations.length;
      const scores = { error: new Float32Array(size), correlation: new Float32Array(size) };
      const numHeldOut = heldOut.length;
      if (numHeldOut > 0) {
        const design = await ready(signal);
        const request = { ...sample, ...scores, relaxations: Float64Array.from(relaxations), design: design.handle };
        await nativeAddon().scorePaths(request, (done, total) => onProgress?.({ done, total }), abortFlag(signal));
      }
      return choosePenalties(options, { sample, groups, relaxations, numHeldOut, ...(numHeldOut > 0 ? { scores } : {}) });
    },
  };
}

/** What each target is solved at. */
interface Penalties {
  /** (numTargets) see PenaltyChoice */
  lambdaRatio: Float64Array;
  /** (numTargets) */
  relaxation: Float64Array;
}

function penaltiesOf(chosen: readonly PenaltyChoice[]): Penalties {
  return {
    lambdaRatio: Float64Array.from(chosen, ({ lambdaRatio = NaN }) => lambdaRatio),
    relaxation: Float64Array.from(chosen, ({ relaxation = 0 }) => relaxation),
  };
}

/** Of options that give lambda as a share of lambda_max. */
function samePenalties({ lambdaRatio, relaxation = 0 }: LassoOptions, numTargets: number): Penalties | undefined {
  if (lambdaRatio === undefined) return undefined;
  return { lambdaRatio: new Float64Array(numTargets).fill(lambdaRatio), relaxation: new Float64Array(numTargets).fill(relaxation) };
}

/** Targets that a worker keeps in flight (native/core/lasso/fit.cpp). */
const targetsOfWorker = 48;

/**
 * Weights of a target to reckon with when lambda is chosen on held-out models, from measurements; outputs that depend on hundreds of examples
 * with little noise end with more. A lambda that is given may leave everything in.
 */
function weightsToExpect({ numModels, numTrain }: Masks, { select }: LassoOptions): number {
  const all = Math.min(numModels, numTrain);
  return select === 'none' ? all : Math.min(all, Math.ceil(Math.min(8 * Math.sqrt(numModels), 6.2 * Math.sqrt(numTrain))));
}

/** In two orders. */
function bitsBytes(numModels: number, numTrain: number, subsets: number): number {
  return 2 * numTrain * Math.ceil(numModels / 64 + subsets) * 8;
}

interface SolverSizes {
  subsets: number;
  gramBytes: number;
  /** Targets of all workers at once. */
  inFlight: number;
  weightsPerTarget: number;
}

/** Gram counts of the working sets of targets in flight. The solver keeps to it: where sets grow beyond, fewer targets advance. */
function setBytes(
  { numModels, numTrain }: Masks,
  { inFlight, weightsPerTarget }: Pick<SolverSizes, 'inFlight' | 'weightsPerTarget'>,
): number {
  return Math.ceil(inFlight * entryBytes(numModels, numTrain) * 8 * weightsPerTarget ** 2);
}

/**
 * Bits, Gram tables of each set of models, and what is kept of each target in flight: vectors, and the Gram matrix of a working set. The
 * factors are measured (test/datamodels/memory.test.ts).
 */
function solverBytes(masks: Masks, sizes: SolverSizes): number {
  const { numModels, numTrain } = masks;
  const { subsets, gramBytes, inFlight } = sizes;
  const tables = Math.min(entryBytes(numModels, numTrain) * numTrain * numTrain * subsets, gramBytes);
  return bitsBytes(numModels, numTrain, subsets) + tables + inFlight * (150 * numModels + 18 * numTrain) + setBytes(masks, sizes);
}

/** Counts of pairs are kept as differences from what chance gives; of random halves the largest of all decides whether a byte holds them. */
function entryBytes(numModels: number, numTrain: number): 1 | 2 {
  return (Math.sqrt(numModels) / 4) * Math.sqrt(4 * Math.log(numTrain + 1)) > 127 ? 2 : 1;
}

/** Targets of a device whose vectors the host holds (native/cuda/lasso/on_host.cu). */
const hostLanes = 256;
/** A generous working set of one of them. */
const gpuWorkingSet = 1024;

/** Tables are the devices' own. With row weights the host's solvers keep the sets of models of each target. */
function gpuSolverBytes({ numModels, numTrain }: Masks, subsets: number): number {
  const bits = bitsBytes(numModels, numTrain, subsets);
  const set = Math.min(gpuWorkingSet, numTrain, numModels);
  const lane = 60 * numModels + (20 + 20 * subsets) * numTrain + 4 * set * set;
  return bits + nativeAddon().systemInfo().cuda.devices.length * hostLanes * lane;
}
