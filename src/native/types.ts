/** The addon's functions as TypeScript sees them; each binding file in native/addon states the same signature. */
import type { KlomOptions, NetSpec, ParameterTensor, TrainJob } from '../types.js';

/** Of SystemInfo.availableIsas: which there are is known to the native code only. '' in a request: the best. */
export type IsaName = string;

/** How images and their gradients are stored in training and forward; everything else is fp32 in both. */
export type Precision = 'fp32' | 'bf16';

export interface SystemInfo {
  isa: IsaName;
  availableIsas: IsaName[];
  threads: number;
  /** Models trained at the same time on each GPU unless told otherwise. */
  modelsPerGpu: number;
  cuda: CudaInfo;
}

export interface CudaInfo {
  /** The addon contains the CUDA backend. */
  built: boolean;
  toolkit: string;
  /** Why no device can be used; empty when devices are listed. */
  problem: string;
  devices: { name: string; computeCapability: string; totalBytes: number; freeBytes: number }[];
}

/** Pixels of a data set as the training engine reads them; shapes as in Dataset. */
export interface NativeImageData {
  numPoints: number;
  pixels: Uint8Array;
  labels: Int32Array;
  mean: number[];
  std: number[];
}

/** The caller allocates what the addon fills: logits (evalEpochs, evalPoints, classes), parameters (numParameters). */
export interface NativeTrainJob extends TrainJob {
  logits: Float32Array;
  parameters?: Float32Array;
}

export interface NativeTrainRequest {
  net: NetSpec;
  /** Of the CPU; "" takes LETHE_ISA or the highest available. */
  isa: IsaName;
  /** cuda: all GPUs. */
  device: 'cpu' | 'cuda';
  precision: Precision;
  threads: number;
  data: NativeImageData;
  jobs: NativeTrainJob[];
  evalPoints: Int32Array;
  evalEpochs: number[];
}

export interface NativeTrainOutcome {
  /** 1-based; 0: trained. */
  divergedAtEpoch: number;
  loss: number;
  gradientImages: number;
  elapsedMs: number;
}

export interface NativeForwardRequest {
  net: NetSpec;
  isa: IsaName;
  device: 'cpu' | 'cuda';
  precision: Precision;
  threads: number;
  data: NativeImageData;
  parameters: Float32Array[];
  points: Int32Array;
  /** (parameters.length, points.length, classes), filled by the addon */
  logits: Float32Array;
}

export interface NetDescription {
  parameters: ParameterTensor[];
  numParameters: number;
  numTrainable: number;
  /** Multiply-adds of one image, forward. */
  multiplyAdds: number;
  /** Memory of one model in training at the given batch size. */
  memoryBytes: number;
}

/** The caller allocates what the addon fills: scores and nonFinite (numPoints). */
export interface NativeKlomRequest extends KlomOptions {
  oracleMargins: Float32Array; // (numOracles, numPoints)
  unlearnedMargins: Float32Array; // (numUnlearned, numPoints)
  numOracles: number;
  numUnlearned: number;
  numPoints: number;
  isa: IsaName;
  device: 'cpu' | 'cuda';
  threads: number;
  scores: Float64Array;
  nonFinite: Int32Array;
}

export interface NativeMarginsRequest {
  logits: Float32Array; // (numModels, numPoints, numClasses)
  labels: Int32Array; // (numPoints)
  numModels: number;
  numPoints: number;
  numClasses: number;
  threads: number;
  margins: Float32Array; // (numModels, numPoints), filled
  predicted: Uint8Array; // (numModels, numPoints), filled; 255 where a logit is NaN
}

/** Over the finite values of each point; mean, variance (unbiased) and nonFinite (numPoints) are filled. */
export interface NativeMomentsRequest {
  margins: Float32Array; // (numModels, numPoints)
  numModels: number;
  numPoints: number;
  threads: number;
  mean: Float64Array;
  variance: Float64Array;
  nonFinite: Int32Array;
}

/** gaussian and neighbours (numPoints) are filled. */
export interface NativeDivergencesRequest {
  oracleMargins: Float32Array; // (numOracles, numPoints)
  unlearnedMargins: Float32Array; // (numUnlearned, numPoints)
  numOracles: number;
  numUnlearned: number;
  numPoints: number;
  clip: number;
  threads: number;
  gaussian: Float64Array;
  neighbours: Float64Array;
}

export interface NativeSpearmanRequest {
  predicted: Float32Array; // (numModels, numPoints)
  actual: Float32Array; // (numModels, numPoints)
  numModels: number;
  numPoints: number;
  /** Points [firstPoint, endPoint) are correlated. */
  firstPoint: number;
  endPoint: number;
  device: 'cpu' | 'cuda';
  threads: number;
  correlation: Float64Array; // (endPoint - firstPoint), filled; NaN where undefined
}

