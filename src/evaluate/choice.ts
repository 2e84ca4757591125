/** Choosing among the settings of a method: which models are compared, and what is kept of the choice. */
import { leastTuningModels } from '../jobs/planCounts.js';
import type { TaskContext } from '../jobs/task.js';
import type { MethodName, MethodSetting, SettingChoice, SplitName } from '../types.js';
import { splitAccuracy } from './accuracy.js';
import { numPointsOf, type Outputs, takeRows } from './outputs.js';
import { allowedAccuracyLoss, type Candidate, chooseSettings, tuningScore } from './tuning.js';

/** A method's runs as evaluation sees them; unlearn/ knows the method behind. */
export interface ScoredMethod {
  method: MethodName;
  /** 'reference' methods are read from the matched oracles. */
  kind: 'job' | 'direct' | 'reference';
  tuned: boolean;
  /** Its targets are matched oracles. */
  trainsOnOracles: boolean;
  runs: { setting: MethodSetting; evalEpochs: number[] }[];
  /** Settings of the snapshots of a run, in the order of evalEpochs. */
  snapshotSettings(run: number): MethodSetting[];
  /** See MethodScore.variant. */
  variant(setting: MethodSetting): string | undefined;
  /** Epochs of the models that a run of a reference method trains with a compressed recipe; undefined where it reads matched oracles. */
  compressedTo(run: number): number | undefined;
  /** As a fraction of full retraining after `epochs` of run `run`, for a forget set of this size. */
  computeFraction(run: number, epochs: number, numForget: number): number;
}

/**
 * Oracles that none of these originals is matched to: matching them exactly would look better than it is. All, where too few are left for
 * their variance.
 */
export function unmatchedOracles(oracles: Outputs, originals: { first: number; end: number }, numPoints: number): Outputs {
  const count = oracles.models.length;
  const used = new Set(Array.from({ length: originals.end - originals.first }, (_, i) => (originals.first + i) % count));
  const left = Array.from({ length: count }, (_, oracle) => oracle).filter((oracle) => !used.has(oracle));
  return left.length >= leastTuningModels ? takeRows(oracles, left, numPoints) : oracles;
}

/** What settings are judged by. */
export interface Comparison {
  context: TaskContext;
  splits: Record<SplitName, Int32Array>;
  /** Retrained models, never scored ones. */
  oracles: Outputs;
  /** Originals. */
  nothing: Outputs;
  /** Models that diverged before a setting was tried on them, by their places: says nothing about a setting. */
  lost: readonly number[];
}

export type JudgedCandidate = Candidate & { run: number };

/** A setting in which other models diverge than those lost before is never chosen: its score is infinite. */
export async function judge(
  { context, splits, oracles, lost }: Comparison,
  method: ScoredMethod,
  setting: MethodSetting,
  { models, margins, predicted, diverged }: Outputs,
): Promise<Candidate> {
  const { plan, dataset } = context;
  const { retain, validation } = splitAccuracy({ predicted, labels: dataset.labels }, splits);
  const input = { oracleMargins: oracles.margins, unlearnedMargins: margins, numPoints: numPointsOf(context) };
  const variant = method.variant(setting);
  const numDiverged = diverged.filter((model) => !lost.includes(model)).length;
  const measured = models.length > 0 && oracles.models.length > 0;
  const score = measured ? await tuningScore(input, splits, plan.tuning.criterion) : NaN;
  return {
    setting,
    ...(variant === undefined ? {} : { variant }),
    score: numDiverged > 0 ? Infinity : score,
    accuracy: { retain, validation },
    ...(numDiverged > 0 ? { numDiverged } : {}),
  };
}

/** The run goes on that has the chosen setting of the method as published; an ablation's only where there is no other. */
export function choose(
  { context, splits, oracles, nothing }: Comparison,
  { method }: ScoredMethod,
  candidates: JudgedCandidate[],
  compared: Pick<SettingChoice, 'models' | 'numModels' | 'diverged'>,
): SettingChoice {
  const { labels } = context.dataset;
  const reference = [nothing, oracles].map(({ predicted }) => splitAccuracy({ predicted, labels }, splits));
  const settings = chooseSettings(candidates, reference);
  const chosen = settings.findIndex((each) => each.chosen && each.variant === undefined);
  const run = candidates[chosen < 0 ? settings.findIndex((each) => each.chosen) : chosen]?.run ?? 0;
  return {
    method,
    criterion: context.plan.tuning.criterion,
    ...compared,
    numOracles: oracles.models.length,
    allowedAccuracyLoss,
    run,
    settings: settings.map(({ setting, variant, score, accuracy, accuracyLost, keepsAccuracy, numDiverged, chosen: isChosen }) => ({
      setting,
      ...(variant === undefined ? {} : { variant }),
      score,
      accuracy,
      accuracyLost,
      keepsAccuracy,
      ...(numDiverged === undefined ? {} : { numDiverged }),
      chosen: isChosen,
    })),
  };
}

/** Retrained models are compared with others than themselves: those before place `end` of the matched oracles with the rest. */
export function halves(comparison: Comparison, numPoints: number): Comparison & { end: number | undefined } {
  const { oracles } = comparison;
  const lost = oracles.diverged;
  if (oracles.models.length < 2) return { ...comparison, lost, end: undefined };
  const half = oracles.models.length >> 1;
  const rest = oracles.models.map((_, row) => row).slice(half);
  return { ...comparison, lost, oracles: takeRows(oracles, rest, numPoints), end: oracles.models[half]! };
}

/** Models before place `end`; those that diverged too. */
export function modelsBefore(outputs: Outputs, end: number, numPoints: number): Outputs {
  const rows = [...outputs.models.keys()].filter((row) => outputs.models[row]! < end);
  return { ...takeRows(outputs, rows, numPoints), diverged: outputs.diverged.filter((model) => model < end) };
}

/** Methods without epochs store their one result as epoch 0. */
export function snapshotEpochs(evalEpochs: number[]): number[] {
  return evalEpochs.length > 0 ? evalEpochs : [0];
}
