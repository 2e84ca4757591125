/** This file is long because it is the one vocabulary of all stages; splitting it would hide how they fit together.
 * The shared vocabulary of the stages. Stages never import each other: they meet here and in the run folder.
 * Shapes stand next to every array; all matrices are row-major.
 */

// ---------------------------------------------------------------- data

/** Order is fixed everywhere: reports, files and arrays list the splits like this. */
export const splitNames = ['forget', 'retain', 'validation'] as const;
export type SplitName = (typeof splitNames)[number];

/** Of a data set: predicted classes are stored in bytes, where 255 stands for none. */
export const mostClasses = 255;

/**
 * A data set without its images: what a run folder keeps of it.
 * Train points first, then validation points: "point" p < numTrain is train example p, else validation example p - numTrain.
 */
export interface DatasetFacts {
  name: string;
  /** One line for people: what this is and where it came from, e.g. "synthetic (built in)". */
  description: string;
  height: number;
  width: number;
  channels: number;
  numClasses: number;
  classNames: string[];
  numTrain: number;
  numValidation: number;
  /** (numTrain + numValidation) */
  labels: Int32Array;
  /** Per-channel normalisation on the 0..1 scale. */
  mean: number[];
  std: number[];
  /** sha256 over shape, pixels and labels: part of a plan's identity. */
  sha256: string;
}

export interface Dataset extends DatasetFacts {
  /** (numTrain + numValidation, height, width, channels) NHWC */
  pixels: Uint8Array;
  sourceIndices?: Int32Array; // (numTrain) index in the source's own numbering (official CIFAR-10); absent: the same as here
}

/** Bit-packed masks: bit j of row i says that model i was trained on example j. Little-endian bits, rows padded to whole bytes. */
export interface Masks {
  numModels: number;
  numTrain: number;
  /** (numModels, ceil(numTrain / 8)) */
  bits: Uint8Array;
}

export interface ForgetSet {
  name: string;
  /** Sorted train indices, no duplicates. */
  indices: Int32Array;
}

/** How to choose a forget set; the run resolves it to indices. */
export type ForgetSetSpec =
  | { name: string; kind: 'random'; size: number; seed: number }
  /** A relative path counts from the folder of the plan. */
  | { name: string; kind: 'file'; path: string }
  | { name: string; kind: 'principalComponent'; component: number; top: number; bottom: number };

/** Of random sets: NumPy's legacy generator takes 32 bits. */
export const largestForgetSeed = 2 ** 32 - 1;

// ---------------------------------------------------------------- networks

/** A layer reads the outputs of `inputs` (layer names, or "image"); parameters are named "<layer>.weight" and so on. */
export type LayerSpec = { name: string; inputs: string[] } & (
  | { op: 'conv'; outChannels: number; kernel: number; stride: number; pad: number }
  | { op: 'batchNorm'; epsilon: number; momentum: number }
  | { op: 'relu' }
  | { op: 'add' }
  /** stride: size when absent; pad (at most size / 2): 0. Padding never wins, and the windows must reach every pixel. */
  | { op: 'maxPool'; size: number; stride?: number; pad?: number }
  | { op: 'globalMaxPool' }
  | { op: 'globalAveragePool' }
  | { op: 'linear'; outFeatures: number; bias: boolean }
  | { op: 'scale'; factor: number }
);

/** A network as data: layers in topological order, the last one gives the logits. */
export interface NetSpec {
  name: string;
  input: { height: number; width: number; channels: number };
  numClasses: number;
  layers: LayerSpec[];
  /** The bytes of an ONNX file that is the network; `layers` is empty then. Engine "ort" only. */
  onnx?: Uint8Array;
}

/**
 * One tensor inside the flat parameter buffer of a model. Trainable tensors come first, in layer order, then the state
 * (BatchNorm running mean and variance) in layer order, so that [0, numTrainable) is what the optimiser sees.
 */
export interface ParameterTensor {
  /** "conv1.weight", "norm1.gamma", "norm1.beta", "norm1.runningMean", "norm1.runningVariance", "head.weight", "head.bias" */
  name: string;
  /** conv (kernel, kernel, in, out); linear (in, out); vectors (c) */
  shape: number[];
  offset: number;
  size: number;
  trainable: boolean;
}

