/** Stochastic gradient descent at the large lambda, inside and orthogonal to the retain span (the paper's Figure E.1). */
import type { TopLevelSpec } from 'vega-lite';
import type { RidgeCurve, RidgeSpanCurve, RidgeStudy } from '../../types.js';
import { csv } from '../csv.js';
import { schema } from '../figure.js';
import type { Figure } from '../figure.js';
import { plural } from '../format.js';
import { powerLabel } from '../ridgeStyle.js';
import { config } from '../style.js';

const factors = [
  { factor: 4, label: '4 times the best step', color: '#d55e00' },
  { factor: 1, label: 'best step', color: '#000000' },
  { factor: 0.25, label: 'a quarter of the best step', color: '#56b4e9' },
] as const;

const panels = [
  { letter: 'a', part: 'inSpan', title: '(a) in the span of the retain set' },
  { letter: 'b', part: 'orthogonal', title: '(b) orthogonal to it' },
] as const;

export function ridgeSpan({ settings, spanCurves }: RidgeStudy): Figure {
  const best = spanCurves.find(({ factor }) => factor === 1)!;
  return {
    name: settings.example === 1 ? 'figure-e1' : 'figure-e1-example-2',
    title: `Stochastic GD at \u03bb = ${best.lambda}, by step size, example ${settings.example} (Figure E.1 of the paper)`,
    caption:
      `Squared distance to theta_* inside and orthogonal to the span of the retain points, relative to |theta_full - theta_*|^2, of stochastic GD ` +
      `(${plural(settings.batchSize, 'point')} a batch) at its best step size ${best.step.toPrecision(3)} and at four times more and less. Lines are medians over ` +
      `${plural(settings.seeds, 'repetition')}, bands reach from the 10th to the 90th percentile. Larger steps converge faster orthogonal to the span and do harm inside it.`,
    spec: spec(spanCurves),
    csv: csv(
      ['panel', 'lambda', 'factor', 'step', 'iteration', 'p10', 'p50', 'p90'],
      panels.flatMap(({ letter, part }) =>
        spanCurves.flatMap(({ lambda, factor, step, [part]: { iterations, p10, p50, p90 } }) =>
          iterations.map((t, l) => [letter, lambda, factor, step, t, p10[l]!, p50[l]!, p90[l]!]),
        ),
      ),
    ),
  };
}

/** Smallest power of ten drawn: where the slowest curve of the best step is. */
function lowestDecade(spanCurves: readonly RidgeSpanCurve[]): number {
  const best = spanCurves.find(({ factor }) => factor === 1)!;
  const seen = [...best.inSpan.p10, ...best.orthogonal.p10].filter((value) => value > 0);
  return 10 ** Math.max(-8, Math.floor(Math.log10(seen.reduce((a, b) => Math.min(a, b), 1))));
}

function values(spanCurves: readonly RidgeSpanCurve[], lowest: number): object[] {
  const within = (value: number): number => Math.min(Math.max(value, lowest / 10), 1e4);
  const rows = ({ iterations, p10, p50, p90 }: RidgeCurve, panel: string, step: string) =>
    iterations.flatMap((t, l) => (t === 0 ? [] : [{ panel, step, t, low: within(p10[l]!), r: within(p50[l]!), high: within(p90[l]!) }]));
  return panels.flatMap(({ part, title }) =>
    factors.flatMap(({ factor, label }) => rows(spanCurves.find((curve) => curve.factor === factor)![part], title, label)),
  );
}

function spec(spanCurves: readonly RidgeSpanCurve[]): TopLevelSpec {
  const lowest = lowestDecade(spanCurves);
  const labels: string[] = factors.map(({ label }) => label);
  const range: string[] = factors.map((look) => look.color);
  const legend = {
    title: null,
    orient: 'bottom' as const,
    symbolType: 'stroke',
    symbolSize: 300,
    symbolStrokeWidth: 2.5,
    columnPadding: 18,
  };
  const color = { field: 'step', type: 'nominal' as const, scale: { domain: labels, range }, legend };
  const x = {
    field: 't',
    type: 'quantitative' as const,
    scale: { type: 'log' as const, nice: false },
    axis: { title: 'iteration', values: [1, 10, 100, 1000, 10_000, 100_000, 1_000_000], format: '~s' },
  };
  const scale = { type: 'log' as const, domain: [lowest, 10], nice: false };
  const decades = Array.from({ length: 2 - Math.round(Math.log10(lowest)) }, (_, k) => 10 ** (1 - k));
  const y = (field: string) => ({
    field,
    type: 'quantitative' as const,
    scale,
    axis: { title: 'relative squared distance', values: decades, labelExpr: powerLabel },
  });
  return {
    $schema: schema,
    config,
    data: { values: values(spanCurves, lowest) },
    facet: { column: { field: 'panel', type: 'nominal', sort: panels.map(({ title }) => title), header: { title: null } } },
    spacing: 18,
    spec: {
      width: 330,
      height: 220,
      layer: [
        { mark: { type: 'area', opacity: 0.16, clip: true }, encoding: { x, y: y('low'), y2: { field: 'high' }, color } },
        { mark: { type: 'line', strokeWidth: 2.2, clip: true }, encoding: { x, y: y('r'), color } },
      ],
    },
  };
}
