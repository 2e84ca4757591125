/** Tables as data; text.ts has the renderer for the terminal, page.ts that of the page. */
import { splitNames } from '../types.js';
import type { ReportData, SplitName, SplitSummary } from '../types.js';
import { csv } from './csv.js';
import { fixed, fraction, percent, plural } from './format.js';
import { bestByRow, median } from './manySets.js';
import { ownNotes } from './notes.js';
import { bestScores, competes, describeSetting, floorOf, panelSplits, percentiles, rowName, rowNames } from './scores.js';

export interface Column {
  /** Columns next to each other with one group share a heading above their own. */
  group?: string;
  label: string;
  align: 'left' | 'right';
}

export interface Cell {
  text: string;
  /** The lowest in its column of the methods that unlearn without retrained models. */
  best?: boolean;
}

export interface Table {
  title: string;
  columns: Column[];
  rows: Cell[][];
  /** Full sentences below the table. */
  notes: string[];
}

/** What a star or bold type says. */
export const bestMeans = 'Lowest p95 of the methods that unlearn without retrained models.';

const left = (label: string): Column => ({ label, align: 'left' });
const right = (label: string, group?: string): Column => ({ label, align: 'right', ...(group === undefined ? {} : { group }) });

type Splits = Record<SplitName | 'average', SplitSummary>;

/** KLOM of each method at its representative setting: mean and 95th percentile per split, the floor in the last row. */
export function klomTable(data: ReportData, forgetSet: { name: string; size: number }): Table {
  const scores = bestScores(data, forgetSet.name);
  const floor = floorOf(data, forgetSet.name);
  const competing = scores.filter(competes);
  const lowest = new Map(panelSplits.map((split) => [split, lowestText(competing.map((score) => score.splits[split].p95))]));
  const summaryCells = (splits: Splits, isCompeting: boolean): Cell[] =>
    panelSplits.flatMap((split) => {
      const { mean, p95 } = splits[split];
      const text = fixed(p95, 2);
      return [{ text: fixed(mean, 2) }, { text, best: isCompeting && text === lowest.get(split) }];
    });
  const rows = scores.map((score) => [
    { text: rowName(score) },
    { text: fraction(score.computeFraction) },
    ...summaryCells(score.splits, competes(score)),
  ]);
  if (floor !== undefined) rows.push([{ text: floorRow }, { text: '' }, ...summaryCells(floor.measured, false)]);
  return {
    title: `KLOM on ${forgetSet.name} (${plural(forgetSet.size, 'point')})`,
    columns: [left('method'), right('compute'), ...splitColumns(['mean', 'p95'])],
    rows,
    notes: ownNotes(data, forgetSet.name, scores),
  };
}

const floorRow = 'floor (measured)';

const splitColumns = (labels: readonly string[]): Column[] => panelSplits.flatMap((split) => labels.map((label) => right(label, split)));

/** As printed, so that values that read the same are marked the same. */
function lowestText(values: readonly number[]): string | undefined {
  const finite = values.filter(Number.isFinite);
  return finite.length === 0
    ? undefined
    : fixed(
        finite.reduce((a, b) => Math.min(a, b)),
        2,
      );
}

/** All forget sets in one table: median and highest of the 95th percentiles; undefined for fewer than two sets. */
export function allSetsTable(data: ReportData): Table | undefined {
  if (data.forgetSets.length < 2) return undefined;
  const rows = [...bestByRow(data)].map(([name, own]) => ({
    name,
    competing: competes(own[0]!),
    compute: fraction(median(own.map((score) => score.computeFraction))),
    splits: own.map((score) => score.splits),
  }));
  if (data.floors.length > 0)
    rows.push({ name: floorRow, competing: false, compute: '', splits: data.floors.map((floor) => floor.measured) });
  const measures = [median, (values: readonly number[]) => values.reduce((a, b) => Math.max(a, b), -Infinity)];
  const of = ({ splits }: (typeof rows)[number]): number[] =>
    panelSplits.flatMap((split) => measures.map((measure) => measure(splits.map((each) => each[split].p95))));
  const values = rows.map(of);
  const competing = values.filter((_, row) => rows[row]!.competing);
  const lowest = values[0]?.map((_, column) => lowestText(competing.map((own) => own[column]!))) ?? [];
  return {
    title: `KLOM over all ${data.forgetSets.length} forget sets (95th percentile over points)`,
    columns: [left('method'), right('sets'), right('compute'), ...splitColumns(['median', 'highest'])],
    rows: rows.map(({ name, competing: isCompeting, compute, splits }, row) => [
      { text: name },
      { text: String(splits.length) },
      { text: compute },
      ...values[row]!.map((value, column) => ({ text: fixed(value, 2), best: isCompeting && fixed(value, 2) === lowest[column] })),
    ]),
    notes: [],
  };
}