// ---------------------------------------------------------------- training

/**
 * One loss covers every objective: per example
 * crossEntropy * CE_{labelSmoothing}(z, y) + matchLogits * mean_c (z_c - t_c)^2 + distill * T^2 KL(softmax(t/T) || softmax(z/T)),
 * mean over the batch. Negative weights ascend.
 */
export interface Objective {
  crossEntropy?: number;
  labelSmoothing?: number;
  matchLogits?: number;
  distill?: number;
  temperature?: number;
}

/** A weighted index set: each step draws `batchSize` of its examples; several terms in a pass are summed (two-set sums). */
export interface PassTerm {
  /** Points of the data set, repeats allowed. */
  indices: Int32Array;
  objective: Objective;
  weight: number;
  batchSize: number;
  /** (indices.length, numClasses): targets of matchLogits or teacher logits of distill, row r belongs to indices[r]. */
  targets?: Float32Array;
  /**
   * Redraw this many of `indices` without replacement at each epoch (Algorithm C.1); absent: use all. The first `alwaysIncluded`
   * rows (default 0) are in every epoch and the redraw is over the rows after them: an epoch has alwaysIncluded + samplePerEpoch images.
   */
  samplePerEpoch?: number;
  alwaysIncluded?: number;
}

/**
 * One walk per epoch through the first term's index set in a fresh random order; later terms cycle through theirs beside it.
 * The last partial batch is kept.
 */
export interface Pass {
  terms: PassTerm[];
  /** The pass runs only in epochs [0, activeEpochs); absent: all. SCRUB's maximisation pass uses this. */
  activeEpochs?: number;
  /** 'eval': running statistics are used and stay as they are. */
  batchNorm: 'train' | 'eval';
  /** Of the images of all terms; absent: they are taken as they are. */
  augment?: Augmentation;
}

/** The random stream is written down in native/core/sampler.h. */
export interface Augmentation {
  /** Crops of the image's size from the image padded by so many pixels of the mean colour on every side, at a random place. */
  cropPadding: number;
  /** Every second image, by chance, is mirrored from left to right. */
  flip: boolean;
}

export type Optimizer =
  | { kind: 'sgd'; momentum: number; weightDecay: number }
  | { kind: 'adam'; beta1: number; beta2: number; epsilon: number; weightDecay: number };

/** Learning rate over the whole job, evaluated per step (triangle, cosine) or per epoch (exponential, steps). */
export type Schedule =
  | { kind: 'constant'; learningRate: number }
  /** One linear triangle: 0 -> peak at peakEpoch -> 0 at the last epoch. */
  | { kind: 'triangle'; learningRate: number; peakEpoch: number }
  /** Linear warm-up to the peak, then half a cosine to 0. */
  | { kind: 'cosine'; learningRate: number; peakEpoch: number }
  /** learningRate * factor^epoch */
  | { kind: 'exponential'; learningRate: number; factor: number }
  /** multiplied by factor after each listed epoch count */
  | { kind: 'steps'; learningRate: number; factor: number; atEpochs: number[] };

/** How models are trained from scratch: the recipe of a plan. */
export interface TrainRecipe {
  epochs: number;
  batchSize: number;
  optimizer: Optimizer;
  schedule: Schedule;
  labelSmoothing: number;
  /** Of the training images of the recipe; never of evaluation or unlearning. Absent: none, as in the paper. */
  augment?: Augmentation;
}

/** A training or fine-tuning job as data. Everything random in it is keyed by (seed, modelIndex). */
export interface TrainJob {
  modelIndex: number;
  seed: number;
  epochs: number;
  passes: Pass[];
  optimizer: Optimizer;
  schedule: Schedule;
  /** (numParameters) start from these; absent: initialise from (seed, modelIndex). */
  initialParameters?: Float32Array;
}

/** What to keep of every job of a call. */
export interface TrainOutputs {
  /** Points whose logits are wanted (eval mode). */
  evalPoints: Int32Array;
  /** After which epoch counts; sorted, last one = epochs unless empty; 0 is the model before training. */
  evalEpochs: number[];
  /** Keep the final parameters. */
  parameters: boolean;
}

