/** What the numbers say, in sentences made from them: also where a method fails. */
import type { MethodScore, ReportData, SplitName } from '../types.js';
import { doNothing, trainsOnOracles, unlearnMethod } from '../unlearn/registry.js';
import { fixed, fraction, listed, plural } from './format.js';
import { bestByRow, median } from './manySets.js';
import { bestScores, floorOf, rowName } from './scores.js';

/** Closer than this to doing nothing is called "about level": a statement about size, not a test of significance. */
const tolerance = 0.1;
/** Fewer models than this leave a floor above 0.3 nats on average (two equal normal samples, 20 bins). */
const enoughModels = 100;

const nameOf = rowName;
const p95 = (score: MethodScore, split: SplitName | 'average'): number => score.splits[split].p95;

/** One list of sentences per forget set, in order. */
export function summarise(data: ReportData): { forgetSet: string; sentences: string[] }[] {
  return data.forgetSets.map(({ name }) => {
    const scores = bestScores(data, name);
    return { forgetSet: name, sentences: [...aboutForgetting(data, name, scores), ...aboutDamage(scores), ...caveats(data, name, scores)] };
  });
}

interface Comparison {
  below: MethodScore[];
  level: MethodScore[];
  above: MethodScore[];
  unscored: MethodScore[];
}

function compare(scores: readonly MethodScore[], split: SplitName | 'average', reference: number): Comparison {
  const result: Comparison = { below: [], level: [], above: [], unscored: [] };
  for (const score of [...scores].sort((a, b) => p95(a, split) - p95(b, split))) {
    const value = p95(score, split);
    if (!Number.isFinite(value)) result.unscored.push(score);
    else if (value < reference * (1 - tolerance)) result.below.push(score);
    else if (value > reference * (1 + tolerance)) result.above.push(score);
    else result.level.push(score);
  }
  return result;
}

const isApproximate = ({ method }: MethodScore): boolean => unlearnMethod(method).isBound !== true;
const approximate = (scores: readonly MethodScore[]): MethodScore[] => scores.filter(isApproximate);

/** A sentence a method over many forget sets: on how many it helps, and what it costs. */
export function summariseAll(data: ReportData): string[] {
  const nothing = new Map(
    data.scores.filter(({ method, best }) => method === doNothing.name && best).map((score) => [score.forgetSet, score]),
  );
  const medianOf = (scores: readonly MethodScore[]): string => fixed(median(scores.map((score) => p95(score, 'forget'))), 2);
  const sets = data.forgetSets.length;
  const floors = data.floors.map(({ measured }) => measured.forget.p95);
  const sentences = [
    `Doing nothing leaves the forget points at a KLOM of ${medianOf([...nothing.values()])} (95th percentile, median over ${sets} forget sets)` +
      (floors.length > 0 ? `; retrained models score ${fixed(median(floors), 2)} against each other, which is the floor.` : '.'),
  ];
  for (const [name, own] of bestByRow(data)) {
    if (!isApproximate(own[0]!)) continue;
    const paired = own.flatMap((score) => (nothing.has(score.forgetSet) ? [[score, nothing.get(score.forgetSet)!] as const] : []));
    const count = (holds: (score: MethodScore, reference: MethodScore) => boolean): number =>
      paired.filter(([score, reference]) => holds(score, reference)).length;
    const closer = count((score, reference) => p95(score, 'forget') < p95(reference, 'forget') * (1 - tolerance));
    const harm = count((score, reference) =>
      (['retain', 'validation'] as const).some((split) => p95(score, split) > p95(reference, split) * (1 + tolerance)),
    );
    sentences.push(
      `${name}: ${medianOf(own)} (compute ${fraction(median(own.map((score) => score.computeFraction)))}); more than 10 % closer to retrained models than doing nothing ` +
        `on ${closer} of ${paired.length} forget sets, more than 10 % further away on retain or validation points on ${harm}.`,
    );
  }
  return sentences;
}

