/** What methods that use datamodels make of each attributor, by the number of subset models it has (the paper's Figures G.6 and G.7). */
import type { TopLevelSpec } from 'vega-lite';
import type { ReportData } from '../../types.js';
import { unlearnMethod } from '../../unlearn/registry.js';
import { csv } from '../csv.js';
import { schema, type Figure } from '../figure.js';
import { attributedScores, attributorsIn } from '../ldsTable.js';
import { drawnNote, drawnSets } from '../manySets.js';
import { describeModels, floorOf, panelSplits } from '../scores.js';
import { config, forgetSetRows, ink, klomScale, rowLabel } from '../style.js';

const methods = ['dm-direct', 'dmm'] as const;

interface Point {
  forgetSet: string;
  method: string;
  curve: string;
  models: number;
  split: (typeof panelSplits)[number];
  klomP95: number;
}

/** Undefined where the plan has one attributor. */
export function attributorKlom(data: ReportData): Figure | undefined {
  if (data.attributors.length < 2) return undefined;
  const points = pointsOf(data);
  const shown = drawnSets(data);
  const drawn = points.filter((point) => Number.isFinite(point.klomP95) && shown.forgetSets.some(({ name }) => name === point.forgetSet));
  if (drawn.length === 0) return undefined;
  return {
    name: 'attributor-klom',
    title: 'Unlearning quality by attributor',
    caption:
      `95th percentile of KLOM over the points of a split, by the number of subset models that the datamodels come from; the cost of an attributor is the training of these. ` +
      `Each method at the setting that represents it for this attributor; ${describeModels(data)}.${drawnNote(data)} The dashed line is the floor: retrained against other retrained models.`,
    spec: spec(shown, drawn),
    csv: csv(
      ['forgetSet', 'method', 'attributor', 'models', 'split', 'klomP95'],
      points.map(({ forgetSet, method, curve, models, split, klomP95 }) => [forgetSet, method, curve, models, split, klomP95]),
    ),
  };
}

function pointsOf(data: ReportData): Point[] {
  return methods.flatMap((method) =>
    attributedScores(data, method)
      .filter(({ score }) => score.best && score.setting['diagonalOnly'] !== true)
      .flatMap(({ attributor: { curve, models }, score: { forgetSet, splits } }) =>
        panelSplits.map((split) => ({ forgetSet, method, curve, models, split, klomP95: splits[split].p95 })),
      ),
  );
}

function spec(shown: ReportData, drawn: readonly Point[]): TopLevelSpec {
  const sets = shown.forgetSets.filter(({ name }) => drawn.some(({ forgetSet }) => forgetSet === name));
  const present = attributorsIn(shown.lds).filter(({ name }) => drawn.some(({ curve }) => curve === name));
  const used = methods.filter((method) => drawn.some((point) => point.method === method)).map(unlearnMethod);
  const floors = sets.flatMap((set) =>
    panelSplits.flatMap((split) => {
      const floor = floorOf(shown, set.name);
      return floor ? [{ kind: 'floor', row: rowLabel(set), split, klomP95: floor.measured[split].p95 }] : [];
    }),
  );
  const counts = [...new Set(drawn.map(({ models }) => models))].sort((a, b) => a - b);
  const { scale, ticks } = klomScale([...drawn, ...floors].map(({ klomP95 }) => klomP95));
  const legend = { title: null, orient: 'bottom' as const };
  const y = { field: 'klomP95', type: 'quantitative' as const, scale, axis: { title: 'KLOM, p95 (nats)', ...ticks } };
  const encoding = {
    x: {
      field: 'models',
      type: 'quantitative' as const,
      scale: { type: 'log' as const, domain: [counts[0]! / 1.3, counts.at(-1)! * 1.3], nice: false },
      axis: { title: 'subset models', values: counts, format: 'd', labelOverlap: true, grid: false },
    },
    y,
    color: {
      field: 'attributor',
      type: 'nominal' as const,
      scale: { domain: present.map(({ title }) => title), range: present.map(({ mark }) => mark.color) },
      legend,
    },
  };
  const byMethod = { field: 'method', type: 'nominal' as const, scale: { domain: used.map(({ label }) => label) }, legend };
  return {
    $schema: schema,
    config,
    data: {
      values: [
        ...floors,
        ...drawn.flatMap((point) =>
          sets
            .filter(({ name }) => name === point.forgetSet)
            .map((set) => ({
              kind: 'score',
              row: rowLabel(set),
              split: point.split,
              klomP95: point.klomP95,
              models: point.models,
              attributor: present.find(({ name }) => name === point.curve)?.title,
              method: used.find(({ name }) => name === point.method)?.label,
            })),
        ),
      ],
    },
    facet: {
      row: forgetSetRows(sets, 170),
      column: { field: 'split', type: 'nominal', sort: [...panelSplits], header: { title: null } },
    },
    spacing: { row: 18, column: 16 },
    spec: {
      width: 220,
      height: 170,
      layer: [
        {
          transform: [{ filter: "datum.kind === 'floor'" }],
          mark: { type: 'rule', strokeDash: [5, 3], strokeWidth: 1.2, color: ink },
          encoding: { y: { ...y, aggregate: 'mean' } },
        },
        {
          transform: [{ filter: "datum.kind === 'score'" }],
          mark: { type: 'line', strokeWidth: 1.4 },
          encoding: { ...encoding, strokeDash: byMethod },
        },
        {
          transform: [{ filter: "datum.kind === 'score'" }],
          mark: { type: 'point', filled: true, size: 55, opacity: 1 },
          encoding: { ...encoding, shape: byMethod },
        },
      ],
    },
  };
}
