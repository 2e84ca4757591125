/** DM-Direct by global factor of its weights, with all of them and with the memorisation scores only (the paper's Figure G.5). */
import type { TopLevelSpec } from 'vega-lite';
import type { ReportData } from '../../types.js';
import { csv } from '../csv.js';
import { schema, type Figure } from '../figure.js';
import { attributedScores } from '../ldsTable.js';
import { drawnNote, drawnSets } from '../manySets.js';
import { describeModels, panelSplits } from '../scores.js';
import { config, forgetSetRows, klomScale, rowLabel } from '../style.js';

/** Fewer are no curve. */
const fewestScales = 3;

interface Point {
  forgetSet: string;
  attributor: string;
  weights: 'all weights' | 'memorisation scores only';
  scale: number;
  split: string;
  statistic: 'mean' | '95th percentile';
  klom: number;
}

/** Undefined unless some attributor has three factors or more. */
export function rescaling(data: ReportData): Figure | undefined {
  const points = pointsOf(data);
  const shown = drawnSets(data);
  const drawn = points.filter(
    ({ klom, forgetSet, split }) => split === 'forget' && Number.isFinite(klom) && shown.forgetSets.some(({ name }) => name === forgetSet),
  );
  if (drawn.length === 0) return undefined;
  return {
    name: 'rescaling',
    title: 'Scale of the datamodel weights',
    caption:
      `KLOM of DM-Direct where all weights of the datamodels are multiplied with one factor, mean and 95th percentile over the forget points; ${describeModels(data)}.${drawnNote(data)} ` +
      'Memorisation scores: only what forgetting a point does to that point itself. A best factor above 1 says that the weights are shrunk, one below 1 that they carry noise.',
    spec: spec(shown, drawn),
    csv: csv(
      ['forgetSet', 'attributor', 'weights', 'scale', 'split', 'statistic', 'klom'],
      points.map((point) => [point.forgetSet, point.attributor, point.weights, point.scale, point.split, point.statistic, point.klom]),
    ),
  };
}

function pointsOf(data: ReportData): Point[] {
  const all = attributedScores(data, 'dm-direct').filter(({ score }) => typeof score.setting['scale'] === 'number');
  const scalesOf = (wanted: string): Set<unknown> =>
    new Set(all.filter(({ attributor }) => attributor.name === wanted).map(({ score }) => score.setting['scale']));
  return all
    .filter(({ attributor }) => scalesOf(attributor.name).size >= fewestScales)
    .flatMap(({ attributor, score }) =>
      panelSplits.flatMap((split): Point[] => {
        const { forgetSet, setting, splits } = score;
        const weights = setting['diagonalOnly'] === true ? 'memorisation scores only' : 'all weights';
        const common = { forgetSet, attributor: attributor.name, weights, scale: setting['scale'] as number, split } as const;
        const { mean, p95 } = splits[split];
        return [
          { ...common, statistic: 'mean', klom: mean },
          { ...common, statistic: '95th percentile', klom: p95 },
        ];
      }),
    );
}

/** Of the forget points: what the factor is for. A panel an attributor; the CSV has all splits. */
function spec(shown: ReportData, drawn: readonly Point[]): TopLevelSpec {
  const sets = shown.forgetSets.filter(({ name }) => drawn.some(({ forgetSet }) => forgetSet === name));
  const attributors = [...new Set(drawn.map(({ attributor }) => attributor))];
  const panel = Math.max(120, Math.min(240, 900 / attributors.length));
  const { scale, ticks } = klomScale(drawn.map(({ klom }) => klom));
  const legend = { title: null, orient: 'bottom' as const };
  const encoding = {
    x: { field: 'scale', type: 'quantitative' as const, axis: { title: 'factor of the weights', tickCount: 4 }, scale: { zero: false } },
    y: { field: 'klom', type: 'quantitative' as const, scale, axis: { title: 'KLOM of forget points', ...ticks } },
    color: {
      field: 'weights',
      type: 'nominal' as const,
      scale: { domain: ['all weights', 'memorisation scores only'], range: ['#0072b2', '#e69f00'] },
      legend,
    },
  };
  const dash = { field: 'statistic', type: 'nominal' as const, sort: ['mean', '95th percentile'], legend };
  return {
    $schema: schema,
    config,
    data: {
      values: drawn.flatMap((point) =>
        sets.filter(({ name }) => name === point.forgetSet).map((set) => ({ ...point, row: rowLabel(set) })),
      ),
    },
    facet: {
      row: forgetSetRows(sets, 170),
      column: { field: 'attributor', type: 'nominal', sort: attributors, header: { title: null } },
    },
    spacing: { row: 18, column: 16 },
    spec: {
      width: panel,
      height: 170,
      layer: [
        { mark: { type: 'line', strokeWidth: 1.6 }, encoding: { ...encoding, strokeDash: dash } },
        { mark: { type: 'point', filled: true, size: 40, opacity: 1 }, encoding: { ...encoding, shape: dash } },
      ],
    },
  };
}