function aboutForgetting(data: ReportData, forgetSet: string, scores: readonly MethodScore[]): string[] {
  const nothing = scores.find((score) => score.method === doNothing.name);
  const others = approximate(scores);
  if (nothing === undefined || !Number.isFinite(p95(nothing, 'forget')))
    return ['Doing nothing was not scored, so nothing can be said about what the other methods gain.'];
  const reference = p95(nothing, 'forget');
  const floor = floorOf(data, forgetSet)?.measured.forget.p95;
  const sentences = [
    `Doing nothing leaves the forget points at a KLOM of ${fixed(reference, 2)} (95th percentile)` +
      (floor === undefined
        ? '; no floor was measured.'
        : `; retrained models score ${fixed(floor, 2)} against each other, which is the floor. Compute is gradient work as a fraction of one full retraining.`),
  ];
  if (others.length === 0) return [...sentences, 'No approximate method was scored.'];
  const { below, level, above, unscored } = compare(others, 'forget', reference);
  const withNumbers = (list: MethodScore[]): string =>
    listed(list.map((score) => `${nameOf(score)} (${fixed(p95(score, 'forget'), 2)}, compute ${fraction(score.computeFraction)})`));
  sentences.push(
    below.length === 0
      ? 'No approximate method does better than doing nothing on the forget points.'
      : `Closer to retrained models than doing nothing: ${withNumbers(below)}.`,
  );
  if (level.length > 0) sentences.push(`About level with doing nothing (within 10 %): ${withNumbers(level)}.`);
  if (above.length > 0) sentences.push(`Worse than doing nothing: ${withNumbers(above)}.`);
  if (unscored.length > 0) sentences.push(`Without a finite score: ${listed(unscored.map(nameOf))}.`);
  const best = below[0];
  if (best !== undefined && floor !== undefined && floor > 0)
    sentences.push(`The closest, ${nameOf(best)}, is at ${fixed(p95(best, 'forget') / floor, 1)} times the floor.`);
  const matching = scores.find(({ method }) => trainsOnOracles(unlearnMethod(method)));
  if (matching !== undefined)
    sentences.push(
      `For comparison: ${withNumbers([matching])} is trained on retrained models, so it shows what matching can reach and does not compete.`,
    );
  return sentences;
}

/** Retain and validation points: unlearning must not move them away from where retraining would leave them. */
function aboutDamage(scores: readonly MethodScore[]): string[] {
  const nothing = scores.find((score) => score.method === doNothing.name);
  const others = approximate(scores);
  if (nothing === undefined || others.length === 0) return [];
  const damaged = (['retain', 'validation'] as const).flatMap((split) => {
    const reference = p95(nothing, split);
    const { above } = compare(others, split, reference);
    if (!Number.isFinite(reference) || above.length === 0) return [];
    const list = listed(above.map((score) => `${nameOf(score)} (${fixed(p95(score, split), 2)})`));
    return [`Side effect on the ${split} points, more than 10 % above doing nothing (${fixed(reference, 2)}): ${list}.`];
  });
  return damaged.length > 0
    ? damaged
    : ['No method takes the retain or validation points more than 10 % further from retrained models than doing nothing leaves them.'];
}

function caveats(data: ReportData, forgetSet: string, scores: readonly MethodScore[]): string[] {
  const sentences: string[] = [];
  const fewest = scores.reduce((least, score) => Math.min(least, score.numUnlearned, score.numOracles), Infinity);
  if (fewest < enoughModels)
    sentences.push(
      `Only ${plural(fewest, 'model')} on a side: the floor is high and small differences cannot be seen; use at least ${enoughModels}.`,
    );
  const diverged = data.scores.filter((score) => score.forgetSet === forgetSet && score.numDiverged !== undefined).length;
  if (diverged > 0)
    sentences.push(`${plural(diverged, 'setting')} had models that diverged, or whose original had; they are left out of the scores.`);
  const nonFinite = data.scores.filter((score) => score.forgetSet === forgetSet && score.numNonFinite > 0).length;
  if (nonFinite > 0)
    sentences.push(
      `${plural(nonFinite, 'setting')} gave margins that are not finite; they are counted in tables/klom.csv and never binned.`,
    );
  return sentences;
}
