/** KLOM against compute for every setting of every method (the paper's Figures 1, 3 and H.3). */
import type { TopLevelSpec } from 'vega-lite';
import type { MethodScore, ReportData } from '../../types.js';
import { unlearnMethod } from '../../unlearn/registry.js';
import { csv } from '../csv.js';
import { schema } from '../figure.js';
import type { Figure } from '../figure.js';
import { plural } from '../format.js';
import { drawnNote, drawnSets } from '../manySets.js';
import { describeModels, describeSetting, floorOf, methodsIn, panelSplits, paretoFront } from '../scores.js';
import type { PanelSplit } from '../scores.js';
import { config, forgetSetRows, ink, klomScale, methodChannels, rowLabel } from '../style.js';

const panelHeight = 185;

interface Point {
  score: MethodScore;
  split: PanelSplit;
  klomP95: number;
  onFront: boolean;
}

/** Scores that can be drawn have a finite value and a compute fraction. */
export function computeKlom(data: ReportData): Figure | undefined {
  const points = pointsOf(data);
  const shown = drawnSets(data);
  const candidates = shown === data ? points : pointsOf(shown);
  const drawn = candidates.filter((point) => Number.isFinite(point.klomP95) && Number.isFinite(point.score.computeFraction));
  if (drawn.length === 0) return undefined;
  return {
    name: 'compute-klom',
    title: 'Unlearning quality against compute',
    caption: caption(data, candidates.length - drawn.length),
    spec: spec(shown, drawn),
    csv: csv(
      ['forgetSet', 'split', 'method', 'setting', 'computeFraction', 'klomP95', 'floorP95', 'best', 'onFront'],
      points.map(({ score, split, klomP95, onFront }) => [
        score.forgetSet,
        split,
        score.method,
        describeSetting(score.setting),
        score.computeFraction,
        klomP95,
        floorOf(data, score.forgetSet)?.measured[split].p95 ?? NaN,
        score.best,
        onFront,
      ]),
    ),
  };
}

function pointsOf(data: ReportData): Point[] {
  const points: Point[] = [];
  for (const { name } of data.forgetSets)
    for (const split of panelSplits)
      for (const method of methodsIn(data, name)) {
        const scores = data.scores.filter((score) => score.forgetSet === name && score.method === method);
        const fronts = [...new Set(scores.map((score) => score.variant))].flatMap((variant) =>
          paretoFront(
            scores.filter((score) => score.variant === variant),
            (score) => score.computeFraction,
            (score) => score.splits[split].p95,
          ),
        );
        const front = new Set(fronts);
        for (const score of scores) points.push({ score, split, klomP95: score.splits[split].p95, onFront: front.has(score) });
      }
  return points;
}

/** A logarithmic axis has no 0: free methods stand at `zero`, left of a break at `breakAt`, and that tick is labelled 0. */
export interface ComputeAxis {
  zero: number;
  breakAt: number;
  domain: [number, number];
  ticks: number[];
}

export function computeAxis(fractions: readonly number[]): ComputeAxis {
  const positive = fractions.filter((fraction) => fraction > 0);
  const lowest = positive.reduce((least, fraction) => Math.min(least, fraction), 1e-2);
  const highest = positive.reduce((most, fraction) => Math.max(most, fraction), 1);
  const firstDecade = Math.floor(Math.log10(lowest) + 1e-9);
  const first = 10 ** firstDecade;
  const ticks: number[] = [];
  for (let decade = firstDecade; 10 ** decade <= highest * (1 + 1e-9); decade += 1) ticks.push(Number((10 ** decade).toPrecision(1)));
  // most of a decade for zero, and room to the right of 1 for its marks
  return { zero: first / 5, breakAt: first / 2.2, domain: [first / 9, highest * 1.8], ticks };
}

/** Rows of the plot: one per drawn score and split, then one per measured floor and split. */
function plotValues(data: ReportData, drawn: Point[], axis: ComputeAxis): object[] {
  const values: object[] = [];
  for (const set of data.forgetSets) {
    const row = rowLabel(set);
    for (const { score, split, klomP95, onFront } of drawn) {
      if (score.forgetSet !== set.name) continue;
      const x = score.computeFraction > 0 ? score.computeFraction : axis.zero;
      const { label } = unlearnMethod(score.method);
      const kind = score.best ? 'best' : 'setting';
      values.push({
        kind,
        row,
        split,
        method: label,
        x,
        y: klomP95,
        onFront,
        setting: describeSetting(score.setting),
        variant: score.variant ?? '',
      });
    }
    const floor = floorOf(data, set.name);
    if (floor === undefined) continue;
    for (const split of panelSplits)
      if (Number.isFinite(floor.measured[split].p95)) values.push({ kind: 'floor', row, split, y: floor.measured[split].p95 });
  }
  return values;
}

