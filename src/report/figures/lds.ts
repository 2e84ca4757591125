/** How well the datamodels predict, by number of models they were fitted on. */
import type { TopLevelSpec } from 'vega-lite';
import type { LdsCeiling, LdsPoint, ReportData } from '../../types.js';
import { csv } from '../csv.js';
import { schema } from '../figure.js';
import type { Figure } from '../figure.js';
import { attributorsIn, ceilingOf } from '../ldsTable.js';
import { config } from '../style.js';

const pointKinds = { train: 'training points', validation: 'validation points' } as const;

export function ldsCurve(data: ReportData): Figure | undefined {
  const drawn = data.lds.filter((point) => Number.isFinite(point.mean) && point.numModels > 0);
  const { ldsCeilings = [] } = data;
  if (drawn.length === 0) return undefined;
  return {
    name: 'lds',
    title: 'Linear datamodeling score',
    caption:
      'LDS: Spearman correlation over held-out masks between the output a datamodel predicts and the output the trained model gives, mean over points; ' +
      '1 is perfect, 0 is chance. Bands are 95 % bootstrap intervals of the mean over points. Held-out masks are in no fit.' +
      (ldsCeilings.length > 0 ? ' Dashed: the ceiling, what a perfect prediction would score.' : ''),
    spec: spec(drawn, ldsCeilings),
    csv: csv(
      ['estimator', 'points', 'numModels', 'mean', 'median', 'low', 'high', ...(ldsCeilings.length > 0 ? ['ceiling'] : [])],
      data.lds.map((point) => [
        point.estimator,
        point.points,
        point.numModels,
        point.mean,
        point.median,
        point.low,
        point.high,
        ...(ldsCeilings.length > 0 ? [ceilingOf(ldsCeilings, point.points)?.mean ?? ''] : []),
      ]),
    ),
  };
}

/** One line a panel: the rows of a panel share their ceiling. */
const ceilingRule = {
  mark: { type: 'rule' as const, strokeDash: [5, 4], color: '#555' },
  encoding: { y: { field: 'ceiling', type: 'quantitative' as const, aggregate: 'mean' as const } },
};

function spec(drawn: LdsPoint[], ceilings: readonly LdsCeiling[]): TopLevelSpec {
  const present = attributorsIn(drawn);
  const counts = [...new Set(drawn.map((point) => point.numModels))].sort((a, b) => a - b);
  const domain: string[] = present.map(({ title }) => title);
  const legend = { title: null, orient: 'bottom' as const };
  const channel = (range: string[]) => ({ field: 'estimator', type: 'nominal' as const, scale: { domain, range }, legend });
  const color = channel(present.map(({ mark }) => mark.color));
  const x = {
    field: 'numModels',
    type: 'quantitative' as const,
    scale: { type: 'log' as const, domain: [counts[0]! / 1.15, counts.at(-1)! * 1.15], nice: false },
    axis: { title: 'subset models in the fit', values: counts, format: 'd', labelOverlap: true, grid: false },
  };
  const band = { y: { field: 'low', type: 'quantitative' as const }, y2: { field: 'high' } };
  const mean = { field: 'mean', type: 'quantitative' as const, axis: { title: 'LDS (mean Spearman correlation)', tickCount: 6 } };
  return {
    $schema: schema,
    config,
    data: {
      values: drawn.map((point) => ({
        ...point,
        ceiling: ceilingOf(ceilings, point.points)?.mean ?? null,
        estimator: present.find(({ name }) => name === point.estimator)?.title,
        points: pointKinds[point.points],
      })),
    },
    facet: { column: { field: 'points', type: 'nominal', sort: Object.values(pointKinds), header: { title: null } } },
    spacing: 20,
    spec: {
      width: 300,
      height: 200,
      layer: [
        ...(ceilings.length > 0 ? [ceilingRule] : []),
        { mark: { type: 'area', opacity: 0.2 }, encoding: { x, ...band, color } },
        { mark: { type: 'rule', strokeWidth: 1.2 }, encoding: { x, ...band, color } },
        { mark: { type: 'line', strokeWidth: 1.6 }, encoding: { x, y: mean, color } },
        {
          mark: { type: 'point', filled: true, size: 50, opacity: 1 },
          encoding: { x, y: mean, color, shape: channel(present.map(({ mark }) => mark.shape)) },
        },
      ],
    },
  };
}
