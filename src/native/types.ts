/** The addon's functions as TypeScript sees them; each binding file in native/addon states the same signature. */
import type { KlomOptions, NetSpec, ParameterTensor, TrainJob } from '../types.js';

export type IsaName = 'portable' | 'avx2' | 'avx512' | 'amx';

export interface SystemInfo {
  isa: IsaName;
  availableIsas: IsaName[];
  threads: number;
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
  /** "" takes LETHE_ISA or the highest available. */
  isa: IsaName | '';
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
  isa: IsaName | '';
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
  isa: IsaName | '';
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

export interface NativeSpearmanRequest {
  predicted: Float32Array; // (numModels, numPoints)
  actual: Float32Array; // (numModels, numPoints)
  numModels: number;
  numPoints: number;
  /** Points [firstPoint, endPoint) are correlated. */
  firstPoint: number;
  endPoint: number;
  threads: number;
  correlation: Float64Array; // (endPoint - firstPoint), filled; NaN where undefined
}

export interface NativeDesignRequest {
  isa: IsaName | '';
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
  lambda: number;
  standardise: boolean;
  gapTolerance: number;
  /** Memory for tables of Gram counts. */
  gramBytes: number;
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

export interface NativeFitRequest {
  /** `handle` of a NativeDesign. */
  design: unknown;
  numTargets: number;
  /** (numModels, numTargets) */
  outputs: Float32Array;
  /** (numModels, ceil(numTargets / targetsPerRowWeight)): how often a model counts, 0 leaves it out. */
  rowWeights?: Uint8Array;
  targetsPerRowWeight: number;
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

export type NativeProgress = (done: number, total: number) => void;

export interface NativeAddon {
  systemInfo(): SystemInfo;
  trainMany(request: NativeTrainRequest, onProgress?: NativeProgress, abortFlag?: Int32Array): Promise<NativeTrainOutcome[]>;
  forwardMany(request: NativeForwardRequest, onProgress?: NativeProgress, abortFlag?: Int32Array): Promise<void>;
  openDesign(request: NativeDesignRequest, onProgress?: NativeProgress, abortFlag?: Int32Array): Promise<NativeDesign>;
  fitDatamodels(request: NativeFitRequest, onProgress?: NativeProgress, abortFlag?: Int32Array): Promise<NativeFits>;
  describeNet(net: NetSpec, batchSize: number): NetDescription;
  klom(request: NativeKlomRequest, onProgress?: NativeProgress, abortFlag?: Int32Array): Promise<void>;
  margins(request: NativeMarginsRequest, onProgress?: NativeProgress, abortFlag?: Int32Array): Promise<void>;
  moments(request: NativeMomentsRequest, onProgress?: NativeProgress, abortFlag?: Int32Array): Promise<void>;
  spearman(request: NativeSpearmanRequest, onProgress?: NativeProgress, abortFlag?: Int32Array): Promise<{ numConstant: number; numNonFinite: number }>;
}
