/** Percentiles of KLOM over points, one line a method at its representative setting. */
import type { TopLevelSpec } from 'vega-lite';
import { splitNames } from '../../types.js';
import type { MethodName, ReportData, SplitSummary } from '../../types.js';
import { unlearnMethod } from '../../unlearn/registry.js';
import { csv } from '../csv.js';
import { schema } from '../figure.js';
import type { Figure } from '../figure.js';
import { drawnNote, drawnSets } from '../manySets.js';
import { bestScores, describeModels, floorOf, percentiles, rowName, rowNames } from '../scores.js';
import { config, forgetSetRows, ink, klomScale, rowLabel } from '../style.js';

const lineHeight = 19;
const floorLabel = 'floor';
const bar = 'M-0.3,-1.1L0.3,-1.1L0.3,1.1L-0.3,1.1Z';
const shapes = [bar, 'triangle-up', 'circle', 'diamond'];

interface Line {
  forgetSet: string;
  split: (typeof splitNames)[number];
  /** As in tables/klom.csv: that of the floor is "floor". */
  method: MethodName;
  variant: string;
  label: string;
  color: string;
  summary: SplitSummary;
}

export function klomPercentiles(data: ReportData): Figure | undefined {
  const shown = drawnSets(data);
  const drawn = linesOf(shown).filter(({ summary }) => percentiles.every((percentile) => Number.isFinite(summary[percentile])));
  if (drawn.length === 0) return undefined;
  return {
    name: 'klom-percentiles',
    title: 'Spread of KLOM over points',
    caption:
      `Percentiles of KLOM over the points of each split, every method at the setting that represents it; ${describeModels(data)}.${drawnNote(data)} The axis is a square root. ` +
      'The dashed line is the 95th percentile of the measured floor (retrained against other retrained models), whose percentiles are the last line of each panel: ' +
      'a method whose four marks agree with those of the floor cannot be told from retraining with this many models.',
    spec: spec(shown, drawn),
    csv: csv(
      ['forgetSet', 'split', 'method', 'mean', ...percentiles, 'variant'],
      linesOf(data).map(({ forgetSet, split, method, summary, variant }) => [
        forgetSet,
        split,
        method,
        summary.mean,
        ...percentiles.map((p) => summary[p]),
        variant,
      ]),
    ),
  };
}

function linesOf(data: ReportData): Line[] {
  const lines: Line[] = [];
  for (const { name } of data.forgetSets)
    for (const split of splitNames) {
      for (const score of bestScores(data, name)) {
        const { method, variant = '' } = score;
        const { color } = unlearnMethod(method).mark;
        lines.push({ forgetSet: name, split, method, variant, label: rowName(score), color, summary: score.splits[split] });
      }
      const floor = floorOf(data, name);
      if (floor !== undefined)
        lines.push({ forgetSet: name, split, method: 'floor', variant: '', label: floorLabel, color: ink, summary: floor.measured[split] });
    }
  return lines;
}

function spec(data: ReportData, drawn: Line[]): TopLevelSpec {
  const values: object[] = data.forgetSets.flatMap((set) =>
    drawn
      .filter((line) => line.forgetSet === set.name)
      .flatMap(({ split, label, color, summary }) => {
        const common = { row: rowLabel(set), split, method: label, color };
        return [
          { kind: 'range', ...common, from: summary.p50, to: summary.p99 },
          ...percentiles.map((percentile) => ({ kind: 'mark', ...common, percentile, klom: summary[percentile] })),
        ];
      }),
  );
  const order = [...rowNames(data), floorLabel];
  const y = { field: 'method', type: 'nominal' as const, sort: order, axis: { title: null, grid: true, ticks: false, domain: false } };
  const color = { field: 'color', type: 'nominal' as const, scale: null };
  const { scale, ticks } = klomScale(drawn.map(({ summary }) => summary.p99));
  const axis = { title: 'KLOM (nats)', ...ticks };
  return {
    $schema: schema,
    config,
    data: { values },
    facet: {
      row: forgetSetRows(data.forgetSets, lineHeight * new Set(drawn.map(({ label }) => label)).size),
      column: { field: 'split', type: 'nominal', sort: [...splitNames], header: { title: null } },
    },
    spacing: { row: 18, column: 16 },
    spec: {
      width: 235,
      height: { step: lineHeight },
      layer: [
        {
          transform: [{ filter: `datum.percentile === 'p95' && datum.method === '${floorLabel}'` }],
          mark: { type: 'rule', strokeDash: [5, 3], strokeWidth: 1.2, color: ink },
          encoding: { x: { field: 'klom', type: 'quantitative' } },
        },
        {
          transform: [{ filter: "datum.kind === 'range'" }],
          mark: { type: 'rule', strokeWidth: 1.4, opacity: 0.6 },
          encoding: { x: { field: 'from', type: 'quantitative' }, x2: { field: 'to' }, y, color },
        },
        {
          transform: [{ filter: "datum.kind === 'mark'" }],
          mark: { type: 'point', filled: true, size: 36, opacity: 1 },
          encoding: {
            x: { field: 'klom', type: 'quantitative', axis, scale },
            y,
            color,
            shape: {
              field: 'percentile',
              type: 'nominal',
              scale: { domain: [...percentiles], range: shapes },
              legend: { title: 'percentile over points', orient: 'bottom', titleOrient: 'left', direction: 'horizontal' },
            },
          },
        },
      ],
    },
  };
}
