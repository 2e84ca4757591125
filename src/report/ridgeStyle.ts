/** How the methods of the linear study look, the same in every figure and table. */
import type { RidgeMethodName } from '../types.js';

interface RidgeVariantName {
  method: RidgeMethodName;
  ascentWeight?: number;
}

const names: Record<RidgeMethodName, string> = {
  'gradient-descent': 'GD',
  'descent-ascent': 'GD + ascent',
  'oracle-matching': 'OM',
  'oracle-matching-retain': 'OM, retain set only',
};

/** "GD + ascent, weight 0.1" */
export function ridgeLabel({ method, ascentWeight }: RidgeVariantName): string {
  return ascentWeight === undefined ? names[method] : `${names[method]}, weight ${ascentWeight}`;
}

/** Okabe and Ito's colours for the methods, one family of oranges for the weights of descent-ascent. */
const looks: (RidgeVariantName & { color: string })[] = [
  { method: 'gradient-descent', color: '#000000' },
  { method: 'oracle-matching', color: '#0072b2' },
  { method: 'oracle-matching-retain', color: '#009e73' },
  { method: 'descent-ascent', ascentWeight: 0.01, color: '#f0b429' },
  { method: 'descent-ascent', ascentWeight: 0.1, color: '#e8871e' },
  { method: 'descent-ascent', ascentWeight: 1, color: '#d55e00' },
  { method: 'descent-ascent', ascentWeight: 10, color: '#8c3b00' },
];

export const ridgeStyles = looks.map((look) => ({ label: ridgeLabel(look), color: look.color }));

/** Axis labels of powers of ten: "1e-6", "1", "1e3". */
export const powerLabel = "datum.value === 1 ? '1' : replace(format(datum.value, '~e'), '+', '')";
