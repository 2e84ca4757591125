/** Sentences below tables of KLOM: what holds for all forget sets, and what for one. */
import type { MethodScore, ReportData, SettingChoice, TuningCriterion } from '../types.js';
import { methodNames, trainsOnOracles, unlearnMethod } from '../unlearn/registry.js';
import { fixed, listed } from './format.js';
import { bestScores, describeModels, describeSetting, methodsIn, rowName } from './scores.js';

export const criteria: Record<TuningCriterion, string> = {
  'average-p95': '95th percentile, average of the three splits',
  'forget-p99': '99th percentile over the forget points',
};

/** N, floor, and how settings were chosen. */
export function sharedNotes(data: ReportData): string[] {
  if (data.forgetSets.length === 0) return [];
  const [floor] = data.floors;
  const copies = floor?.copies;
  const matching = data.scores.some(({ method }) => trainsOnOracles(unlearnMethod(method)));
  return [
    `${describeModels(data)}. KLOM in nats, 0 is perfect; the average is that of the three splits' numbers; compute as a fraction of one full retraining.`,
    floor === undefined
      ? 'No floor was measured.'
      : `Floor: ${floor.numOracles} oracle models against ${floor.numHeldOut} held-out ones; two samples of one normal distribution with so many models score ` +
        `${fixed(floor.tabulatedMean, 2)} (p95 ${fixed(floor.tabulatedP95, 2)}). A score at the floor cannot be told from retraining.` +
        (matching ? matchingFloor(data) : ''),
    ...(copies === undefined
      ? []
      : [
          `${copies.numUnlearned} originals matched to ${copies.numDistinct} oracles in turn would have another floor, ` +
            `${fixed(copies.mean, 2)} (p95 ${fixed(copies.p95, 2)}): only as many are scored as there are oracles.`,
        ]),
    ...choiceNotes(data),
  ];
}

/** Originals are matched to matched oracles in turn. */
function matchingFloor({ forgetSets, diverged = [], scores }: ReportData): string {
  const compared = scores.reduce((most, { numUnlearned, numDiverged = 0 }) => Math.max(most, numUnlearned + numDiverged), 0);
  const shared = forgetSets.filter(({ name }) => {
    const lost = diverged.find(({ group }) => group === `matched oracles of ${name}`);
    return lost !== undefined && lost.count - lost.models.length < compared;
  });
  return shared.length === 0
    ? ' Oracle matching has the same: each original is matched to a held-out oracle of its own.'
    : ` Oracle matching has a higher one on ${listed(shared.map(({ name }) => name))}: some matched oracles diverged, and originals share those that are left.`;
}

/** Where a setting was chosen by other numbers than those beside it. */
function choiceNotes(data: ReportData): string[] {
  const all = data.choices.flatMap(({ choices }) => choices);
  if (all.length === 0) {
    const several = data.scores.some(({ best }) => !best);
    return several ? ['The settings were chosen by the scored oracles themselves, as in earlier versions: their numbers are too low.'] : [];
  }
  const groups = new Map<string, SettingChoice[]>();
  for (const choice of all) {
    const key = comparedIn(choice);
    groups.set(key, [...(groups.get(key) ?? []), choice]);
  }
  const sentences = [...groups].map(([compared, own]) => {
    const methods = methodNames.filter((name) => own.some(({ method }) => method === name));
    return `Settings of ${listed(methods.map((method) => unlearnMethod(method).label))}: chosen on ${compared}.`;
  });
  const points = (100 * all[0]!.allowedAccuracyLoss).toFixed(0);
  return [
    ...sentences,
    `No choice saw the scored oracles. A setting that loses more than ${points} points of accuracy on the retain or validation points is chosen only where all do.`,
  ];
}

function comparedIn({ models, numModels, numOracles, criterion }: SettingChoice): string {
  const which: Record<SettingChoice['models'], string> = {
    'tuning-originals': `${numModels} originals that are not scored`,
    'scored-originals': `the ${numModels} scored originals`,
    'matched-oracles': `${numModels} of the retrainings that are scored`,
  };
  return `${which[models]}, against ${numOracles} matched oracles (divergence of margins, ${criteria[criterion]})`;
}

/** Settings and oddities of one forget set. */
export function ownNotes(data: ReportData, forgetSet: string, scores: readonly MethodScore[]): string[] {
  const notes: string[] = [];
  const settings = scores.filter((score) => Object.keys(score.setting).length > 0);
  if (settings.length > 0)
    notes.push(`Settings: ${settings.map((score) => `${rowName(score)} (${describeSetting(score.setting)})`).join('; ')}.`);
  const choices = data.choices.find((each) => each.forgetSet === forgetSet)?.choices ?? [];
  const lossy = choices.flatMap(({ method, settings: all }) =>
    all
      .filter((each) => each.chosen && !each.keepsAccuracy)
      .map((each) => `${rowName({ method, ...each })} (${fixed(100 * each.accuracyLost, 1)})`),
  );
  if (lossy.length > 0) notes.push(`No setting keeps the accuracy; points lost at the chosen one: ${listed(lossy)}.`);
  const nonFinite = scores.filter((score) => score.numNonFinite > 0);
  if (nonFinite.length > 0)
    notes.push(
      `Non-finite margins are counted and not scored: ${listed(nonFinite.map((score) => `${rowName(score)} ${score.numNonFinite}`))}.`,
    );
  const diverged = scores.filter((score) => score.numDiverged !== undefined);
  if (diverged.length > 0)
    notes.push(
      `Models that diverged, or whose original had, are left out: ${listed(diverged.map((score) => `${rowName(score)} ${score.numDiverged}`))}.`,
    );
  const chosen = new Set(bestScores(data, forgetSet).map((score) => score.method));
  const unchosen = methodsIn(data, forgetSet).filter((method) => !chosen.has(method));
  if (unchosen.length > 0)
    notes.push(`Scored, but no setting could be chosen: ${listed(unchosen.map((method) => unlearnMethod(method).label))}.`);
  return notes;
}
