/** How many models a plan compares, where several of its numbers decide. */
import type { Plan } from '../types.js';

/**
 * N of every KLOM of a plan, on both sides: the floor depends on both numbers, so methods, partial and full retraining and the floor are
 * scored with equally many, the first of each. What a plan trains beyond is not scored.
 */
export function comparedModels({ originals, oracles }: Pick<Plan, 'originals' | 'oracles'>): number {
  return Math.min(originals.count, oracles.scored, oracles.matched);
}

/** Originals that tuning needs at least: fewer rank settings by their noise, as the simulation in evaluate's tests shows. */
export const leastTuningModels = 10;

/** Its settings are ranked by noise. */
export function tunesOnFew({ tuning: { numModels }, methods }: Pick<Plan, 'tuning' | 'methods'>): boolean {
  return numModels > 0 && numModels < leastTuningModels && methods.length > 0;
}

/** Index of the first tuning original: beyond all scored ones, whatever their number, which decides nothing about these. */
export const firstTuningOriginal = 2 ** 20;
