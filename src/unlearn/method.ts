/** What an unlearning method is: facts, hyper-parameters, and a training job or logits. No method has kernels of its own. */
import { LetheError } from '../errors.js';
import { Purpose, Random } from '../native/random.js';
import type { MethodName, MethodSetting, TrainJob, TrainRecipe } from '../types.js';

export type ParameterValue = number | string | boolean;

export interface MethodParameter {
  /** Absent: so is the parameter, unless it is given. */
  default?: ParameterValue;
  description: string;
  /** What is right, in words, when `value` is not; undefined when it is. */
  check: (value: ParameterValue) => string | undefined;
  /** The parameter exists only where the setting has these values; giving it elsewhere is an error. */
  when?: MethodSetting;
}

export type ParameterGrid = Record<string, ParameterValue[]>;

/** What the removal of a forget set changes in every output, predicted by the datamodels. */
export interface ForgetShift {
  /** (points, classes) sum over the forget set of the datamodel weights: what DM-Direct subtracts (C.2). */
  full: Float32Array;
  /** (points, classes) the same with memorisation scores only: a forget point's weight on itself, elsewhere 0 (G.2). */
  diagonal: Float32Array;
}

/** Scales of DM-Direct from a forget set of the plan (G.2); NaN where the shift leaves it open. */
export type CalibratedScale = Record<keyof ForgetShift, number>;

/** One original model and one forget set. "Points" are train points first, then validation points. */
export interface UnlearnInput {
  /** All that is random is keyed by (seed, modelIndex). */
  modelIndex: number;
  seed: number;
  numTrain: number;
  numClasses: number;
  /** Train indices; disjoint from `retain`. */
  forget: Int32Array;
  retain: Int32Array;
  /** (points) */
  labels: Int32Array;
  /** The original diverged: there is nothing to unlearn, and the unlearned model counts as diverged. */
  originalDiverged?: boolean;
  /** (numParameters) */
  originalParameters: Float32Array;
  /** (points, numClasses) eval-mode logits of this original */
  originalLogits: Float32Array;
  /** (points, numClasses) one matched oracle, never one that is scored against; needs.matchedOracles */
  matchedOracleLogits?: Float32Array;
  /** (points, numClasses) mean over the matched oracles, for `oracleTargets: 'mean'` */
  meanOracleLogits?: Float32Array;
  /** needs.datamodels; of the attributor that the setting names */
  shift?: ForgetShift;
  /** For `scale: 'calibrated'`: of the same attributor. */
  calibratedScale?: CalibratedScale;
  /** How originals and oracles are trained. */
  recipe: TrainRecipe;
}

/** Sizes that the cost of a method depends on. */
export interface UnlearnSizes {
  numForget: number;
  numRetain: number;
  recipeEpochs: number;
}

interface MethodFacts {
  name: MethodName;
  /** In tables and figures, and when commands talk about it. */
  label: string;
  /** A colour and a vega symbol name or an SVG path, for figures: methods stay apart in grey print too. Colours: report/style.ts. */
  mark: { color: string; shape: string };
  /** With the paper's section. */
  description: string;
  parameters: Record<string, MethodParameter>;
  /** The grid of Appendix D.4, or the published setting where the paper sweeps nothing. */
  paperGrid: (recipe: TrainRecipe) => ParameterGrid;
  /** Published settings by name. */
  presets: Record<string, MethodSetting>;
  needs: { matchedOracles: boolean; datamodels: boolean };
  /** Shows what there is to gain or what can be reached: others are compared with it, it does not compete. */
  isBound?: boolean;
  /** Plans that list no methods run without it, as they did before it came. */
  onlyListed?: boolean;
  /** In words, where the setting makes an ablation or another form of the method: it is chosen and shown apart. */
  variant?: (setting: MethodSetting) => string | undefined;
  /**
   * Gradient images after `atEpoch` epochs as a fraction of one full retraining (numRetain * recipeEpochs). An image that only goes
   * forward to make a target (teacher, oracle, datamodel start) counts one third of a gradient image, once per distinct image.
   * The setting must be complete.
   */
  computeFraction: (sizes: UnlearnSizes, setting: MethodSetting, atEpoch: number) => number;
}

/** Fine-tunes the original. */
export interface JobMethod extends MethodFacts {
  kind: 'job';
  buildJob: (input: UnlearnInput, setting: MethodSetting) => TrainJob;
}

/**
 * A model trained without the forget set, the original is not used: read from snapshots of the matched oracles, or from shorter
 * retrainings of the same forget set.
 */
export interface ReferenceMethod extends MethodFacts {
  kind: 'reference';
  /** Of models of its own, a run for each length. Undefined or absent: it is read from snapshots of the matched oracles. */
  ownRecipe?: (recipe: TrainRecipe, setting: MethodSetting) => TrainRecipe | undefined;
}

/** Gives logits without training. */
export interface DirectMethod extends MethodFacts {
  kind: 'direct';
  /** (points, numClasses) */
  logits: (input: UnlearnInput, setting: MethodSetting) => Float32Array;
}

export type UnlearnMethod = JobMethod | ReferenceMethod | DirectMethod;

/** Forward costs about a third of forward + backward. */
export const forwardCost = 1 / 3;

/**
 * The two sets must share nothing: a retain set with forget points in it would leak what is to be forgotten into every method.
 * @throws LETHE_FORGET_SET_INVALID
 */
export function checkSets(input: Pick<UnlearnInput, 'numTrain' | 'forget' | 'retain'>): void {
  const seen = new Uint8Array(input.numTrain);
  for (const [name, indices] of [
    ['forget', input.forget],
    ['retain', input.retain],
  ] as const) {
    if (indices.length === 0) invalid(`a ${name} set with at least one point`, 'none');
    for (const index of indices) {
      if (index < 0 || index >= input.numTrain) invalid(`train indices below ${input.numTrain}`, `${index} in the ${name} set`);
      if (seen[index]) invalid('disjoint forget and retain sets without repeats', `point ${index} twice`);
      seen[index] = 1;
    }
  }
}

function invalid(expected: string, received: string): never {
  throw new LetheError('LETHE_FORGET_SET_INVALID', 'the forget set cannot be unlearned', {
    expected,
    received,
    action: 'Choose another forget set.',
  });
}

/** Rows `points` of a (points, numClasses) matrix. */
export function gatherRows(matrix: Float32Array, numClasses: number, points: Int32Array): Float32Array {
  const rows = new Float32Array(points.length * numClasses);
  points.forEach((point, row) => {
    rows.set(matrix.subarray(point * numClasses, (point + 1) * numClasses), row * numClasses);
  });
  return rows;
}

/** The random stream of the retain sample, apart from the engine's own draws. */
const retainStream = 0x4f4d;

/** A uniform sample by a Fisher-Yates walk that stops early; depends on (seed, modelIndex) and the retain set only. */
export function sampleRetain(input: Pick<UnlearnInput, 'seed' | 'modelIndex' | 'retain'>, count: number): Int32Array {
  const random = new Random(input.seed, Purpose.subset, input.modelIndex, retainStream);
  const pool = Int32Array.from(input.retain);
  for (let i = 0; i < count; i++) {
    const j = i + random.below(pool.length - i);
    const chosen = pool[j]!;
    pool[j] = pool[i]!;
    pool[i] = chosen;
  }
  return pool.slice(0, count);
}
