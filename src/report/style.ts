/** How figures look. Methods bring their marks: colours after Okabe and Ito, who chose them for colour-blind readers; references grey and black. */
import type { Config } from 'vega-lite';
import type { MethodName } from '../types.js';
import { unlearnMethod } from '../unlearn/registry.js';
import { plural } from './format.js';

export const font = 'DejaVu Sans, sans-serif';
export const ink = '#222222';
const faint = '#d9d9d9';

export const config: Config = {
  background: 'white',
  font,
  // one label per mark would make the files ten times as large; the page gives each figure a text alternative
  aria: false,
  padding: 8,
  view: { stroke: faint },
  title: { fontSize: 12, fontWeight: 'bold', color: ink, anchor: 'start' },
  axis: {
    labelFontSize: 10,
    titleFontSize: 11,
    titleFontWeight: 'normal',
    labelColor: ink,
    titleColor: ink,
    gridColor: '#eeeeee',
    domainColor: '#888888',
    tickColor: '#888888',
    tickSize: 4,
  },
  header: { labelFontSize: 11, labelFontWeight: 'bold', labelColor: ink, labelLimit: 400, title: null },
  legend: {
    labelFontSize: 11,
    titleFontSize: 11,
    titleFontWeight: 'normal',
    labelColor: ink,
    titleColor: ink,
    symbolOpacity: 1,
    labelLimit: 400,
    symbolSize: 80,
  },
};

/** Colour and shape of methods as one legend; the field `method` holds the label. */
export function methodChannels<Legend extends object | null>(methods: readonly MethodName[], legend: Legend) {
  const shown = methods.map(unlearnMethod);
  const domain = shown.map(({ label }) => label);
  const channel = (range: string[]) => ({ field: 'method', type: 'nominal' as const, scale: { domain, range }, legend });
  return { color: channel(shown.map(({ mark }) => mark.color)), shape: channel(shown.map(({ mark }) => mark.shape)) };
}

/** A square-root axis for KLOM from 0: what happens near the floor stays visible beside values near the cap (ln 1e5). */
export function klomScale(values: readonly number[]) {
  const highest = values.reduce((a, b) => Math.max(a, b), 0);
  const domain: number[] = [0, highest > 0 ? highest * 1.06 : 1];
  const top = 2 ** Math.floor(Math.log2(domain[1]!));
  const marked: number[] = [0, top / 16, top / 8, top / 4, top / 2, top];
  // given a format, vega rounds labels to the step of the ticks that it would have chosen itself: 0.25 became 0.3
  return { scale: { type: 'sqrt' as const, domain, nice: false }, ticks: { values: marked, labelExpr: "format(datum.value, '~g')" } };
}

/** Forget sets as rows of panels: the name above the number of points (where it is one), both along the left edge. */
export const rowLabel = ({ name, size }: { name: string; size: number }): string =>
  Number.isNaN(size) ? name : `${name}\n${plural(size, 'point')}`;

export function forgetSetRows(sets: readonly { name: string; size: number }[], panelHeight: number) {
  const header = { title: null, labelOrient: 'left' as const, labelExpr: "split(datum.label, '\\n')", labelLimit: panelHeight };
  return { field: 'row', type: 'nominal' as const, sort: sets.map(rowLabel), header };
}
