/** Tables as data, with one renderer for the terminal; the page has its own in html.ts. */
import { splitNames } from '../types.js';
import type { MethodScore, ReportData, SplitName, SplitSummary } from '../types.js';
import { csv } from './csv.js';
import { fixed, fraction, listed, percent, plural } from './format.js';
import { bestScores, describeModels, describeSetting, floorOf, methodsIn, needsOracles, panelSplits, percentiles } from './scores.js';
import { methodStyles } from './style.js';

export interface Column {
  /** Columns next to each other with one group share a heading above their own. */
  group?: string;
  label: string;
  align: 'left' | 'right';
}

export interface Cell {
  text: string;
  /** The lowest in its column of the methods that need no retrained models. */
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
export const bestMeans = 'Lowest p95 of the methods that need no retrained models.';

const left = (label: string): Column => ({ label, align: 'left' });
const right = (label: string, group?: string): Column => ({ label, align: 'right', ...(group === undefined ? {} : { group }) });

/** KLOM of each method at its representative setting: mean and 95th percentile per split, the floor in the last row. */
export function klomTable(data: ReportData, forgetSet: { name: string; size: number }): Table {
  const scores = bestScores(data, forgetSet.name);
  const floor = floorOf(data, forgetSet.name);
  const lowest = new Map(panelSplits.map((split) => [split, lowestP95(scores, split)]));
  const summaryCells = (splits: Record<SplitName | 'average', SplitSummary>, competes: boolean): Cell[] =>
    panelSplits.flatMap((split) => {
      const { mean, p95 } = splits[split];
      const text = fixed(p95, 2);
      return [{ text: fixed(mean, 2) }, { text, best: competes && text === lowest.get(split) }];
    });
  const rows = scores.map((score) => [
    { text: methodStyles[score.method].label },
    { text: fraction(score.computeFraction) },
    ...summaryCells(score.splits, !needsOracles(score)),
  ]);
  if (floor !== undefined) rows.push([{ text: 'floor (measured)' }, { text: '' }, ...summaryCells(floor.measured, false)]);
  return {
    title: `KLOM on ${forgetSet.name} (${plural(forgetSet.size, 'point')})`,
    columns: [left('method'), right('compute'), ...panelSplits.flatMap((split) => [right('mean', split), right('p95', split)])],
    rows,
    notes: klomNotes(data, forgetSet.name, scores),
  };
}

/** As printed, so that values that read the same are marked the same. */
function lowestP95(scores: readonly MethodScore[], split: SplitName | 'average'): string | undefined {
  const values = scores.filter((score) => !needsOracles(score)).map((score) => score.splits[split].p95);
  const finite = values.filter(Number.isFinite);
  return finite.length === 0
    ? undefined
    : fixed(
        finite.reduce((least, value) => Math.min(least, value)),
        2,
      );
}

function klomNotes(data: ReportData, forgetSet: string, scores: readonly MethodScore[]): string[] {
  const notes = [`N: ${describeModels(scores)}. KLOM in nats, 0 is perfect; compute as a fraction of one full retraining.`];
  const floor = floorOf(data, forgetSet);
  notes.push(
    floor === undefined
      ? 'No floor was measured for this forget set.'
      : `Floor: ${floor.numOracles} oracle models against ${floor.numHeldOut} held-out ones; two samples of one normal distribution with as many models as the methods have score ` +
          `${fixed(floor.tabulatedMean, 2)} (p95 ${fixed(floor.tabulatedP95, 2)}). A score at the floor cannot be told from retraining.`,
  );
  const settings = scores.filter((score) => Object.keys(score.setting).length > 0);
  if (settings.length > 0)
    notes.push(
      `Settings: ${settings.map((score) => `${methodStyles[score.method].label} (${describeSetting(score.setting)})`).join('; ')}.`,
    );
  const nonFinite = scores.filter((score) => score.numNonFinite > 0);
  if (nonFinite.length > 0)
    notes.push(
      `Non-finite margins are counted and not scored: ${listed(nonFinite.map((score) => `${methodStyles[score.method].label} ${score.numNonFinite}`))}.`,
    );
  const diverged = scores.filter((score) => score.numDiverged !== undefined);
  if (diverged.length > 0)
    notes.push(
      `Models that diverged, or whose original had, are left out: ${listed(diverged.map((score) => `${methodStyles[score.method].label} ${score.numDiverged}`))}.`,
    );
  const chosen = new Set(scores.map((score) => score.method));
  const unchosen = methodsIn(data, forgetSet).filter((method) => !chosen.has(method));
  if (unchosen.length > 0)
    notes.push(`Scored, but no setting could be chosen: ${listed(unchosen.map((method) => methodStyles[method].label))}.`);
  return notes;
}

/** Accuracy of original and unlearned models on each split (the paper's Table H.1 has the validation column). */
export function accuracyTable(data: ReportData, forgetSet: { name: string; size: number }): Table {
  const cells = (label: string, accuracy: Record<SplitName, number>): Cell[] => [
    { text: label },
    ...splitNames.map((split) => ({ text: percent(accuracy[split], 2) })),
  ];
  const originals = data.originalAccuracy.filter((entry) => entry.forgetSet === forgetSet.name);
  return {
    title: `Accuracy on ${forgetSet.name} (${plural(forgetSet.size, 'point')})`,
    columns: [left('models'), ...splitNames.map((split) => right(split))],
    rows: [
      ...originals.map((entry) => cells('original', entry.accuracy)),
      ...bestScores(data, forgetSet.name).map((score) => cells(methodStyles[score.method].label, score.accuracy)),
    ],
    notes: ['Mean over models; after forgetting, the accuracy on the forget points should be that of full retraining, not zero.'],
  };
}

/** Every score of every setting, with the floors as rows of method "floor". */
export function klomCsv(data: ReportData): string {
  const floors = data.floors.flatMap((floor) =>
    panelSplits.map((split) => [floor.forgetSet, 'floor', '', '', '', floor.numOracles, split, ...numbers(floor.measured[split]), '', '']),
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
    ]),
  );
  const header = ['forgetSet', 'method', 'setting', 'computeFraction', 'numUnlearned', 'numOracles', 'split'];
  return csv([...header, 'mean', ...percentiles, 'numNonFinite', 'best'], [...scores, ...floors]);
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

