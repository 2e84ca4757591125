/** Distance to the unlearned optimum over iterations, one panel a setting (the paper's Figures 5 and E.2). */
import type { TopLevelSpec } from 'vega-lite';
import type { RidgeBatch, RidgeEntry, RidgeStudy } from '../../types.js';
import { csv } from '../csv.js';
import { schema } from '../figure.js';
import type { Figure } from '../figure.js';
import { plural } from '../format.js';
import { ridgeLabel, ridgeStyles, powerLabel } from '../ridgeStyle.js';
import { config } from '../style.js';

const batches: readonly RidgeBatch[] = ['full', 'stochastic'];
const batchNames: Record<RidgeBatch, string> = { full: 'full batch', stochastic: 'stochastic' };
/** What is drawn of R; lines that leave it are cut at the frame. */
const yDomain = [1e-12, 1e3] as const;

export function ridgeDistance(study: RidgeStudy): Figure {
  const { settings, entries } = study;
  const example = settings.example;
  const panels = panelsOf(study);
  const name = example === 1 ? 'figure-5' : 'figure-e2';
  return {
    name,
    title: `Distance to the unlearned optimum, example ${example} (Figure ${example === 1 ? '5' : 'E.2'} of the paper)`,
    caption:
      `R = |theta_t - theta_*|^2 / |theta_full - theta_*|^2 of ridge regression with d = ${settings.dimension}, n = ${settings.numTrain}, ` +
      `${plural(settings.numForget, 'forget point')}, each method at its best step size. Lines are medians over ${plural(settings.seeds, 'repetition')}, ` +
      `bands reach from the 10th to the 90th percentile. Stochastic batches hold ${plural(settings.batchSize, 'point')}. Of GD + ascent the best weight is ` +
      'thick and has the band. Both axes are logarithmic; the start, R = 1 at iteration 0, is left of them. Lines that end at the top have diverged.',
    spec: spec(panels),
    csv: csv(
      ['panel', 'batch', 'lambda', 'method', 'ascentWeight', 'step', 'representative', 'iteration', 'p10', 'p50', 'p90'],
      panels.flatMap(({ letter, rows }) =>
        rows.flatMap((entry) =>
          entry.curve.iterations.map((t, l) => [
            letter,
            entry.batch,
            entry.lambda,
            entry.method,
            entry.ascentWeight ?? '',
            entry.step,
            entry.representative,
            t,
            entry.curve.p10[l]!,
            entry.curve.p50[l]!,
            entry.curve.p90[l]!,
          ]),
        ),
      ),
    ),
  };

  function panelsOf({ settings: { lambdas } }: RidgeStudy): Panel[] {
    return batches.flatMap((batch, row) =>
      lambdas.map((lambda, column) => {
        const letter = 'abcd'[2 * row + column]!;
        const rows = entries.filter((entry) => entry.batch === batch && entry.lambda === lambda);
        return { letter, title: `(${letter}) ${batchNames[batch]}, \u03bb = ${lambda}`, rows };
      }),
    );
  }
}

interface Panel {
  letter: string;
  title: string;
  rows: RidgeEntry[];
}

/** A line goes one point past the frame where its method diverged, and ends. */
function drawnValues(panel: Panel): object[] {
  const [low, high] = yDomain;
  const within = (value: number): number => Math.min(Math.max(value, low / 10), high * 10);
  // what comes first lies below
  const rows = [...panel.rows].sort((a, b) => Number(b.method === 'descent-ascent') - Number(a.method === 'descent-ascent'));
  return rows.flatMap(({ curve: { iterations, p10, p50, p90 }, ...entry }) => {
    const gone = p50.findIndex((value) => value > high);
    const end = gone === -1 ? iterations.length : gone + 1;
    return iterations.slice(1, end).map((t, l) => ({
      panel: panel.title,
      method: ridgeLabel(entry),
      representative: entry.representative,
      t,
      low: within(p10[l + 1]!),
      r: within(p50[l + 1]!),
      high: within(p90[l + 1]!),
    }));
  });
}

function spec(panels: readonly Panel[]): TopLevelSpec {
  const labels = ridgeStyles.map(({ label }) => label);
  const legend = {
    title: null,
    orient: 'bottom' as const,
    columns: 4,
    symbolType: 'stroke',
    symbolSize: 300,
    symbolStrokeWidth: 2.5,
    columnPadding: 18,
  };
  const color = {
    field: 'method',
    type: 'nominal' as const,
    scale: { domain: labels, range: ridgeStyles.map((style) => style.color) },
    legend,
  };
  const x = {
    field: 't',
    type: 'quantitative' as const,
    scale: { type: 'log' as const, nice: false },
    axis: { title: 'iteration', values: [1, 10, 100, 1000, 10_000, 100_000, 1_000_000], format: '~s' },
  };
  const scale = { type: 'log' as const, domain: [...yDomain], nice: false };
  const ticks = [1e-12, 1e-9, 1e-6, 1e-3, 1, 1e3];
  const y = (field: string) => ({
    field,
    type: 'quantitative' as const,
    scale,
    axis: { title: 'relative squared distance R', values: ticks, labelExpr: powerLabel },
  });
  const line = (representative: boolean, strokeWidth: number) => ({
    transform: [{ filter: `datum.representative === ${representative}` }],
    mark: { type: 'line' as const, strokeWidth, clip: true },
    encoding: { x, y: y('r'), color },
  });
  return {
    $schema: schema,
    config,
    data: { values: panels.flatMap(drawnValues) },
    facet: { field: 'panel', type: 'nominal', sort: panels.map(({ title }) => title), header: { title: null } },
    columns: 2,
    spacing: { row: 14, column: 18 },
    resolve: { scale: { x: 'independent' }, axis: { x: 'independent' } },
    spec: {
      width: 330,
      height: 220,
      layer: [
        {
          transform: [{ filter: 'datum.representative' }],
          mark: { type: 'area', opacity: 0.16, clip: true },
          encoding: { x, y: y('low'), y2: { field: 'high' }, color },
        },
        line(false, 1),
        line(true, 2.2),
      ],
    },
  };
}