export type JobStatus = 'trained' | 'diverged';

/** Models of one kind in a plan (subset models, originals, oracles of a forget set): their random streams begin so far apart. */
export const mostModels = 2 ** 24;

export interface TrainResult {
  modelIndex: number;
  status: JobStatus;
  /** First epoch with a non-finite loss, logit or parameter; absent when trained. */
  divergedAtEpoch?: number;
  /** Mean loss of the last epoch run. */
  loss: number;
  /** (evalEpochs.length, evalPoints.length, numClasses) */
  logits: Float32Array;
  /** (numParameters) */
  parameters?: Float32Array;
  /** Images that went through forward and backward. */
  gradientImages: number;
  elapsedMs: number;
}

export interface Progress {
  done: number;
  total: number;
}

export interface RunOptions {
  onProgress?: (progress: Progress) => void;
  signal?: AbortSignal;
  /** 0: all allowed. */
  threads?: number;
}

/** The only place that knows how a network is trained. */
export interface Engine {
  readonly name: string;
  /** Facts for provenance: instruction set, precision, threads. */
  describe(): Record<string, string | number>;
  /** Parameter layout of a network. */
  parameters(net: NetSpec): ParameterTensor[];
  /** Deterministic per job: the same bytes for any number of threads, any order and any grouping of jobs. */
  trainMany(net: NetSpec, dataset: Dataset, jobs: TrainJob[], outputs: TrainOutputs, options?: RunOptions): Promise<TrainResult[]>;
  /** Logits (models, points, numClasses) in eval mode. */
  forwardMany(net: NetSpec, dataset: Dataset, parameters: Float32Array[], points: Int32Array, options?: RunOptions): Promise<Float32Array>;
}

// ---------------------------------------------------------------- datamodels

export const fitStatuses = ['converged', 'unconverged', 'constant', 'nonfinite'] as const;
export type FitStatus = (typeof fitStatuses)[number];

/** Sparse linear datamodels, one per target (CSR): prediction = bias + sum of weights over the examples in the mask. */
export interface Datamodels {
  numTargets: number;
  numTrain: number;
  bias: Float32Array; // (numTargets)
  lambda: Float32Array; // (numTargets)
  gap: Float32Array; // (numTargets) relative duality gap
  status: FitStatus[]; // (numTargets)
  rowStart: Float64Array; // (numTargets + 1) positions in indices and weights
  indices: Int32Array;
  weights: Float32Array;
}

export const fitSelections = ['pooled', 'holdout', 'kfold', 'none'] as const;
/** Folds of 'kfold' unless given. */
export const defaultFolds = 5;
export type FitSelection = (typeof fitSelections)[number];
export const choiceCriteria = ['correlation', 'error'] as const;
/** Means over the targets of a group, on held-out models: correlation of predicted and true outputs, or squared error. */
export type ChoiceCriterion = (typeof choiceCriteria)[number];
/** It has the higher LDS: the Lasso's shrinkage, which a squared error punishes, does not change the order of predictions. */
export const defaultCriterion: ChoiceCriterion = 'correlation';

/** Targets that share one penalty, e.g. the margins of train and those of validation points. */
export interface TargetGroups {
  names: readonly string[];
  of: Uint8Array; // (numTargets) position in names
}

/** What was chosen for the targets of a group together. */
export interface PenaltyChoice {
  group: string;
  /** Lambda as a share of what the attributor measures it by: each target's lambda_max (Lasso), the mean eigenvalue of the Gram matrix (ridge). */
  lambdaRatio?: number;
  /** Of the Lasso; 0: its weights, 1: those of least squares on its support. */
  relaxation?: number;
  /** Factors of what weights are sums of, by name: parts of covariance, members of an ensemble. */
  scales?: Record<string, number>;
  /** Of what an ensemble consists of: what its members chose, by name. */
  members?: Record<string, PenaltyChoice>;
  criterion: string;
  /** Targets of the sample that it was chosen on; 0: none of the group had anything to fit. */
  numSampled: number;
  /** Means over the sample: Pearson correlation on held-out models (where models are held out), squared error as a share of that of zero weights. */
  correlation?: number;
  error: number;
}

