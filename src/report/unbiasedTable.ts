/** The divergence of each method by estimates without the bias of KLOM's histogram. */
import type { ReportData, SplitName, UnbiasedScore } from '../types.js';
import { fixed, plural } from './format.js';
import { bestScores, describeSetting, rowName } from './scores.js';
import type { Cell, Table } from './tables.js';

const shown = ['forget', 'retain', 'validation'] as const satisfies readonly SplitName[];
const estimates = ['gaussian', 'neighbours'] as const;
const names = { gaussian: 'Gaussian', neighbours: '5 neighbours' } as const;

/** Every method at the setting that represents it; undefined where a run of an earlier version has no such scores. */
export function unbiasedTable(data: ReportData, { name, size }: { name: string; size: number }): Table | undefined {
  const own = data.unbiased.find(({ forgetSet }) => forgetSet === name);
  if (!own) return undefined;
  const cells = (of: Pick<UnbiasedScore, 'gaussian' | 'neighbours'> | undefined): Cell[] =>
    shown.flatMap((split) => estimates.map((estimate) => ({ text: of ? number(of[estimate][split].p95) : '' })));
  const rows = bestScores(data, name).map((score) => {
    const found = own.scores.find(
      ({ method, setting }) => method === score.method && describeSetting(setting) === describeSetting(score.setting),
    );
    return [{ text: rowName(score) }, ...cells(found)];
  });
  return {
    title: `Without a histogram's bias: ${name} (${plural(size, 'point')}), 95th percentile`,
    columns: [
      { label: 'method', align: 'left' },
      ...shown.flatMap((split) => estimates.map((estimate) => ({ label: names[estimate], align: 'right' as const, group: split }))),
    ],
    rows: [...rows, [{ text: 'floor (measured)' }, ...cells(own.floor)]],
    notes: [
      'The same divergence in nats, 0 on average for models that are retrained: of normal distributions with the moments of both sides (unbiased where they are normal), ' +
        'and by the distances to 5 nearest neighbours (any shape, but low far from 0). KLOM is the number to compare with the paper; these can be read with few models.',
    ],
  };
}

function number(value: number): string {
  return Number.isNaN(value) ? 'too few models' : fixed(value, 2);
}
