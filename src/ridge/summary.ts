/** From trajectories to the best step size of each method and setting, with quantiles over the repetitions. */
import type { RidgeCurve, RidgeEntry, RidgeSpread, RidgeStepResult } from '../types.js';
import { arrivedBelow, equalBelow } from './settings.js';
import { distance, diverged, type Trajectories } from './trajectories.js';

/** Quantile with linear interpolation; infinite values are larger than all others. */
export function quantile(values: readonly number[], share: number): number {
  const sorted = Float64Array.from(values).sort();
  const position = share * (sorted.length - 1);
  const [low, high] = [sorted[Math.floor(position)]!, sorted[Math.ceil(position)]!];
  return low === high ? low : low + (high - low) * (position - Math.floor(position));
}

export function spread(values: readonly number[]): RidgeSpread {
  return { p10: quantile(values, 0.1), p50: quantile(values, 0.5), p90: quantile(values, 0.9) };
}

/** Quantiles at every logged iteration of a value per repetition. */
export function curve(loggedAt: Int32Array, numRepetitions: number, value: (repetition: number, l: number) => number): RidgeCurve {
  const result: RidgeCurve = { iterations: Array.from(loggedAt), p10: [], p50: [], p90: [] };
  for (let l = 0; l < loggedAt.length; l++) {
    const { p10, p50, p90 } = spread(Array.from({ length: numRepetitions }, (_, repetition) => value(repetition, l)));
    result.p10.push(p10);
    result.p50.push(p50);
    result.p90.push(p90);
  }
  return result;
}

function distanceCurve(trajectories: Trajectories, s: number): RidgeCurve {
  const { loggedAt, inSpan } = trajectories;
  return curve(loggedAt, inSpan.length, (repetition, l) => distance(trajectories, repetition, s, l));
}

/** Lowest 90th percentile of a curve, no lower than `equalBelow`, and the iteration that first gets there. */
function lowestOf({ p90, iterations }: RidgeCurve): { lowest: number; at: number } {
  const floored = p90.map((value) => Math.max(value, equalBelow));
  const lowest = floored.reduce((a, b) => Math.min(a, b));
  return { lowest, at: iterations[floored.indexOf(lowest)]! };
}

/**
 * The rule for "best", the same for every method and setting: the lowest 90th percentile of R over repetitions at any logged iteration; values
 * below 1e-20 count as equal, and among equals the one that gets there first. So a method that comes near and then runs away is shown at
 * its nearest, one that converges at its fastest, and a step size that diverges on some data does not win.
 */
export function bestOf(curves: readonly RidgeCurve[]): number {
  const ranked = curves.map((each, index) => ({ index, ...lowestOf(each) }));
  ranked.sort((a, b) => a.lowest - b.lowest || a.at - b.at || a.index - b.index);
  return ranked[0]!.index;
}

/** One entry a trajectory, at its best step size; of the weights of descent-ascent in a setting, one is representative. */
export function summarise(all: readonly Trajectories[], lambdas: readonly number[]): RidgeEntry[] {
  const entries = all.map((trajectories) => entryOf(trajectories, lambdas[trajectories.lambdaIndex]!));
  for (const entry of entries) {
    const rivals = entries.filter(
      ({ method, batch, lambda }) => method === entry.method && batch === entry.batch && lambda === entry.lambda,
    );
    entry.representative = rivals[bestOf(rivals.map((rival) => rival.curve))] === entry;
  }
  return entries;
}

function entryOf(trajectories: Trajectories, lambda: number): RidgeEntry {
  const { variant, batch, steps, loggedAt, inSpan } = trajectories;
  const curves = Array.from(steps, (_, s) => distanceCurve(trajectories, s));
  const s = bestOf(curves);
  const numRepetitions = inSpan.length;
  const perRepetition = (summary: (distances: number[]) => number): RidgeSpread =>
    spread(
      Array.from({ length: numRepetitions }, (_, repetition) =>
        summary(Array.from(loggedAt, (_unused, l) => distance(trajectories, repetition, s, l))),
      ),
    );
  return {
    ...variant,
    batch,
    lambda,
    step: steps[s]!,
    stepHalvings: s,
    representative: true,
    finalDistance: perRepetition((distances) => distances.at(-1)!),
    lowestDistance: perRepetition((distances) => distances.reduce((least, value) => Math.min(least, value), Infinity)),
    iterationsToTolerance: perRepetition((distances) => loggedAt[distances.findIndex((value) => value <= arrivedBelow)] ?? Infinity),
    numDiverged: countDiverged(trajectories, s),
    curve: curves[s]!,
    steps: curves.map((each, k) => stepResult(each, steps[k]!, countDiverged(trajectories, k))),
  };
}

function stepResult({ p50 }: RidgeCurve, step: number, numDiverged: number): RidgeStepResult {
  return { step, finalDistance: p50.at(-1)!, lowestDistance: p50.reduce((a, b) => Math.min(a, b)), numDiverged };
}

export function countDiverged({ endings }: Trajectories, s: number): number {
  return endings.filter((ending) => ending[s] === diverged).length;
}