/** Of an attributor in attributors/registry.ts, e.g. "lasso"; checked where a plan or a command names it. */
export type AttributorName = string;
export type OptionValue = number | string | boolean | number[] | string[];

/** Complete options of an attributor: which there are, their rules and defaults stand in its declaration. */
export interface FitOptions {
  estimator: AttributorName;
  /** Of what is drawn: held-out models, targets of a sample. */
  seed: number;
  [option: string]: OptionValue | undefined;
}

/** Of "lasso", and of "marginal" but for the relaxation. */
export interface LassoOptions extends FitOptions {
  pathLength: number;
  lambdaMinRatio: number;
  /**
   * 'pooled': one lambda / lambda_max and one relaxation for all targets of a group, by `criterion` on randomly held-out models;
   * 'holdout': lambda per target by squared error on such models; 'kfold': by that over `folds` such splits; 'none': `lambda` or `lambdaRatio`.
   */
  select: FitSelection;
  /** With 'pooled'; absent: defaultCriterion. */
  criterion?: ChoiceCriterion;
  holdoutFraction: number;
  /** With 'kfold'; absent: defaultFolds. */
  folds?: number;
  /** Lambdas to choose from, for all targets alike, in any order; absent: `pathLength` of them below each target's lambda_max. */
  lambdas?: number[];
  /** Fit again at the chosen lambda on all models, so that the reported gap is on all data. 'kfold' always does. */
  refit: boolean;
  /** One lambda for all targets. */
  lambda?: number;
  /** One share of each target's lambda_max. */
  lambdaRatio?: number;
  /**
   * The relaxed Lasso: weights are (1 - relaxation) times the Lasso's plus relaxation times those of least squares on its support.
   * Absent: 'pooled' chooses it, others take 0.
   */
  relaxation?: number;
  /** Penalise weights in units of the standard deviations of their mask columns, instead of all alike. Absent: false. */
  standardise?: boolean;
  gapTolerance: number;
}

// ---------------------------------------------------------------- unlearning

/** Of a method in unlearn/registry.ts, e.g. "dmm"; checked where a plan or a command names it. */
export type MethodName = string;

/** One point of a method's hyper-parameter grid, e.g. { learningRate: 1e-3, epochs: 10 }. */
export type MethodSetting = Record<string, number | string | boolean>;

export interface SplitSummary {
  mean: number;
  p50: number;
  p85: number;
  p95: number;
  p99: number;
}

/**
 * KLOM of one method at one setting on one forget set, over each split; `average`, here and everywhere, is the mean of the three splits'
 * summaries (the paper's), not that of all points.
 */
export interface MethodScore {
  forgetSet: string;
  method: MethodName;
  setting: MethodSetting;
  /** An ablation or another form of the method, in words: has a row of its own. Absent for the method as published. */
  variant?: string;
  /** Gradient work as a fraction of one full retraining. */
  computeFraction: number;
  /** As many models of each side are compared in every score of a run, as N decides the floor; these have not diverged. */
  numUnlearned: number;
  numOracles: number;
  splits: Record<SplitName | 'average', SplitSummary>;
  /** Mean accuracy of the unlearned models on each split, 0..1. */
  accuracy: Record<SplitName, number>;
  numNonFinite: number;
  /** Models that diverged, or whose original had: left out of the scores. Absent: none. */
  numDiverged?: number;
  /** True for the setting this method, or variant of it, is represented by in tables: the chosen one, see SettingChoice. */
  best: boolean;
}

/** What settings are chosen by: 95th percentile averaged over the three splits, or 99th over the forget points (the paper's Table H.1). */
export const tuningCriteria = ['average-p95', 'forget-p99'] as const;
export type TuningCriterion = (typeof tuningCriteria)[number];

