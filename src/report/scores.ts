/** Small questions asked of the scores by every figure and table. */
import { methodNames, splitNames } from '../types.js';
import type { KlomFloor, MethodName, MethodScore, MethodSetting, ReportData, SplitName } from '../types.js';

/** The average of the three splits goes first, as in the paper's Figure 1. */
export const panelSplits = ['average', ...splitNames] as const;
export type PanelSplit = SplitName | 'average';

export const percentiles = ['p50', 'p85', 'p95', 'p99'] as const;

/**
 * The items that no other item dominates, by rising cost. An item is dominated by one that costs no more and loses no more and is
 * better in one of the two; of equal items one is kept. Items that are not finite are never on the front.
 */
export function paretoFront<Item>(items: readonly Item[], cost: (item: Item) => number, loss: (item: Item) => number): Item[] {
  const finite = items.filter((item) => Number.isFinite(cost(item)) && Number.isFinite(loss(item)));
  finite.sort((a, b) => cost(a) - cost(b) || loss(a) - loss(b));
  const front: Item[] = [];
  for (const item of finite) {
    const last = front.at(-1);
    if (last === undefined || loss(item) < loss(last)) front.push(item);
  }
  return front;
}

/** Methods that were scored on a forget set (or on any), in the fixed order. */
export function methodsIn(data: ReportData, forgetSet?: string): MethodName[] {
  const present = new Set(
    data.scores.filter((score) => forgetSet === undefined || score.forgetSet === forgetSet).map((score) => score.method),
  );
  return methodNames.filter((method) => present.has(method));
}

/** The setting that represents each method on a forget set, in the fixed order. */
export function bestScores(data: ReportData, forgetSet: string): MethodScore[] {
  return methodNames.flatMap((method) => {
    const best = data.scores.find((score) => score.forgetSet === forgetSet && score.method === method && score.best);
    return best === undefined ? [] : [best];
  });
}

/** Full retraining and oracle matching need retrained models: they show what can be reached and do not compete with the others. */
export function needsOracles(score: MethodScore): boolean {
  return score.method === 'full-retrain' || score.method === 'oracle-matching';
}

export function floorOf(data: ReportData, forgetSet: string): KlomFloor | undefined {
  return data.floors.find((floor) => floor.forgetSet === forgetSet);
}

/** "learningRate 0.001, epochs 10"; a method without hyper-parameters has none. */
export function describeSetting(setting: MethodSetting): string {
  return Object.entries(setting)
    .map(([name, value]) => `${name} ${String(value)}`)
    .join(', ');
}

/** Numbers of models behind the scores: "100 unlearned against 100 oracles", a range where they differ. */
export function describeModels(scores: readonly MethodScore[]): string {
  const range = (values: number[]): string => {
    const low = values.reduce((least, value) => Math.min(least, value), Infinity);
    const high = values.reduce((most, value) => Math.max(most, value), -Infinity);
    return low === high ? String(low) : `${low} to ${high}`;
  };
  if (scores.length === 0) return 'no models';
  const unlearned = range(scores.map((score) => score.numUnlearned));
  const oracles = range(scores.map((score) => score.numOracles));
  return `${unlearned} unlearned against ${oracles} oracle models`;
}