/** A row a forget set, a column a method: for many sets, where a table each is too much to read. */
export function setsTable(data: ReportData): Table {
  const names = rowNames(data);
  const text = (value: number | undefined): Cell => ({ text: value === undefined ? '' : fixed(value, 2) });
  return {
    title: 'KLOM of each forget set (95th percentile, average of the three splits)',
    columns: [left('forget set'), right('points'), ...names.map((name) => right(name)), right('floor')],
    rows: data.forgetSets.map(({ name, size }) => {
      const own = new Map(bestScores(data, name).map((score) => [rowName(score), score.splits.average.p95]));
      return [
        { text: name },
        { text: String(size) },
        ...names.map((row) => text(own.get(row))),
        text(floorOf(data, name)?.measured.average.p95),
      ];
    }),
    notes: [],
  };
}

/** Accuracy of original and unlearned models on each split (the paper's Table H.1 has the validation column). */
export function accuracyTable(data: ReportData, forgetSet: { name: string; size: number }): Table {
  const originals = data.originalAccuracy.filter((entry) => entry.forgetSet === forgetSet.name);
  return {
    title: `Accuracy on ${forgetSet.name} (${plural(forgetSet.size, 'point')})`,
    columns: [left('models'), ...splitNames.map((split) => right(split))],
    rows: [
      ...originals.map((entry) => accuracyCells('original', entry.accuracy)),
      ...bestScores(data, forgetSet.name).map((score) => accuracyCells(rowName(score), score.accuracy)),
    ],
    notes: [],
  };
}

export const accuracyNote =
  'Mean over models; after forgetting, the accuracy on the forget points should be that of full retraining, not zero.';

const accuracyCells = (label: string, accuracy: Record<SplitName, number>): Cell[] => [
  { text: label },
  ...splitNames.map((split) => ({ text: percent(accuracy[split], 2) })),
];

/** Mean over the forget sets; undefined for fewer than two. */
export function allSetsAccuracy(data: ReportData): Table | undefined {
  if (data.forgetSets.length < 2) return undefined;
  const mean = (label: string, all: readonly Record<SplitName, number>[]): Cell[] => {
    const of = (split: SplitName): number => all.reduce((sum, accuracy) => sum + accuracy[split], 0) / all.length;
    return accuracyCells(label, { forget: of('forget'), retain: of('retain'), validation: of('validation') });
  };
  return {
    title: `Accuracy over all ${data.forgetSets.length} forget sets (mean)`,
    columns: [left('models'), ...splitNames.map((split) => right(split))],
    rows: [
      mean(
        'original',
        data.originalAccuracy.map((entry) => entry.accuracy),
      ),
      ...[...bestByRow(data)].map(([name, own]) =>
        mean(
          name,
          own.map((score) => score.accuracy),
        ),
      ),
    ],
    notes: [],
  };
}

/** Every score of every setting, with the floors as rows of method "floor". */
export function klomCsv(data: ReportData): string {
  const floors = data.floors.flatMap((floor) =>
    panelSplits.map((split) => [
      floor.forgetSet,
      'floor',
      '',
      '',
      floor.numHeldOut,
      floor.numOracles,
      split,
      ...numbers(floor.measured[split]),
      '',
      '',
      '',
    ]),
  );
  const scores = data.scores.flatMap((score) =>
    panelSplits.map((split) => [
      score.forgetSet,
      score.method,
      describeSetting(score.setting),
      score.computeFraction,
      score.numUnlearned,
      score.numOracles,
      split,
      ...numbers(score.splits[split]),
      score.numNonFinite,
      score.best,
      score.variant ?? '',
    ]),
  );
  const header = ['forgetSet', 'method', 'setting', 'computeFraction', 'numUnlearned', 'numOracles', 'split'];
  return csv([...header, 'mean', ...percentiles, 'numNonFinite', 'best', 'variant'], [...scores, ...floors]);
}

const numbers = (summary: SplitSummary): number[] => [summary.mean, ...percentiles.map((percentile) => summary[percentile])];

export function accuracyCsv(data: ReportData): string {
  const originals = data.originalAccuracy.map((entry) => [
    entry.forgetSet,
    'original',
    '',
    ...splitNames.map((s) => entry.accuracy[s]),
    '',
  ]);
  const scores = data.scores.map((score) => [
    score.forgetSet,
    score.method,
    describeSetting(score.setting),
    ...splitNames.map((split) => score.accuracy[split]),
    score.best,
  ]);
  return csv(['forgetSet', 'method', 'setting', ...splitNames, 'best'], [...originals, ...scores]);
}