export interface TunedSetting {
  setting: MethodSetting;
  variant?: string;
  /** Divergence of margins in nats, see evaluate/tuning.ts; null in JSON where margins are not finite. */
  score: number;
  accuracy: Record<'retain' | 'validation', number>;
  /** The larger loss of the two splits, 0..1, against the lower of doing nothing and retraining. */
  accuracyLost: number;
  keepsAccuracy: boolean;
  /** Models that diverged in this setting, not before it: it is never chosen. Absent: none. */
  numDiverged?: number;
  chosen: boolean;
}

/** How the setting of a method was chosen: never by the oracles that it is scored against. */
export interface SettingChoice {
  method: MethodName;
  criterion: TuningCriterion;
  /** Whose margins were compared: originals that are not scored, the scored originals, or retrained models. */
  models: 'tuning-originals' | 'scored-originals' | 'matched-oracles';
  /** Both: that had not diverged before a setting was tried. */
  numModels: number;
  numOracles: number;
  /** Of originals that are not scored; absent: none. */
  diverged?: DivergedModels[];
  allowedAccuracyLoss: number;
  /** The run of the grid that the chosen setting is a snapshot of. */
  run: number;
  settings: TunedSetting[];
}

// ---------------------------------------------------------------- plans

/** One method in a plan: values per hyper-parameter; their product is the grid. `epochs` values are snapshots of one run. */
export interface MethodPlan {
  method: MethodName;
  /** Absent keys take the method's published default. 'paper' stands for the grid of Appendix D.4. */
  grid: 'paper' | Record<string, (number | string | boolean)[]>;
}

/** An attributor among several of a plan; its name is that of its files and rows, absent in a plan file: the estimator's. */
export interface AttributorPlan extends FitOptions {
  name: string;
  /** It is fitted on the first so many subset models; absent: on all. */
  models?: number;
}

/** A network known by name, with its channel counts divided by `width`; or an ONNX file, whose path counts from the folder of the plan. */
export type PlanNet = { name: string; width: number } | { file: string; sha256: string };

/** An experiment as data, resolved: every default is written out. Machine facts (paths, threads) are not part of it. */
export interface Plan {
  version: 1;
  name: string;
  seed: number;
  data: {
    /** A registered data set, e.g. "cifar10" or "synthetic". */
    name: string;
    /** Examples per class, the first ones in file order; 0 takes all. */
    trainPerClass: number;
    validationPerClass: number;
  };
  net: PlanNet;
  recipe: TrainRecipe;
  subsetModels: { count: number; subsetFraction: number; modelsPerShard: number };
  originals: { count: number };
  /** Scored oracles stand for the truth; matched ones are targets of OM, of tuning and of the floor, and are never scored against. */
  oracles: { scored: number; matched: number };
  /** The one attributor, or several side by side: one of the two is there, see attributors/planned.ts. */
  fit?: FitOptions;
  attributors?: AttributorPlan[];
  /**
   * Fraction of the subset models kept from the fit for the LDS curve, and the numbers of models on the curve. `ceiling`: the masks of these
   * models are trained a second time, with other random numbers, to say what LDS a perfect prediction would have.
   */
  lds: { heldOutFraction: number; numModels: number[]; ceiling?: true };
  forgetSets: ForgetSetSpec[];
  /** The forget set whose matched oracles give `scale: 'calibrated'` its value; absent: nothing is calibrated. */
  calibration?: { forgetSet: string };
  methods: MethodPlan[];
  /**
   * Grids with more than one setting are tuned on `numModels` more originals, which are not scored, against matched oracles; 0: every
   * setting runs on all scored originals.
   */
  tuning: { numModels: number; criterion: TuningCriterion };
  klom: KlomOptions;
}

export const klomVariants = ['default', 'paper-fixed', 'research-code', 'easydub'] as const;
export type KlomVariant = (typeof klomVariants)[number];

export interface KlomOptions {
  variant: KlomVariant;
  bins: number;
  /** Margins are clipped to [-clip, clip]. */
  clip: number;
  /** Probability of a bin that is empty on one side only. */
  epsilon: number;
}

// ---------------------------------------------------------------- report

/** Spearman correlation of predicted and true outputs over held-out masks, summarised over points. */
export interface LdsPoint {
  /** Name of the attributor in the plan. */
  estimator: string;
  numModels: number;
  points: 'train' | 'validation';
  mean: number;
  median: number;
  /** 95 % bootstrap interval of the mean over points. */
  low: number;
  high: number;
  /** Why there is no score (NaN): too few models have trained. */
  reason?: string;
}

