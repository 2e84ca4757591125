/** Tables as aligned text for a terminal. */
import type { ReportData } from '../types.js';
import { sharedNotes } from './notes.js';
import { hasManySets } from './manySets.js';
import { allSetsTable, bestMeans, type Column, klomTable, type Table } from './tables.js';

/** KLOM: a table each forget set where there are few, one over all where there are several, and what is to be said of all of them once. */
export function renderKlomTable(data: ReportData): string {
  const own = hasManySets(data) ? [] : data.forgetSets.map((forgetSet) => klomTable(data, forgetSet));
  const tables = [...own, ...[allSetsTable(data)].filter((table) => table !== undefined)];
  const notes = [...sharedNotes(data)];
  if (hasManySets(data)) notes.push('Each forget set has a table on the page of the report, and rows in tables/klom.csv.');
  return tables.length === 0 ? '' : renderTables(tables, notes);
}

const gap = '  ';
const lineLength = 100;

export const renderText = (table: Table): string => renderTables([table], []);

/** The best value of a column carries a star. Notes of all tables come last; control characters in names are shown as "?". */
function renderTables(tables: readonly Table[], notes: readonly string[]): string {
  const starred = tables.some(({ rows }) => rows.some((row) => row.some((cell) => cell.best === true)));
  const shared = [...(starred ? [`* ${bestMeans}`] : []), ...notes];
  const [only] = tables.length === 1 ? tables : [];
  if (only) return [...body(only), ...[...shared, ...only.notes].flatMap(wrapped)].map((line) => line + '\n').join('');
  const parts = [...tables.map((table) => [...body(table), ...table.notes.flatMap(wrapped)]), shared.flatMap(wrapped)];
  return parts
    .filter((lines) => lines.length > 0)
    .map((lines) => lines.map((line) => line + '\n').join(''))
    .join('\n');
}

/** Title, headings and rows, in aligned columns. */
function body(table: Table): string[] {
  const text = table.rows.map((row) => row.map((cell) => printable(cell.text) + (cell.best === true ? '*' : ' ')));
  const labels = table.columns.map((column) => column.label + ' ');
  const widths = labels.map((label, index) => text.reduce((width, row) => Math.max(width, row[index]!.length), label.length));
  const align = (cell: string, index: number): string =>
    table.columns[index]!.align === 'left' ? cell.padEnd(widths[index]!) : cell.padStart(widths[index]!);
  const line = (cells: string[]): string => cells.map(align).join(gap).trimEnd();
  return [
    printable(table.title),
    groupLine(table.columns, widths),
    line(labels),
    '-'.repeat(line(labels).length),
    ...text.map(line),
  ].filter((entry) => entry !== '');
}

/** Lines of at most `lineLength` characters where words allow; later lines are indented. */
function wrapped(text: string): string[] {
  const lines: string[] = [];
  for (const word of printable(text).split(' ')) {
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
