/** Choosing among the settings of a method: which models are compared, and what is kept of the choice. */
import { leastTuningModels } from '../store/planCounts.js';
import type { TaskContext } from '../jobs/task.js';
import type { MethodName, MethodSetting, SettingChoice, SplitName } from '../types.js';
import { splitAccuracy } from './accuracy.js';
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

/** Of some models. */
export interface Margins {
  /** (models, points) */
  margins: Float32Array;
  /** (models, points) */
  predicted: Uint8Array;
}

export function takeRows({ margins, predicted }: Margins, rows: number[], numPoints: number): Margins {
  const taken = { margins: new Float32Array(rows.length * numPoints), predicted: new Uint8Array(rows.length * numPoints) };
  rows.forEach((row, i) => {
    taken.margins.set(margins.subarray(row * numPoints, (row + 1) * numPoints), i * numPoints);
    taken.predicted.set(predicted.subarray(row * numPoints, (row + 1) * numPoints), i * numPoints);
  });
  return taken;
}

export function numPointsOf({ dataset }: Pick<TaskContext, 'dataset'>): number {
  return dataset.numTrain + dataset.numValidation;
}

/**
 * Oracles that none of these originals is matched to: matching them exactly would look better than it is. All, where too few are left for
 * their variance.
 */
export function unmatchedOracles(oracles: Margins, originals: { first: number; end: number }, numPoints: number): Margins {
  const count = oracles.margins.length / numPoints;
  const used = new Set(Array.from({ length: originals.end - originals.first }, (_, i) => (originals.first + i) % count));
  const left = Array.from({ length: count }, (_, oracle) => oracle).filter((oracle) => !used.has(oracle));
  return left.length >= leastTuningModels ? takeRows(oracles, left, numPoints) : oracles;
}

/** What settings are judged by. */
export interface Comparison {
  context: TaskContext;
  splits: Record<SplitName, Int32Array>;
  /** Retrained models, never scored ones. */
  oracles: Margins;
  /** Originals. */
  nothing: Margins;
}

export type JudgedCandidate = Candidate & { run: number };

export async function judge(
  { context, splits, oracles }: Comparison,
  method: ScoredMethod,
  setting: MethodSetting,
  { margins, predicted }: Margins,
): Promise<Candidate> {
  const { plan, dataset } = context;
  const numPoints = numPointsOf(context);
  const { retain, validation } = splitAccuracy({ predicted, labels: dataset.labels }, splits);
  const input = { oracleMargins: oracles.margins, unlearnedMargins: margins, numPoints };
  const variant = method.variant(setting);
  return {
    setting,
    ...(variant === undefined ? {} : { variant }),
    score: await tuningScore(input, splits, plan.tuning.criterion),
    accuracy: { retain, validation },
  };
}

/** The run goes on that has the chosen setting of the method as published; an ablation's only where there is no other. */
export function choose(
  { context, splits, oracles, nothing }: Comparison,
  { method }: ScoredMethod,
  candidates: JudgedCandidate[],
  compared: Pick<SettingChoice, 'models' | 'numModels'>,
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
    numOracles: oracles.margins.length / numPointsOf(context),
    allowedAccuracyLoss,
    run,
    settings: settings.map(({ setting, variant, score, accuracy, accuracyLost, keepsAccuracy, chosen: isChosen }) => ({
      setting,
      ...(variant === undefined ? {} : { variant }),
      score,
      accuracy,
      accuracyLost,
      keepsAccuracy,
      chosen: isChosen,
    })),
  };
}

/** Retrained models are compared with others than themselves: the first half of the matched oracles with the second. */
export function halves(comparison: Comparison, numPoints: number): Comparison & { rows: number[] | undefined } {
  const all = Array.from({ length: comparison.oracles.margins.length / numPoints }, (_, row) => row);
  if (all.length < 2) return { ...comparison, rows: undefined };
  const half = all.length >> 1;
  return { ...comparison, oracles: takeRows(comparison.oracles, all.slice(half), numPoints), rows: all.slice(0, half) };
}
