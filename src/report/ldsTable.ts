/** LDS of several attributors beside each other. */
import { attributors } from '../attributors/registry.js';
import type { LdsCeiling, LdsPoint, MethodScore, ReportData } from '../types.js';
import { fixed } from './format.js';
import type { Table } from './tables.js';

export interface ShownAttributor {
  name: string;
  title: string;
  mark: { color: string; shape: string };
}

/** For attributors that a plan has given a name of its own. */
const spareMarks = [
  { color: '#d55e00', shape: 'cross' },
  { color: '#882255', shape: 'triangle-left' },
  { color: '#999933', shape: 'triangle-right' },
];

/** Registered ones in the order of the registry, then others in that of the scores. */
export function attributorsIn(points: readonly LdsPoint[]): ShownAttributor[] {
  const names = [...new Set(points.map(({ estimator }) => estimator))];
  const known = attributors.filter(({ name }) => names.includes(name));
  const others = names.filter((name) => known.every((attributor) => attributor.name !== name));
  return [...known, ...others.map((name, index) => ({ name, title: name, mark: spareMarks[index % spareMarks.length]! }))];
}

/**
 * A row an attributor and number of models, and one for the ceiling where it was measured; undefined for one attributor and its baseline
 * without a ceiling, which the figure shows.
 */
export function ldsTable(data: ReportData): Table | undefined {
  const { lds, ldsCeilings = [] } = data;
  const shown = attributorsIn(lds);
  if (shown.length <= 2 && ldsCeilings.length === 0) return undefined;
  const counts = [...new Set(lds.map(({ numModels }) => numModels))].sort((a, b) => a - b);
  const cell = (name: string, count: number, kind: LdsPoint['points']): { text: string } => {
    const point = lds.find(({ estimator, numModels, points }) => estimator === name && numModels === count && points === kind);
    if (!point) return { text: '' };
    const ceiling = ceilingOf(ldsCeilings, kind);
    return { text: interval(point) + (ceiling ? `, ${shareText(point, ceiling)}` : '') };
  };
  const ceilings = (['train', 'validation'] as const).map((kind) => {
    const ceiling = ceilingOf(ldsCeilings, kind);
    return { text: ceiling ? interval(ceiling) : '' };
  });
  const direct = directScores(data);
  // the last fit of a curve leaves held-out models out, datamodels on all models do not
  const isOf = ({ models, isAll }: ReportData['attributors'][number], count: number): boolean =>
    isAll ? count === counts.at(-1) : models === count;
  const klom = (name: string, count: number): { text: string }[] =>
    direct.map(({ scores }) => ({
      text: p95Text(scores.find(({ attributor }) => attributor.curve === name && isOf(attributor, count))?.score),
    }));
  return {
    title: 'LDS of each attributor',
    columns: [
      { label: 'attributor', align: 'left' },
      { label: 'models', align: 'right' },
      { label: 'training points', align: 'right', group: 'LDS' },
      { label: 'validation points', align: 'right', group: 'LDS' },
      ...direct.map(({ forgetSet }) => ({ label: forgetSet, align: 'right' as const, group: 'DM-Direct, KLOM p95' })),
    ],
    rows: [
      ...shown.flatMap(({ name, title }) =>
        counts.map((count) => [
          { text: title },
          { text: String(count) },
          cell(name, count, 'train'),
          cell(name, count, 'validation'),
          ...klom(name, count),
        ]),
      ),
      ...(ldsCeilings.length > 0 ? [[{ text: 'ceiling' }, { text: '' }, ...ceilings, ...direct.map(() => ({ text: '' }))]] : []),
    ],
    notes: [
      'Means over points with their 95 % bootstrap intervals.',
      ...ldsCeilings.slice(0, 1).map(ceilingNote),
      ...(direct.length > 0
        ? [`KLOM: of forget / retain / validation points. Beside the last fit: of datamodels on all models of the plan.`]
        : []),
    ],
  };
}

/** More columns than these say nothing at a glance; the KLOM tables have them all. */
const mostSets = 3;

/** Of DM-Direct as published; only where the plan compares several attributors. */
function directScores(data: ReportData): { forgetSet: string; scores: AttributedScore[] }[] {
  const published = attributedScores(data, 'dm-direct').filter(({ score }) => score.best && score.setting['diagonalOnly'] !== true);
  if (data.attributors.length < 2 || published.length === 0 || data.forgetSets.length > mostSets) return [];
  return data.forgetSets.map(({ name }) => ({ forgetSet: name, scores: published.filter(({ score }) => score.forgetSet === name) }));
}

export interface AttributedScore {
  attributor: ReportData['attributors'][number];
  score: MethodScore;
}

/** Of a method that uses datamodels; a setting that names no attributor means the first. */
export function attributedScores({ attributors, scores }: ReportData, method: string): AttributedScore[] {
  return scores
    .filter((score) => score.method === method)
    .flatMap((score) => {
      const named = (score.setting['attributor'] as string | undefined) ?? attributors[0]?.name;
      return attributors.filter(({ name }) => name === named).map((attributor) => ({ attributor, score }));
    });
}

function p95Text(score: MethodScore | undefined): string {
  if (!score) return '';
  return (['forget', 'retain', 'validation'] as const).map((split) => fixed(score.splits[split].p95, 2)).join(' / ');
}

/** Undefined where it is not above chance: a share of nothing says nothing. */
export function ceilingOf(ceilings: readonly LdsCeiling[], kind: LdsPoint['points']): LdsCeiling | undefined {
  return ceilings.find(({ points, mean }) => points === kind && mean > 0);
}

function interval({ mean, low, high }: { mean: number; low: number; high: number }): string {
  return `${fixed(mean, 3)} (${fixed(low, 3)} to ${fixed(high, 3)})`;
}

function shareText({ mean }: LdsPoint, ceiling: LdsCeiling): string {
  return `${fixed((100 * mean) / ceiling.mean, 0)} %`;
}

function ceilingNote({ numMasks }: LdsCeiling): string {
  return (
    `Ceiling: what a perfect prediction would score, as two models of one mask differ by chance; the root of their rank correlation, ` +
    `from ${numMasks} masks trained twice. Percentages are shares of it.`
  );
}
