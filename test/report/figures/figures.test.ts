import { attributorKlom } from '../../../src/report/figures/attributorKlom.js';
import { computeAxis, computeKlom } from '../../../src/report/figures/computeKlom.js';
import { klomPercentiles } from '../../../src/report/figures/klomPercentiles.js';
import { ldsCurve } from '../../../src/report/figures/lds.js';
import { histogramOf, marginHistograms } from '../../../src/report/figures/marginHistograms.js';
import { rescaling } from '../../../src/report/figures/rescaling.js';
import type { Figure } from '../../../src/report/figure.js';
import { renderSvg } from '../../../src/report/render.js';
import { comparedFixture, fixture } from '../fixture.js';
import { elements, parseMarkup, texts } from '../markup.js';
import type { Element } from '../markup.js';

const data = fixture();
/** Vega-lite says on the console what is wrong with a specification. */
const warnings: unknown[] = [];
console.warn = (...words) => warnings.push(words);

async function draw(figure: Figure | undefined): Promise<Element> {
  if (figure === undefined) throw new Error('nothing to draw');
  const svg = parseMarkup(await renderSvg(figure));
  expect(svg.name).toBe('svg');
  expect(warnings).toEqual([]);
  return svg;
}

/** Paths drawn by groups of marks of one kind, e.g. "mark-symbol", legends included. */
function marks(svg: Element, kind: string): Element[] {
  return elements(svg)
    .filter((element) => element.attributes['class']?.split(' ').includes(kind))
    .flatMap((group) => group.children);
}