/** values: as many as are drawn from, with replacement; means: one a resample, filled. */
export interface NativeBootstrapRequest {
  values: Float64Array;
  means: Float64Array;
  seed: number;
  threads: number;
}

/** Datamodels over numTrain examples: `dense`, or rowStart, indices and weights as in Datamodels. */
export type NativeDatamodels = { bias: Float32Array } & (
  | { dense: Float32Array } // (numTargets, numTrain)
  | { rowStart: Float64Array; indices: Int32Array; weights: Float32Array }
);

/** product (aColumns, bColumns) = a^T b, sums in float32. */
export interface NativeCrossProductRequest {
  /** (rows, aColumns) */
  a: Float32Array;
  /** (rows, bColumns) */
  b: Float32Array;
  rows: number;
  aColumns: number;
  bColumns: number;
  threads: number;
  isa: IsaName;
  product: Float32Array;
}

export type NativePredictRequest = NativeDatamodels & {
  numModels: number;
  numTrain: number;
  numTargets: number;
  /** (numModels, ceil(numTrain / 8)) */
  bits: Uint8Array;
  isa: IsaName;
  threads: number;
  predicted: Float32Array; // (numModels, numTargets), filled
};

export interface NativeDesignRequest {
  isa: IsaName;
  /** Where its fits run. */
  device: 'cpu' | 'cuda';
  threads: number;
  numModels: number;
  numTrain: number;
  /** That will be fitted on the design in all: decides whether tables of Gram counts pay. */
  numTargets: number;
  /** (numModels, ceil(numTrain / 8)) */
  bits: Uint8Array;
  estimator: 'lasso' | 'marginal';
  /** (numModels): -1 never held out, k held out in fold k; empty: every target is fitted at `lambda`. */
  fold: Int32Array;
  /** Lambdas to choose from, largest first; empty: pathLength values from lambda_max to lambdaMinRatio of it. */
  lambdas: Float64Array;
  pathLength: number;
  lambdaMinRatio: number;
  refit: boolean;
  /** Held-out models serve scorePaths only; every fit brings lambdaRatio. */
  pooled: boolean;
  lambda: number;
  relaxation: number;
  standardise: boolean;
  gapTolerance: number;
  /** Memory for tables of Gram counts. */
  gramBytes: number;
  /** Bytes of Gram counts of the targets in flight, 0: no limit. */
  setBytes: number;
}

export interface NativeDesign {
  handle: unknown;
  isa: IsaName;
  /** Where Gram counts come from: tables of 8 or 16 bits an entry, or the bits of the masks. */
  gram: 'table8' | 'table16' | 'counted';
  bytes: number;
  /** Of a worker of a fit, typical. */
  bytesPerThread: number;
}

export interface NativeTargets {
  /** `handle` of a NativeDesign. */
  design: unknown;
  numTargets: number;
  /** (numModels, numTargets) */
  outputs: Float32Array;
  /** (numModels, ceil(numTargets / targetsPerRowWeight)): how often a model counts, 0 leaves it out. */
  rowWeights?: Uint8Array;
  targetsPerRowWeight: number;
}

export interface NativeFitRequest extends NativeTargets {
  /** (numTargets) shares of each target's lambda_max; absent: as the design says. */
  lambdaRatio?: Float64Array;
  /** (numTargets); absent: as the design says. */
  relaxation?: Float64Array;
}

/** error, correlation: (numTargets, pathLength, relaxations), filled; NaN where a path did not get to. */
export interface NativeScoreRequest extends NativeTargets {
  relaxations: Float64Array;
  error: Float32Array;
  correlation: Float32Array;
}

/** Columns of Datamodels; status is an index into fitStatuses. */
export interface NativeFits {
  status: Uint8Array;
  bias: Float32Array;
  lambda: Float32Array;
  gap: Float32Array;
  rowStart: Float64Array;
  indices: Int32Array;
  weights: Float32Array;
}

/** Measured limits of one core; a byte copied counts once, GF/s and Gword/s are for the instruction set asked for. */
export interface NativePeaks {
  fmaGflops: number;
  /** Dot products of bf16 pairs in vector registers; 0 without their instruction. */
  dotBf16Gflops: number;
  /** 0 without AMX. */
  amxInt8Tops: number;
  /** bf16 dot products of tiles, 0 without AMX. */
  amxBf16Gflops: number;
  popcountGwords: number;
  copyGbytes: number;
  copyCachedGbytes: number;
  compiler: string;
}

export interface NativeKernelRate {
  kernel: string;
  shape: string;
  unit: string;
  /** Median, one thread. */
  rate: number;
  /** Of the measured peak of the instructions a naive algorithm would use: methods by tables may exceed 1. */
  shareOfPeak: number;
}

