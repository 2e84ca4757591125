/** How methods look, the same in every figure. */
import type { Config } from 'vega-lite';
import type { MethodName } from '../types.js';
import { plural } from './format.js';

/** Polygons in the square from -1 to 1, for symbols that vega has no name for. */
const star = 'M0,-1.25L0.29,-0.4L1.19,-0.39L0.47,0.15L0.73,1.01L0,0.5L-0.73,1.01L-0.47,0.15L-1.19,-0.39L-0.29,-0.4Z';
const crosswise = 'M-1,-0.6L-0.6,-1L0,-0.4L0.6,-1L1,-0.6L0.4,0L1,0.6L0.6,1L0,0.4L-0.6,1L-1,0.6L-0.4,0Z';

export interface MethodStyle {
  label: string;
  color: string;
  /** A vega symbol name or an SVG path: methods stay apart in grey print too. */
  shape: string;
}

/** Colours after Okabe and Ito, who chose them for colour-blind readers; references are grey and black. */
export const methodStyles: Record<MethodName, MethodStyle> = {
  'do-nothing': { label: 'do nothing', color: '#606060', shape: crosswise },
  'full-retrain': { label: 'full retrain', color: '#000000', shape: star },
  'partial-retrain': { label: 'partial retrain', color: '#56b4e9', shape: 'square' },
  'gradient-ascent': { label: 'gradient ascent', color: '#e69f00', shape: 'triangle-up' },
  'gradient-descent': { label: 'gradient descent', color: '#704214', shape: 'triangle-down' },
  scrub: { label: 'SCRUB', color: '#cc79a7', shape: 'cross' },
  'oracle-matching': { label: 'oracle matching', color: '#0072b2', shape: 'diamond' },
  'dm-direct': { label: 'DM-Direct', color: '#009e73', shape: 'triangle-right' },
  dmm: { label: 'DMM', color: '#d55e00', shape: 'circle' },
};

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
  const styles = methods.map((method) => methodStyles[method]);
  const domain = styles.map((style) => style.label);
  const channel = (range: string[]) => ({ field: 'method', type: 'nominal' as const, scale: { domain, range }, legend });
  return { color: channel(styles.map((style) => style.color)), shape: channel(styles.map((style) => style.shape)) };
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
