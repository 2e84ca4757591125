import { defaultRidgeSettings } from '../../src/ridge/settings.js';
import type { RidgeSettings } from '../../src/types.js';

/** A study of a second: the structure of example 1 in few dimensions. */
export function smallSettings(changes: Partial<RidgeSettings> = {}): RidgeSettings {
  return {
    ...defaultRidgeSettings(1),
    dimension: 40,
    numTrain: 12,
    numForget: 2,
    noiseVariance: 1,
    lambdas: [1, 40],
    batchSize: 2,
    iterations: { full: 2000, stochastic: 2000 },
    seeds: 3,
    ...changes,
  };
}