const records = (figure: Figure | undefined): string[][] =>
  (figure?.csv ?? '')
    .trimEnd()
    .split('\n')
    .slice(1)
    .map((line) => line.split(/,(?=(?:[^"]*"[^"]*")*[^"]*$)/));

describe('compute against KLOM', () => {
  it('draws every setting in every panel and names methods, splits, forget sets and units', async () => {
    const svg = await draw(computeKlom(data));
    const words = texts(svg);
    for (const word of ['average', 'forget', 'retain', 'validation', 'random-40', '40 points', 'pc1-100', '100 points'])
      expect(words).toContain(word);
    for (const word of ['do nothing', 'full retrain', 'SCRUB', 'DM-Direct', 'DMM', 'measured floor', 'Pareto front of a method'])
      expect(words).toContain(word);
    for (const word of ['KLOM, 95th percentile (nats)', 'compute / one full retraining', '0', '0.001', '1']) expect(words).toContain(word);
    const drawn = marks(svg, 'mark-symbol').filter((mark) => mark.attributes['transform'] !== undefined);
    expect(drawn.length).toBeGreaterThanOrEqual(data.scores.length * 4);
  });

  it('lists every score of every split with its floor and marks the front', () => {
    const rows = records(computeKlom(data));
    expect(rows).toHaveLength(data.scores.length * 4);
    const retrain = rows.find((row) => row[0] === 'random-40' && row[1] === 'forget' && row[2] === 'full-retrain')!;
    const score = data.scores.find((entry) => entry.forgetSet === 'random-40' && entry.method === 'full-retrain')!;
    expect(retrain.slice(4)).toEqual(['1', String(score.splits.forget.p95), String(data.floors[0]!.measured.forget.p95), 'true', 'true']);
    const ascent = rows.filter((row) => row[0] === 'pc1-100' && row[1] === 'average' && row[2] === 'gradient-ascent');
    const onFront = ascent.filter((row) => row[8] === 'true').map((row) => Number(row[5]));
    expect(Math.min(...ascent.map((row) => Number(row[5])))).toBe(Math.min(...onFront));
  });

  it('puts zero left of a break and of every decade', () => {
    for (const fractions of [[], [0], [0, 1], [0.004, 0.3], [3e-6, 2.5]]) {
      const axis = computeAxis(fractions);
      const positive = fractions.filter((value) => value > 0);
      expect(axis.domain[0]).toBeLessThan(axis.zero);
      expect(axis.zero).toBeLessThan(axis.breakAt);
      expect(axis.breakAt).toBeLessThan(Math.min(axis.ticks[0]!, ...positive));
      expect(axis.domain[1]).toBeGreaterThan(Math.max(1, ...positive));
      expect(axis.ticks).toContain(1);
    }
  });
});

describe('margin histograms', () => {
  it('counts every finite margin once in bins shared by the panel', () => {
    const sample = {
      forgetSet: 'f',
      split: 'forget' as const,
      point: 3,
      label: 'cat',
      original: [0, 1, 2, NaN],
      oracle: [-8, -8],
      dmDirect: [],
    };
    const { edges, fractions } = histogramOf(sample)!;
    expect([edges[0], edges.at(-1), edges.length]).toEqual([-8, 2, 21]);
    expect(fractions.original!.filter((value) => value > 0)).toEqual([1 / 3, 1 / 3, 1 / 3]);
    expect(fractions.original!.at(-1)).toBe(1 / 3);
    expect(fractions.oracle![0]).toBe(1);
    expect(fractions.dmDirect).toBeUndefined();
    expect(histogramOf({ ...sample, original: [NaN], oracle: [] })).toBeUndefined();
    expect(histogramOf({ ...sample, original: [5, 5], oracle: [5] })!.edges[0]).toBe(4.5);
  });

  it('has one panel a point and three areas in each', async () => {
    const figure = marginHistograms(data);
    const svg = await draw(figure);
    expect(marks(svg, 'mark-area')).toHaveLength(data.marginSamples.length * 3);
    const words = texts(svg);
    for (const word of ['random-40: forget points', 'pc1-100: retain points', 'point 228 (ship)', 'margin (logits)', 'oracle (retrained)'])
      expect(words).toContain(word);
    const sums = new Map<string, number>();
    for (const row of records(figure)) sums.set(row.slice(0, 5).join(), (sums.get(row.slice(0, 5).join()) ?? 0) + Number(row[7]));
    for (const sum of sums.values()) expect(sum).toBeCloseTo(1, 9);
  });
});

describe('other figures', () => {
  it('draws LDS by number of models', async () => {
    const figure = ldsCurve(data);
    const words = texts(await draw(figure));
    for (const word of ['training points', 'validation points', 'Lasso', '50', '400', 'LDS (mean Spearman correlation)'])
      expect(words).toContain(word);
    expect(records(figure)[0]).toEqual(['lasso', 'train', '50', '0.3', '0.31', '0.27999999999999997', '0.32']);
  });

  it('draws the ceiling of LDS where it was measured', async () => {
    const ceiling = { points: 'train', mean: 0.7, low: 0.68, high: 0.72, reliability: 0.49, numMasks: 40 } as const;
    const figure = ldsCurve({ ...data, ldsCeilings: [ceiling] });
    const dashes = elements(await draw(figure)).filter(({ attributes }) => attributes['stroke-dasharray'] === '5,4');
    expect(dashes).toHaveLength(1);
    expect(records(figure)[0]!.at(-1)).toBe('0.7');
  });

  it('draws the percentiles of every method and of the floor', async () => {
    const figure = klomPercentiles(data);
    const words = texts(await draw(figure));
    for (const word of ['floor', 'DMM', 'p50', 'p99', 'KLOM (nats)', 'percentile over points']) expect(words).toContain(word);
    expect(records(figure)).toHaveLength(2 * 3 * 12);
  });

  it('draws what methods make of each attributor, by its models', async () => {
    const compared = comparedFixture();
    const figure = attributorKlom(compared);
    const words = texts(await draw(figure));
    for (const word of ['DM-Direct', 'DMM', 'covariance', 'Lasso', '100', '1000', 'subset models', 'KLOM, p95 (nats)'])
      expect(words).toContain(word);
    const direct = records(figure).filter(
      ([set, method, , , split]) => set === 'random-40' && method === 'dm-direct' && split === 'forget',
    );
    expect(direct.map((row) => [row[2], row[3], row[5]])).toEqual([
      ['covariance', '1000', '1.5'],
      ['lasso', '1000', '2.5'],
      ['covariance', '100', '2'],
    ]);
    expect(attributorKlom(data)).toBeUndefined();
  });

  it('draws what a factor of the weights changes', async () => {
    const figure = rescaling(comparedFixture());
    const words = texts(await draw(figure));
    for (const word of ['all weights', 'memorisation scores only', 'mean', '95th percentile', 'factor of the weights'])
      expect(words).toContain(word);
    const rows = records(figure).filter((row) => row[0] === 'random-40' && row[4] === 'forget' && row[5] === '95th percentile');
    expect(rows.map((row) => [row[1], row[3], Number(row[6]).toFixed(2)])).toContainEqual(['covariance', '1.2', '1.66']);
    expect(rows).toHaveLength(6);
    expect(rescaling(data)).toBeUndefined();
  });

  it('labels every tick of a KLOM axis with its own value', async () => {
    const forget = (value: number) => ({ mean: value, p50: value, p85: value, p95: value, p99: value });
    const splits = { average: forget(4), forget: forget(4), retain: forget(4), validation: forget(4) };
    const scores = data.scores.map((score) => ({ ...score, splits }));
    for (const make of [computeKlom, klomPercentiles]) {
      const words = texts(await draw(make({ ...data, scores })));
      expect(words).toEqual(expect.arrayContaining(['0.25', '0.5', '2', '4']));
      expect(words).not.toContain('0.3');
    }
  });

  it('leaves out what there is nothing to draw for', () => {
    const nothing = { ...data, scores: [], floors: [], lds: [], marginSamples: [] };
    for (const make of [computeKlom, klomPercentiles, ldsCurve, marginHistograms]) expect(make(nothing)).toBeUndefined();
  });
});
