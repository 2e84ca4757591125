/** What an attributor is: facts, options with their rules, and a design that fits blocks of targets. It gives a linear model a target. */
import type { NativeDesign, NativeFits } from '../native/types.js';
import type { AttributorName, FitOptions, Masks, OptionValue, PenaltyChoice, RunOptions, TargetGroups } from '../types.js';

export interface AttributorOption {
  /** How it is read from a command line; numbers and words are several with commas between them. */
  kind: 'number' | 'word' | 'truth' | 'numbers' | 'words';
  /** Absent, or undefined for what was `given`: the option stays absent. `complete`: the options before it in the order of declaration. */
  default?: OptionValue | ((given: Partial<FitOptions>, complete: FitOptions) => OptionValue | undefined);
  /** For help. */
  description: string;
  /** What is right, in words, when `value` is not; undefined when it is. */
  check: (value: unknown) => string | undefined;
  /** The words that `check` takes, where it takes words. */
  words?: readonly string[];
}

/** An option that others, or the number of models, do not allow. */
export interface OptionMistake {
  option: string;
  expected: string;
  received: string;
  action?: string;
}

/** What an attributor works from. */
export type AttributorNeed = 'subset-outputs' | 'train-margins' | 'originals' | 'checkpoints' | 'gradients';

/** What it needs by name; more as attributors need more. */
export interface AttributionSource {
  /** Of the models whose outputs are fitted. */
  masks: Masks;
  /** Absent: nothing is known of targets but their outputs. */
  points?: TargetPoints;
}

/** What targets are: outputs of points, the train examples first, in the order of the masks. */
export interface TargetPoints {
  /** (points) */
  labels: Int32Array;
  /** Targets of a point: all its logits, or 1, its margin. Target t is of point t / targetsPerPoint. */
  targetsPerPoint: number;
  /** (numModels, numTrain) margins of the train examples under the models of the masks. */
  trainMargins: () => Promise<Float32Array>;
}

export interface Attributor {
  name: AttributorName;
  /** In tables and figures. */
  title: string;
  /** A colour and a vega symbol name, for figures. */
  mark: { color: string; shape: string };
  /** For help. */
  description: string;
  needs: (options: FitOptions) => readonly AttributorNeed[];
  devices: readonly ('cpu' | 'cuda')[];
  /** Every example has a weight of every target. */
  isDense: (options: FitOptions) => boolean;
  /** `seed` among them. */
  options: Record<string, AttributorOption>;
  /** Rules between options. numModels: of the smallest fit. */
  rules: (options: FitOptions, numModels: number) => Iterable<OptionMistake>;
  /** The attributor beside which it stands in every LDS, with the options that both have: for comparison. */
  baselineOf?: AttributorName;
  /** Whether something is chosen for many targets together before any is fitted. */
  isPooled: (options: FitOptions) => boolean;
  /** Options in words, for the facts of a report. */
  describe: (options: FitOptions) => string;
  /** Of one target, in gradient images, so that one progress bar serves all stages. */
  cost: (options: FitOptions, numModels: number) => number;
  /** The design that all targets of a fit share; options are checked. */
  open: (source: AttributionSource, options: FitOptions, where: DesignOptions) => Design;
}

export interface DesignOptions {
  /** That will be fitted in all: tables of Gram counts pay for many only. */
  numTargets: number;
  /** Memory for these tables. */
  gramBytes?: number;
  /** 0: all allowed. */
  threads?: number;
  /** Where fits run: 'cuda' uses every GPU there is. Default: cpu. */
  device?: 'cpu' | 'cuda';
}

/** Targets of one call. */
export interface DesignBlock {
  /** Number of the first one, where they follow one another; absent: 0. */
  first?: number;
  /** Their numbers, where they do not. */
  sample?: Int32Array;
  /** (numModels, numTargets) */
  outputs: Float32Array;
  numTargets: number;
  /** (numModels, numTargets / targetsPerRowWeight) */
  rowWeights?: Uint8Array;
  targetsPerRowWeight: number;
}

/** A block of sampled targets. */
export type SampleBlock = DesignBlock & { sample: Int32Array };

/** Of the target at a position of a block. */
export function numberOf({ first = 0, sample }: DesignBlock, position: number): number {
  return sample ? sample[position]! : first + position;
}

export interface Design {
  numModels: number;
  numTrain: number;
  options: FitOptions;
  /** Attributor.isPooled: every fit must be given its choices. */
  pooled: boolean;
  /** Models that choose what is chosen, ascending; none where nothing is, or by another way. */
  heldOut: Int32Array;
  /** What a pooled choice is made on, in words: "40 held-out models". */
  chosenOn: string;
  /** What was chosen, in words: "lambda 0.2 of lambda_max". */
  describeChoice: (choice: PenaltyChoice) => string;
  /** Where it is computed, for records: "cuda", "cpu-avx2". */
  backend: string;
  /**
   * A target's fit depends on its own column and choice only. `chosen`: of each target, where that was chosen for many together. Progress
   * counts targets. @throws LETHE_TASK_ABORTED
   */
  fit(block: DesignBlock, run?: RunOptions, chosen?: readonly PenaltyChoice[]): Promise<NativeFits>;
  /** One choice a group, in the order of their names. @throws LETHE_TASK_ABORTED (75) */
  choose(sample: SampleBlock, groups: TargetGroups | undefined, run?: RunOptions): Promise<PenaltyChoice[]>;
  /** What the solver holds beside a block's outputs and results, where targets end with `weightsPerTarget` weights; more take more. */
  memoryBytes: number;
  /** Weights of a target to reckon with. */
  weightsPerTarget: number;
  /** Targets of a call that are worth it: one that is lost when the fit is stopped should not be hours of work. */
  mostTargets: number;
  /** Where the Gram counts of the fits so far came from; undefined before the first, and where there are none. */
  gram(): NativeDesign['gram'] | undefined;
}