/** The KLOM tables of all forget sets as aligned text for a terminal. */
export function renderKlomTable(data: ReportData): string {
  return data.forgetSets.map((forgetSet) => renderText(klomTable(data, forgetSet))).join('\n');
}

const gap = '  ';
const lineLength = 100;

/** Aligned columns; the best value of a column carries a star. Control characters in names are shown as "?". */
export function renderText(table: Table): string {
  const text = table.rows.map((row) => row.map((cell) => printable(cell.text) + (cell.best === true ? '*' : ' ')));
  const labels = table.columns.map((column) => column.label + ' ');
  const widths = labels.map((label, index) => text.reduce((widest, row) => Math.max(widest, row[index]!.length), label.length));
  const align = (cell: string, index: number): string =>
    table.columns[index]!.align === 'left' ? cell.padEnd(widths[index]!) : cell.padStart(widths[index]!);
  const line = (cells: string[]): string => cells.map(align).join(gap).trimEnd();
  const lines = [
    printable(table.title),
    groupLine(table.columns, widths),
    line(labels),
    '-'.repeat(line(labels).length),
    ...text.map(line),
  ];
  const starred = table.rows.some((row) => row.some((cell) => cell.best === true));
  const notes = [...(starred ? [`* ${bestMeans}`] : []), ...table.notes.map(printable)].flatMap(wrapped);
  return [...lines.filter((entry) => entry !== ''), ...notes].map((entry) => entry + '\n').join('');
}

/** Lines of at most `lineLength` characters where words allow; later lines are indented. */
function wrapped(text: string): string[] {
  const lines: string[] = [];
  for (const word of text.split(' ')) {
    const last = lines.at(-1);
    if (last !== undefined && last.length + 1 + word.length <= lineLength) lines[lines.length - 1] = `${last} ${word}`;
    else lines.push(last === undefined ? word : `  ${word}`);
  }
  return lines;
}

/** Group headings, each centred over its columns; empty when there are none. */
function groupLine(columns: readonly Column[], widths: readonly number[]): string {
  let line = '';
  for (let start = 0; start < columns.length;) {
    const { group } = columns[start]!;
    let end = start + 1;
    while (group !== undefined && end < columns.length && columns[end]!.group === group) end += 1;
    const width = widths.slice(start, end).reduce((sum, value) => sum + value + gap.length, -gap.length);
    const heading = group ?? '';
    const before = Math.max(width - heading.length, 0) >> 1;
    line += (' '.repeat(before) + heading).padEnd(width) + gap;
    start = end;
  }
  return line.trimEnd();
}

function printable(text: string): string {
  return text.replace(/\p{Cc}/gu, '?');
}