/** A part of a training step of a batch; layer "step" for what belongs to no layer. */
export interface NativeLayerRate {
  layer: string;
  part: string;
  /** Median, CPU time of one thread. */
  seconds: number;
  /** 2 x multiply-adds of convolutions and linear layers; 0 elsewhere. */
  operations: number;
}

export type NativeProgress = (done: number, total: number) => void;

/** A ridge problem in rotated coordinates, see RidgeProblem in native/include/lethe/ridge/study.h: retain rows first. */
export interface NativeRidgeProblem {
  numTrain: number;
  numForget: number;
  dim: number;
  /** The first coordinates, which are the span of the retain points. */
  spanSize: number;
  lambda: number;
  x: Float64Array; // (numTrain, dim)
  y: Float64Array; // (numTrain)
  thetaFull: Float64Array; // (dim)
  thetaStar: Float64Array; // (dim)
}

/** One method on one problem at all S steps; the addon fills the arrays. */
export interface NativeRidgeRun {
  problem: number;
  /** Position in ridgeMethodNames. */
  method: number;
  ascentWeight: number;
  /** 0: full batch. */
  batchSize: number;
  repetition: number;
  inSpan: Float64Array; // (S, L)
  orthogonal: Float64Array; // (S, L)
  /** (S): 0 ran to the end, 1 diverged, 2 converged */
  endings: Uint8Array;
  iterates?: Float64Array; // (S, L, dim)
}

export interface NativeRidgeRequest {
  problems: NativeRidgeProblem[];
  runs: NativeRidgeRun[];
  steps: Float64Array; // (S)
  loggedAt: Int32Array; // (L)
  seed: number;
  divergedAbove: number;
  convergedBelow: number;
  threads: number;
  isa: IsaName;
}

/**
 * Every error has a LETHE_ code: LETHE_ARGUMENT_INVALID names a wrong argument, LETHE_BUFFER_LOST an array that was transferred or shrunk
 * before the addon had filled it; LETHE_TASK_ABORTED, LETHE_MEMORY_EXHAUSTED and LETHE_THREADS_EXHAUSTED may come from every promise.
 * Inputs are read before a call returns, except those in memory of `allocate`: these must be left alone until it settles.
 */
export interface NativeAddon {
  systemInfo(): SystemInfo;
  /** Zeroed memory, in which calls work in place; at most 4 GiB. See memory.ts. */
  allocate(bytes: number): ArrayBuffer;
  trainMany(request: NativeTrainRequest, onProgress?: NativeProgress, abortFlag?: Int32Array): Promise<NativeTrainOutcome[]>;
  forwardMany(request: NativeForwardRequest, onProgress?: NativeProgress, abortFlag?: Int32Array): Promise<void>;
  openDesign(request: NativeDesignRequest, onProgress?: NativeProgress, abortFlag?: Int32Array): Promise<NativeDesign>;
  scorePaths(request: NativeScoreRequest, onProgress?: NativeProgress, abortFlag?: Int32Array): Promise<void>;
  fitDatamodels(request: NativeFitRequest, onProgress?: NativeProgress, abortFlag?: Int32Array): Promise<NativeFits>;
  ridgeStudy(request: NativeRidgeRequest, onProgress?: NativeProgress, abortFlag?: Int32Array): Promise<void>;
  measurePeaks(isa: IsaName): Promise<NativePeaks>;
  lassoKernelRates(isa: IsaName): Promise<NativeKernelRate[]>;
  trainLayerRates(
    net: NetSpec,
    isa: IsaName,
    precision: Precision,
    batchSize: number,
    seconds: number,
  ): Promise<NativeLayerRate[]>;
  describeNet(net: NetSpec, isa: IsaName, precision: Precision, batchSize: number): NetDescription;
  klom(request: NativeKlomRequest, onProgress?: NativeProgress, abortFlag?: Int32Array): Promise<void>;
  margins(request: NativeMarginsRequest, onProgress?: NativeProgress, abortFlag?: Int32Array): Promise<void>;
  divergences(request: NativeDivergencesRequest, onProgress?: NativeProgress, abortFlag?: Int32Array): Promise<void>;
  moments(request: NativeMomentsRequest, onProgress?: NativeProgress, abortFlag?: Int32Array): Promise<void>;
  crossProduct(request: NativeCrossProductRequest, onProgress?: NativeProgress, abortFlag?: Int32Array): Promise<void>;
  predict(request: NativePredictRequest, onProgress?: NativeProgress, abortFlag?: Int32Array): Promise<void>;
  bootstrapMeans(request: NativeBootstrapRequest, onProgress?: NativeProgress, abortFlag?: Int32Array): Promise<void>;
  spearman(request: NativeSpearmanRequest, onProgress?: NativeProgress, abortFlag?: Int32Array): Promise<{ numConstant: number; numNonFinite: number }>;
}