function computeX(axis: ComputeAxis) {
  const values: number[] = [axis.zero, ...axis.ticks];
  const labelExpr = `datum.value < ${axis.breakAt} ? '0' : format(datum.value, '~g')`;
  return {
    field: 'x',
    type: 'quantitative',
    scale: { type: 'log', domain: axis.domain, nice: false },
    axis: { title: 'compute / one full retraining', values, labelExpr },
  } as const;
}

const measuredFloors = (data: ReportData): number[] =>
  data.floors.flatMap((floor) => panelSplits.map((split) => floor.measured[split].p95)).filter(Number.isFinite);

function klomY(drawn: readonly Point[], floors: readonly number[]) {
  const { scale, ticks } = klomScale([...drawn.map((point) => point.klomP95), ...floors]);
  return { field: 'y', type: 'quantitative' as const, axis: { title: 'KLOM, 95th percentile (nats)', ...ticks }, scale };
}

/** A legend entry for each kind of line. */
function lineKind(datum: 'Pareto front of a method' | 'measured floor') {
  const domain: string[] = ['Pareto front of a method', 'measured floor'];
  const range: number[][] = [
    [1, 0],
    [5, 3],
  ];
  const legend = { title: null, orient: 'bottom', symbolType: 'stroke', symbolSize: 400, symbolStrokeWidth: 1.6, columns: 1 } as const;
  return { datum, scale: { domain, range }, legend };
}

function spec(data: ReportData, drawn: Point[]): TopLevelSpec {
  const axis = computeAxis(drawn.map((point) => point.score.computeFraction));
  const { color, shape } = methodChannels(methodsIn(data), { title: null, orient: 'bottom', columns: 5, columnPadding: 18, rowPadding: 4 });
  const y = klomY(drawn, measuredFloors(data));
  const position = { x: computeX(axis), y };
  const only = (filter: string) => [{ filter }];
  return {
    $schema: schema,
    config,
    data: { values: plotValues(data, drawn, axis) },
    facet: {
      row: forgetSetRows(data.forgetSets, panelHeight),
      column: { field: 'split', type: 'nominal', sort: [...panelSplits], header: { title: null } },
    },
    spacing: { row: 18, column: 14 },
    spec: {
      width: 190,
      height: panelHeight,
      layer: [
        { mark: { type: 'rule', strokeDash: [1, 3], color: '#999999' }, encoding: { x: { datum: axis.breakAt } } },
        {
          transform: only("datum.kind === 'floor'"),
          mark: { type: 'rule', color: ink, strokeWidth: 1.2 },
          encoding: { y, strokeDash: lineKind('measured floor') },
        },
        {
          transform: only('datum.onFront'),
          mark: { type: 'line', strokeWidth: 1.6 },
          encoding: { ...position, color, strokeDash: lineKind('Pareto front of a method'), detail: { field: 'variant' } },
        },
        {
          transform: only("datum.kind === 'setting' && datum.variant === ''"),
          mark: { type: 'point', filled: true, size: 30, opacity: 0.45 },
          encoding: { ...position, color, shape },
        },
        {
          transform: only("datum.kind === 'best' && datum.variant === ''"),
          mark: { type: 'point', filled: true, size: 85, opacity: 1, stroke: 'white', strokeWidth: 0.8 },
          encoding: { ...position, color, shape },
        },
        {
          transform: only("(datum.kind === 'setting' || datum.kind === 'best') && datum.variant !== ''"),
          mark: { type: 'point', filled: false, strokeWidth: 1.4 },
          encoding: { ...position, color, shape, size: { condition: { test: "datum.kind === 'best'", value: 75 }, value: 24 } },
        },
      ],
    },
  };
}

function caption(data: ReportData, notDrawn: number): string {
  const sentences = [
    'KLOM (95th percentile over the points of a split, in nats; lower is better, 0 is a perfect match with retrained models) against gradient work as a fraction of one full retraining.',
    `Rows are forget sets; columns are the average of the three splits and the splits themselves; ${describeModels(data)}.`,
    'Every setting of every method is a point, the large one is the setting that represents the method in the tables; lines are the Pareto fronts; ablations and other forms of a method have open marks.' +
      drawnNote(data),
    'The compute axis is logarithmic with a break: methods without gradient work stand at 0. The KLOM axis is a square root. Training the models behind the datamodels is not counted.',
    'The dashed line is the measured floor: what retrained models score against other retrained models, as many of each as of the methods.',
  ];
  if (notDrawn > 0) sentences.push(`${plural(notDrawn, 'score')} without a finite value ${notDrawn === 1 ? 'is' : 'are'} not drawn.`);
  return sentences.join(' ');
}
