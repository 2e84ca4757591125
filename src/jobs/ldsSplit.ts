/** Which subset models of a plan are kept from the fits of the LDS curve. */
import type { Plan } from '../types.js';

export interface LdsSplit {
  /** The models from here on are held out. */
  firstHeldOut: number;
  heldOut: number;
  /** Models of each fit of the curve, ascending. */
  numModels: number[];
}

/** The last subset models are held out, two at least; curve points larger than what is left are capped to it. No subset models: no curve. */
export function ldsSplit({ lds, subsetModels: { count } }: Pick<Plan, 'lds' | 'subsetModels'>): LdsSplit {
  if (count === 0) return { firstHeldOut: 0, heldOut: 0, numModels: [] };
  const heldOut = Math.max(2, Math.round(lds.heldOutFraction * count));
  const firstHeldOut = count - heldOut;
  const numModels = [...new Set([...lds.numModels.map((models) => Math.min(models, firstHeldOut)), firstHeldOut])];
  return { firstHeldOut, heldOut, numModels: numModels.sort((a, b) => a - b) };
}
