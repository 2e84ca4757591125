/** Runs with more forget sets than a page can show one by one: what stands for all. */
import type { MethodScore, ReportData, SplitName, SplitSummary } from '../types.js';
import { bestScores, panelSplits, rowName, rowNames } from './scores.js';

/** Rows of panels in a figure, and tables that are printed or open on the page. */
const mostSets = 4;

export function hasManySets(data: ReportData): boolean {
  return data.forgetSets.length > mostSets;
}

/** NaN values are left out; NaN when there are no others. */
export function median(values: readonly number[]): number {
  const sorted = values.filter((value) => !Number.isNaN(value)).sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  if (sorted.length === 0) return NaN;
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}

/** The scores that represent each row, over the forget sets that have it, in the order of the rows. */
export function bestByRow(data: ReportData): Map<string, MethodScore[]> {
  const rows = new Map<string, MethodScore[]>(rowNames(data).map((name) => [name, []]));
  for (const { name } of data.forgetSets) for (const score of bestScores(data, name)) rows.get(rowName(score))!.push(score);
  return rows;
}

type Splits = Record<SplitName | 'average', SplitSummary>;

function medianSplits(all: readonly Splits[]): Splits {
  const of = (split: SplitName | 'average'): SplitSummary => {
    const one = (key: keyof SplitSummary): number => median(all.map((splits) => splits[split][key]));
    return { mean: one('mean'), p50: one('p50'), p85: one('p85'), p95: one('p95'), p99: one('p99') };
  };
  return Object.fromEntries(panelSplits.map((split) => [split, of(split)])) as Splits;
}

/** What figures draw: the data, or where there are many forget sets one in their place, each value the median over all. */
export function drawnSets(data: ReportData): ReportData {
  if (!hasManySets(data)) return data;
  const name = `median of ${data.forgetSets.length} forget sets`;
  const scores = [...bestByRow(data).values()].map((own): MethodScore => ({
    ...own[0]!,
    forgetSet: name,
    setting: {},
    computeFraction: median(own.map((score) => score.computeFraction)),
    splits: medianSplits(own.map((score) => score.splits)),
  }));
  const floors =
    data.floors.length === 0
      ? []
      : [{ ...data.floors[0]!, forgetSet: name, measured: medianSplits(data.floors.map((floor) => floor.measured)) }];
  return { ...data, forgetSets: [{ name, size: NaN }], scores, floors };
}

/** Sentence for captions; empty where every forget set is drawn. */
export function drawnNote(data: ReportData): string {
  if (!hasManySets(data)) return '';
  return ` Each value is the median over the ${data.forgetSets.length} forget sets of the setting that represents the method there; the CSV has every set.`;
}