/** LDS of a perfect prediction (`lds.ceiling` of a plan): the root of the correlation of two models of each held-out mask. */
export interface LdsCeiling {
  points: 'train' | 'validation';
  mean: number;
  /** 95 % bootstrap interval over points. */
  low: number;
  high: number;
  /** Mean rank correlation of two models of one mask. */
  reliability: number;
  /** With two models that trained. */
  numMasks: number;
}

/** Models of one kind that diverged in training, and are left out wherever models are used. */
export interface DivergedModels {
  /** "subset models", "originals", "scored oracles of random-10" */
  group: string;
  /** That were trained, these included. */
  count: number;
  models: number[];
}

/** KLOM of matched oracles against scored oracles: what a perfect method scores with this many models. */
export interface KlomFloor {
  forgetSet: string;
  numOracles: number;
  /** Held-out oracles that were scored as if unlearned: as many as a method has models. */
  numHeldOut: number;
  measured: Record<SplitName | 'average', SplitSummary>;
  /** Monte-Carlo floor of two samples of one normal distribution with so many models. */
  tabulatedMean: number;
  tabulatedP95: number;
  /** The same where originals share the oracles they are matched to, with all models of the plan; absent where none would. */
  copies?: { numUnlearned: number; numDistinct: number; mean: number; p95: number };
}

/** Margins of one sampled point over models (Figure 4). */
export interface MarginSample {
  forgetSet: string;
  split: 'forget' | 'retain';
  point: number;
  label: string;
  original: number[];
  oracle: number[];
  dmDirect: number[];
}

export interface ReportData {
  version: 2;
  runName: string;
  /** Which data set ran, in words for people. */
  dataDescription: string;
  /** Rows of the run-facts table, in order. */
  facts: { name: string; value: string }[];
  forgetSets: { name: string; size: number }[];
  scores: MethodScore[];
  floors: KlomFloor[];
  /** Of each forget set. */
  unbiased: UnbiasedScores[];
  choices: { forgetSet: string; choices: SettingChoice[] }[];
  /** Of the plan. `curve`: the estimator in `lds` whose curve it is a point of, at so many subset models; isAll: at all of the plan. */
  attributors: { name: string; curve: string; models: number; isAll: boolean }[];
  lds: LdsPoint[];
  /** Absent: not measured. */
  ldsCeilings?: LdsCeiling[];
  marginSamples: MarginSample[];
  /** Of every kind of which some diverged; absent: none. */
  diverged?: DivergedModels[];
  /** Mean accuracy of originals, for the accuracy table. */
  originalAccuracy: { forgetSet: string; accuracy: Record<SplitName, number> }[];
}

/** Content of scores/<forgetSet>.json. */
export interface ForgetSetScores {
  forgetSet: string;
  size: number;
  scores: MethodScore[];
  floor: KlomFloor;
  /** Of the methods with more than one setting; absent in runs of earlier versions. */
  choices?: SettingChoice[];
  originalAccuracy: Record<SplitName, number>;
  marginSamples: MarginSample[];
  /** Absent: none. */
  diverged?: DivergedModels[];
}

/** D_KL(oracle || unlearned) of one setting by two estimates without the bias of KLOM's histogram. */
export interface UnbiasedScore {
  method: MethodName;
  setting: MethodSetting;
  /** Of normal distributions with the moments of both sides; NaN where models are too few, infinite where one side does not vary. */
  gaussian: Record<SplitName | 'average', SplitSummary>;
  /** By distances to the 5th nearest neighbour. */
  neighbours: Record<SplitName | 'average', SplitSummary>;
}

/** Content of scores/unbiased/<forgetSet>.json. */
export interface UnbiasedScores {
  forgetSet: string;
  scores: UnbiasedScore[];
  /** Matched oracles against scored ones. */
  floor: Pick<UnbiasedScore, 'gaussian' | 'neighbours'>;
}

