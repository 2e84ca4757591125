/** Small questions asked of the scores by every figure and table. */
import { splitNames } from '../types.js';
import type { KlomFloor, MethodName, MethodScore, MethodSetting, ReportData, SplitName } from '../types.js';
import { methodNames, unlearnMethod } from '../unlearn/registry.js';

/** The average of the three splits' summaries goes first, as in the paper's Figure 1. */
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

/** "partial retrain, compressed" */
export function rowName({ method, variant }: Pick<MethodScore, 'method' | 'variant'>): string {
  const { label } = unlearnMethod(method);
  return variant === undefined ? label : `${label}, ${variant}`;
}

/** The setting that represents each method on a forget set, in the fixed order; variants of a method behind it. */
export function bestScores(data: ReportData, forgetSet: string): MethodScore[] {
  return methodNames.flatMap((method) => {
    const best = data.scores.filter((score) => score.forgetSet === forgetSet && score.method === method && score.best);
    return best.sort((a, b) => (a.variant ?? '').localeCompare(b.variant ?? '', 'en'));
  });
}

/** Methods and variants by the name of their row, over all forget sets, in the order of the rows. */
export function rowNames(data: ReportData): string[] {
  const first = new Map(data.forgetSets.flatMap(({ name }) => bestScores(data, name)).map((score) => [rowName(score), score]));
  const place = ({ method, variant }: MethodScore): [number, string] => [methodNames.indexOf(method), variant ?? ''];
  const sorted = [...first.values()].sort((a, b) => {
    const [[i, x], [j, y]] = [place(a), place(b)];
    return i - j || x.localeCompare(y, 'en');
  });
  return sorted.map(rowName);
}

/** Unlearning is to spare training on the retain set alone, and matching models that were; and doing nothing is not unlearning. */
export function competes({ method }: Pick<MethodScore, 'method'>): boolean {
  const { isBound, needs } = unlearnMethod(method);
  return isBound !== true && !needs.matchedOracles;
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

/** Numbers of models behind all scores: "N = 100 unlearned against 100 oracle models", a range where they differ, as some diverged. */
export function describeModels({ scores }: Pick<ReportData, 'scores'>): string {
  const range = (values: number[]): string => {
    const low = values.reduce((least, value) => Math.min(least, value), Infinity);
    const high = values.reduce((most, value) => Math.max(most, value), -Infinity);
    return low === high ? String(low) : `${low} to ${high}`;
  };
  if (scores.length === 0) return 'no models';
  const unlearned = range(scores.map((score) => score.numUnlearned));
  const oracles = range(scores.map((score) => score.numOracles));
  return `N = ${unlearned} unlearned against ${oracles} oracle models`;
}
