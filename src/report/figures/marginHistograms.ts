/** Margins of sampled points in original, retrained and predicted models (the paper's Figure 4). */
import type { TopLevelSpec } from 'vega-lite';
import type { MarginSample, ReportData } from '../../types.js';
import { dmDirect, doNothing, fullRetrain } from '../../unlearn/registry.js';
import { csv } from '../csv.js';
import { schema } from '../figure.js';
import type { Figure } from '../figure.js';
import { hasManySets } from '../manySets.js';
import { config } from '../style.js';

const numBins = 20;
const panelsPerRow = 4;
/** Forget sets that are drawn where there are many. */
const setsOfMany = 2;

const series = [
  { key: 'original', label: 'original', color: doNothing.mark.color, fill: 0.3 },
  { key: 'oracle', label: 'oracle (retrained)', color: fullRetrain.mark.color, fill: 0.1 },
  { key: 'dmDirect', label: 'DM-Direct (predicted)', color: dmDirect.mark.color, fill: 0.35 },
] as const;

export interface Histogram {
  /** (numBins + 1) bin edges, the same for all series of a panel */
  edges: number[];
  /** Fraction of a series' finite margins in each bin; the last bin is closed. A series without margins is left out. */
  fractions: Partial<Record<(typeof series)[number]['key'], number[]>>;
}

export function marginHistograms(data: ReportData): Figure | undefined {
  const panels = data.marginSamples.flatMap((sample) => {
    const histogram = histogramOf(sample);
    return histogram === undefined ? [] : [{ sample, histogram }];
  });
  if (panels.length === 0) return undefined;
  const rows: (string | number)[][] = [];
  for (const { sample, histogram } of panels)
    for (const { key } of series)
      histogram.fractions[key]?.forEach((fraction, bin) => {
        const [low, high] = [histogram.edges[bin]!, histogram.edges[bin + 1]!];
        rows.push([sample.forgetSet, sample.split, sample.point, sample.label, key, low, high, fraction]);
      });
  return {
    name: 'margin-histograms',
    title: 'Margins of sampled points',
    caption:
      'Distribution over models of the margin of single points, for randomly sampled points of each forget set and of its retain set: original models, ' +
      `oracle models retrained without the forget set, and the prediction of DM-Direct. Each panel has ${numBins} equal bins shared by the three. ` +
      'Where DM-Direct is right its histogram lies on that of the oracles; where forgetting changes nothing all three coincide.' +
      (hasManySets(data) ? ` Drawn for the first ${setsOfMany} of ${data.forgetSets.length} forget sets; the CSV has all.` : ''),
    spec: spec({ ...data, forgetSets: data.forgetSets.slice(0, hasManySets(data) ? setsOfMany : undefined) }, panels),
    csv: csv(['forgetSet', 'split', 'point', 'label', 'models', 'marginLow', 'marginHigh', 'fraction'], rows),
  };
}

/** Undefined where no margin is finite. A panel in which all margins are equal gets bins of width 1 / numBins around them. */
export function histogramOf(sample: MarginSample): Histogram | undefined {
  const finite = series.map(({ key }) => sample[key].filter(Number.isFinite));
  const all = finite.flat();
  if (all.length === 0) return undefined;
  let low = all.reduce((a, b) => Math.min(a, b));
  let high = all.reduce((a, b) => Math.max(a, b));
  if (low === high) [low, high] = [low - 0.5, high + 0.5];
  const edges = Array.from({ length: numBins + 1 }, (_, edge) => low + ((high - low) * edge) / numBins);
  const fractions: Histogram['fractions'] = {};
  series.forEach(({ key }, index) => {
    const margins = finite[index]!;
    if (margins.length === 0) return;
    const counts = new Array<number>(numBins).fill(0);
    for (const margin of margins) {
      const bin = Math.min(Math.floor(((margin - low) / (high - low)) * numBins), numBins - 1);
      counts[bin] = counts[bin]! + 1;
    }
    fractions[key] = counts.map((count) => count / margins.length);
  });
  return { edges, fractions };
}

interface Panel {
  sample: MarginSample;
  histogram: Histogram;
}

function spec(data: ReportData, panels: Panel[]): TopLevelSpec {
  const rows = data.forgetSets.flatMap(({ name }) =>
    (['forget', 'retain'] as const).flatMap((split) => {
      const own = panels.filter(({ sample }) => sample.forgetSet === name && sample.split === split);
      const chunks: Panel[][] = [];
      for (let start = 0; start < own.length; start += panelsPerRow) chunks.push(own.slice(start, start + panelsPerRow));
      return chunks.map((chunk, index) => ({ chunk, title: `${name}: ${split} points${index === 0 ? '' : ', continued'}` }));
    }),
  );
  return {
    $schema: schema,
    config,
    spacing: 22,
    resolve: { scale: { color: 'shared' }, legend: { color: 'shared' } },
    vconcat: rows.map(({ chunk, title }) => ({
      title: { text: title, offset: 8 },
      spacing: 16,
      resolve: { scale: { color: 'shared' as const }, legend: { color: 'shared' as const } },
      hconcat: chunk.map((panel, column) => panelSpec(panel, column === 0)),
    })),
  };
}

function panelSpec({ sample, histogram }: Panel, first: boolean) {
  const { edges, fractions } = histogram;
  const values = series.flatMap(({ key, label, fill }) => {
    const own = fractions[key];
    // a step-after line needs the last bin's height at its right edge once more
    return own === undefined
      ? []
      : edges.map((margin, edge) => ({ models: label, fill, margin, fraction: own[Math.min(edge, numBins - 1)]! }));
  });
  const highest = values.reduce((top, { fraction }) => Math.max(top, fraction), 0);
  const domain: string[] = series.map(({ label }) => label);
  const range: string[] = series.map(({ color }) => color);
  return {
    title: { text: `point ${sample.point} (${sample.label})`, fontSize: 10, fontWeight: 'normal' as const, offset: 3, limit: 180 },
    width: 180,
    height: 100,
    data: { values },
    mark: { type: 'area' as const, interpolate: 'step-after' as const, line: { strokeWidth: 1.4 } },
    encoding: {
      x: {
        field: 'margin',
        type: 'quantitative' as const,
        scale: { zero: false, nice: false, domain: [edges[0]!, edges.at(-1)!] },
        axis: { title: 'margin (logits)', tickCount: 5, grid: false },
      },
      y: {
        field: 'fraction',
        type: 'quantitative' as const,
        stack: null,
        scale: { domain: [0, highest * 1.16], nice: false },
        axis: { title: first ? 'fraction of models' : null, tickCount: 3, minExtent: 28 },
      },
      color: {
        field: 'models',
        type: 'nominal' as const,
        scale: { domain, range },
        legend: { title: null, orient: 'bottom' as const, symbolType: 'square' },
      },
      fillOpacity: { field: 'fill', type: 'quantitative' as const, scale: null },
    },
  };
}
