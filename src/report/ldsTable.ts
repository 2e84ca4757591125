/** LDS of several attributors beside each other. */
import { attributors } from '../attributors/registry.js';
import type { LdsPoint, ReportData } from '../types.js';
import { fixed } from './format.js';
import type { Table } from './tables.js';

export interface ShownAttributor {
  name: string;
  title: string;
  mark: { color: string; shape: string };
}

/** For attributors that a plan has given a name of its own. */
const spareMarks = [
  { color: '#009e73', shape: 'triangle-up' },
  { color: '#56b4e9', shape: 'triangle-down' },
  { color: '#d55e00', shape: 'cross' },
];

/** Registered ones in the order of the registry, then others in that of the scores. */
export function attributorsIn(points: readonly LdsPoint[]): ShownAttributor[] {
  const names = [...new Set(points.map(({ estimator }) => estimator))];
  const known = attributors.filter(({ name }) => names.includes(name));
  const others = names.filter((name) => known.every((attributor) => attributor.name !== name));
  return [...known, ...others.map((name, index) => ({ name, title: name, mark: spareMarks[index % spareMarks.length]! }))];
}

/** A row an attributor and number of models; undefined for one attributor and its baseline, which the figure shows. */
export function ldsTable({ lds }: ReportData): Table | undefined {
  const shown = attributorsIn(lds);
  if (shown.length <= 2) return undefined;
  const counts = [...new Set(lds.map(({ numModels }) => numModels))].sort((a, b) => a - b);
  const cell = (name: string, count: number, kind: LdsPoint['points']): { text: string } => {
    const point = lds.find(({ estimator, numModels, points }) => estimator === name && numModels === count && points === kind);
    return { text: point ? `${fixed(point.mean, 3)} (${fixed(point.low, 3)} to ${fixed(point.high, 3)})` : '' };
  };
  return {
    title: 'LDS of each attributor',
    columns: [
      { label: 'attributor', align: 'left' },
      { label: 'models', align: 'right' },
      { label: 'training points', align: 'right' },
      { label: 'validation points', align: 'right' },
    ],
    rows: shown.flatMap(({ name, title }) =>
      counts.map((count) => [{ text: title }, { text: String(count) }, cell(name, count, 'train'), cell(name, count, 'validation')]),
    ),
    notes: ['Means over points with their 95 % bootstrap intervals.'],
  };
}