/** Content of scores/lds.json. */
export interface LdsScores {
  lds: LdsPoint[];
  /** Absent: not measured. */
  ceilings?: LdsCeiling[];
  /** Subset models. Absent: none. */
  diverged?: DivergedModels[];
}

// ---------------------------------------------------------------- linear study

/** Order is that of Appendix E.3; the addon numbers methods by position here. */
export const ridgeMethodNames = ['gradient-descent', 'descent-ascent', 'oracle-matching', 'oracle-matching-retain'] as const;
export type RidgeMethodName = (typeof ridgeMethodNames)[number];
export type RidgeBatch = 'full' | 'stochastic';

export interface RidgeSettings {
  /** 1: Section 5, points from N(0, I). 2: Appendix E.4, points from N(0, diag(1/i)). */
  example: 1 | 2;
  dimension: number;
  numTrain: number;
  numForget: number;
  noiseVariance: number;
  /** Small, then large. */
  lambdas: [number, number];
  batchSize: number;
  /** Length of the runs. */
  iterations: Record<RidgeBatch, number>;
  /** Number of repetitions: each has its own data and batches. */
  seeds: number;
  seed: number;
}

/** Quantiles over the repetitions; infinite where they diverged or never arrived. */
export interface RidgeSpread {
  p10: number;
  p50: number;
  p90: number;
}

/** Quantiles of a relative squared distance over iterations. */
export interface RidgeCurve {
  iterations: number[];
  p10: number[];
  p50: number[];
  p90: number[];
}

/** What one step size does; distances are medians over the repetitions. */
export interface RidgeStepResult {
  step: number;
  finalDistance: number;
  lowestDistance: number;
  /** Repetitions that left the tolerance for divergence. */
  numDiverged: number;
}

/** One method in one setting at its best step size; R = |theta_t - theta_*|^2 / |theta_full - theta_*|^2. */
export interface RidgeEntry {
  method: RidgeMethodName;
  /** Weight of the forget gradient (the paper's alpha); descent-ascent only. */
  ascentWeight?: number;
  batch: RidgeBatch;
  lambda: number;
  /** The best step size is 10 / 2^stepHalvings. */
  step: number;
  stepHalvings: number;
  /** False for the weights of descent-ascent that another weight beats. */
  representative: boolean;
  finalDistance: RidgeSpread;
  lowestDistance: RidgeSpread;
  /** First logged iteration with R <= 1e-6. */
  iterationsToTolerance: RidgeSpread;
  numDiverged: number;
  curve: RidgeCurve;
  /** Every step size of the grid, largest first. */
  steps: RidgeStepResult[];
}

/** Figure E.1: stochastic gradient descent at the large lambda, beside its best step size. */
export interface RidgeSpanCurve {
  lambda: number;
  /** 1/4, 1 or 4 times the best step size. */
  factor: number;
  step: number;
  inSpan: RidgeCurve;
  orthogonal: RidgeCurve;
}

/** A statement of the theory held against numbers. */
export interface RidgeCheck {
  name: string;
  statement: string;
  holds: boolean;
  /** What was measured, and what it may be at most or at least: `value` relation `tolerance`. */
  value: number;
  relation: '<=' | '>=' | '=';
  tolerance: number;
  numbers: string;
}

/** A sentence of the paper held against numbers. */
export interface RidgeClaim {
  name: string;
  statement: string;
  holds: boolean;
  numbers: string;
}

/** Facts of the data that the paper states or that explain the curves. */
export interface RidgeGeometry {
  lambda: number;
  /** Share of the squared norm of the forget points, and of theta_* - theta_full, inside the span of the retain points. */
  forgetMassInSpan: RidgeSpread;
  updateMassInSpan: RidgeSpread;
  /** Extreme eigenvalues of X^T X on the span of all points. */
  eigenvalueMin: RidgeSpread;
  eigenvalueMax: RidgeSpread;
}

export interface RidgeStudy {
  version: 1;
  settings: RidgeSettings;
  /** How data were drawn where the paper does not say. */
  choices: string[];
  geometry: RidgeGeometry[];
  entries: RidgeEntry[];
  spanCurves: RidgeSpanCurve[];
  checks: RidgeCheck[];
  claims: RidgeClaim[];
}
