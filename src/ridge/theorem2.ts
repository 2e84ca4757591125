/**
 * Theorem 2: rates of the stochastic methods. The paper writes f as a mean of n functions but gives it the curvature of the sum; here a step
 * follows the plain sum over its batch, whose expectation is batchSize / n of the objective's gradient. So eta_n = eta batchSize / n is the
 * step size in the theorem's normalisation, and gamma are the eigenvalues of X^T X on the span of the points.
 */
import type { RidgeCheck, RidgeSettings } from '../types.js';
import { countDiverged } from './summary.js';
import { distance, type Repetition, type Trajectories } from './trajectories.js';

/** Means below this are rounding. */
const measuredAbove = 1e-20;
/** The long run of stochastic descent: so many times the stochastic iterations, so the step sizes go further down than the grid. */
export const longRunFactor = 10;
export const longRunRepetitions = 6;
const longRunHalvings = 9;
export const longRunSteps = Float64Array.from({ length: 16 }, (_, k) => 10 / 2 ** (longRunHalvings + k));

/** The verdict; a value that could not be measured (NaN) does not hold. */
function judged(check: Omit<RidgeCheck, 'holds'>): RidgeCheck {
  const { value, relation, tolerance } = check;
  const holds = relation === '<=' ? value <= tolerance : relation === '>=' ? value >= tolerance : value === tolerance;
  return { ...check, holds };
}

/** Mean of R over repetitions: the estimate of the expectation. */
function meanDistance(run: Trajectories, s: number, l: number): number {
  let sum = 0;
  for (const repetition of run.inSpan.keys()) sum += distance(run, repetition, s, l);
  return sum / run.inSpan.length;
}

/** Smallest and largest eigenvalue of X^T X on the span of all points. */
export function eigenvalueRange({ data }: Repetition): [number, number] {
  return [data.all.values[0]!, data.all.values.at(-1)!];
}

/** Least-squares line through (t, ln value): the factor an iteration and the share of variance explained. */
export function fitExponential(points: readonly { t: number; value: number }[]): { factor: number; r2: number } {
  const n = points.length;
  const meanT = points.reduce((sum, { t }) => sum + t, 0) / n;
  const meanLog = points.reduce((sum, { value }) => sum + Math.log(value), 0) / n;
  let [tt, tl, ll] = [0, 0, 0];
  for (const { t, value } of points) {
    const [dt, dl] = [t - meanT, Math.log(value) - meanLog];
    tt += dt * dt;
    tl += dt * dl;
    ll += dl * dl;
  }
  return { factor: Math.exp(tl / tt), r2: (tl * tl) / (tt * ll) };
}

/** Largest mean R / mean of (1 - gamma_min eta)^t over iterations, gamma_min each repetition's own. */
function excess(run: Trajectories, s: number, repetitions: readonly Repetition[], stepInBound: number): number {
  let worst = 0;
  for (const [l, t] of run.loggedAt.entries()) {
    const mean = meanDistance(run, s, l);
    if (t === 0) continue; // both are 1
    if (mean < measuredAbove) break;
    const bound = repetitions.reduce((sum, each) => sum + (1 - eigenvalueRange(each)[0] * stepInBound) ** t, 0) / repetitions.length;
    worst = Math.max(worst, mean / bound);
  }
  return worst;
}

/** Checks of the upper bound, on stochastic oracle matching at one lambda; `best` is the position of its best step size. */
export function checkMatchingRate(
  run: Trajectories,
  best: number,
  repetitions: readonly Repetition[],
  settings: RidgeSettings,
): RidgeCheck[] {
  const lambda = settings.lambdas[run.lambdaIndex]!;
  const share = settings.batchSize / settings.numTrain;
  const gammaMax = repetitions.map((each) => eigenvalueRange(each)[1]).reduce((a, b) => Math.max(a, b));
  const stepLimit = 2 / (5 * (gammaMax + lambda));
  const stepsWhere = (holds: (step: number, s: number) => boolean): number[] =>
    Array.from(run.steps.keys()).filter((s) => holds(run.steps[s]!, s));
  const stable = stepsWhere((_, s) => countDiverged(run, s) === 0);
  const literal = stepsWhere((step) => step < stepLimit);
  const inRange = stepsWhere((step) => step * share < stepLimit);
  const lost = inRange.filter((s) => countDiverged(run, s) > 0).length;
  const worst = (positions: number[], scale: number): number =>
    positions.reduce((most, s) => Math.max(most, excess(run, s, repetitions, run.steps[s]! * scale)), 0);
  const [own, other] = [worst(stable, share), worst(literal, 1)];
  const { factor, r2 } = fitExponential(declinePoints(run, best));
  const gammaMin = repetitions.reduce((sum, each) => sum + eigenvalueRange(each)[0], 0) / repetitions.length;
  const bound = 1 - gammaMin * run.steps[best]! * share;
  const named = (name: string, statement: string) => ({
    name: `theorem-2-${name}-lambda-${lambda}`,
    statement: `Theorem 2, lambda ${lambda}: ${statement}`,
  });
  return [
    judged({
      ...named('matching-exponential', 'stochastic OM converges exponentially (ln of mean R is a line in t: share of variance explained)'),
      value: factor < 1 ? r2 : 0,
      relation: '>=',
      tolerance: 0.98,
      numbers: `fitted factor ${factor.toFixed(5)} an iteration at the best step 10/2^${best}, between R = 1e-2 and 1e-18`,
    }),
    judged({
      ...named('matching-rate', 'E[R] <= (1 - gamma_min eta_n)^t for stochastic OM, eta_n = eta batch / n, at every stable step size'),
      value: own,
      relation: '<=',
      tolerance: 1,
      numbers:
        `fitted factor ${factor.toFixed(5)} against 1 - gamma_min eta_n = ${bound.toFixed(5)} at the best step; ` +
        `largest E[R] / bound over ${stable.length} step sizes ${own.toFixed(4)}`,
    }),
    judged({
      ...named('matching-range', 'stochastic OM is stable at every eta_n below 2 / (5 (gamma_max + lambda))'),
      value: lost,
      relation: '=',
      tolerance: 0,
      numbers:
        `${lost} of the ${inRange.length} step sizes in that range diverge. The proof takes each f_i to be as smooth as the sum ` +
        `(gamma_max = ${gammaMax.toPrecision(3)}); with curvature gamma in the mean, f_i is n |x_i|^2-smooth`,
    }),
    judged({
      ...named('matching-literal', 'E[R] <= (1 - gamma_min eta)^t, eta as it multiplies the batch sum, eta < 2 / (5 (gamma_max + lambda))'),
      value: other,
      relation: '<=',
      tolerance: 1,
      numbers: `largest E[R] / bound ${other.toExponential(1)} over ${literal.length} step sizes: in this normalisation the mean curvature is gamma_min batch / n`,
    }),
  ];
}

/** Mean R at the logged iterations where it falls from 1e-2 to 1e-18: past the start, above rounding. */
function declinePoints(run: Trajectories, s: number): { t: number; value: number }[] {
  return Array.from(run.loggedAt, (t, l) => ({ t, value: meanDistance(run, s, l) })).filter(({ value }) => value >= 1e-18 && value <= 1e-2);
}

interface NoiseBound {
  smoothness: number;
  /** sigma_f^2 / |theta_full - theta_*|^2 */
  noise: number;
}

/**
 * Smoothness and gradient disagreement (Appendix E.2) of batches without replacement, for the unbiased gradient
 * (n / b) sum_batch grad f_i, f_i = (x_i . theta - y_i)^2 + lambda / n |theta|^2 over the n retain points.
 */
export function noiseBound({ data, optima }: Repetition, lambdaIndex: number, settings: RidgeSettings): NoiseBound {
  const { lambda, thetaFull, thetaStar } = optima[lambdaIndex]!;
  const n = settings.numTrain - settings.numForget;
  let [disagreement, longest] = [0, 0];
  for (let i = 0; i < n; i++) {
    const row = data.x.subarray(i * data.dim, (i + 1) * data.dim);
    const error = row.reduce((sum, value, j) => sum + value * thetaStar[j]!, -data.y[i]!);
    longest = Math.max(
      longest,
      row.reduce((sum, value) => sum + value * value, 0),
    );
    disagreement += row.reduce((sum, value, j) => sum + (2 * error * value + ((2 * lambda) / n) * thetaStar[j]!) ** 2, 0);
  }
  const start = thetaFull.reduce((sum, value, j) => sum + (value - thetaStar[j]!) ** 2, 0);
  const b = settings.batchSize;
  const scatter = n > 1 ? (n / b) * ((n - b) / (n - 1)) : 0;
  return { smoothness: 2 * n * longest + 2 * lambda, noise: (scatter * disagreement) / start };
}

/** Checks of the lower bound, on the long run of stochastic descent at one lambda. */
export function checkDescentBound(run: Trajectories, repetitions: readonly Repetition[], settings: RidgeSettings): RidgeCheck[] {
  const lambda = settings.lambdas[run.lambdaIndex]!;
  const share = settings.batchSize / (settings.numTrain - settings.numForget);
  const bounds = repetitions.map((each) => noiseBound(each, run.lambdaIndex, settings));
  let lowest = Infinity;
  let lowestAtEnd = Infinity;
  let compared = 0;
  for (const [s, eta] of run.steps.entries()) {
    const step = eta * share;
    const factors = bounds.map(({ smoothness }) => 1 - 2 * step * smoothness - (step * smoothness) ** 2);
    if (factors.some((factor) => factor < 0)) continue; // the recursion of the proof needs factors >= 0
    compared += 1;
    for (const [l, t] of run.loggedAt.entries()) {
      if (t === 0) continue;
      const bound = bounds.reduce((sum, { noise }, r) => sum + factors[r]! ** t + (step * step * noise) / 2, 0) / bounds.length;
      const ratio = meanDistance(run, s, l) / bound;
      lowest = Math.min(lowest, ratio);
      if (l === run.loggedAt.length - 1) lowestAtEnd = Math.min(lowestAtEnd, ratio);
    }
  }
  const { slope, from, to, finest } = envelopeSlope(run);
  const last = run.loggedAt.at(-1)!;
  return [
    judged({
      name: `theorem-2-descent-noise-lambda-${lambda}`,
      statement: `Theorem 2, lambda ${lambda}: E[R] of stochastic GD stays above the bound of its proof (equation 14, with the smoothness of a batch)`,
      value: compared > 0 ? lowest : NaN,
      relation: '>=',
      tolerance: 1,
      numbers: `smallest E[R] / bound ${lowest.toFixed(4)} over ${compared} step sizes and all t, ${lowestAtEnd.toPrecision(3)} at t = ${last}`,
    }),
    judged({
      name: `theorem-2-descent-slope-lambda-${lambda}`,
      statement: `Theorem 2, lambda ${lambda}: at the best step for each t, E[R] of stochastic GD falls no faster than 1/t^2 (log-log slope)`,
      value: slope,
      relation: '>=',
      tolerance: -2,
      numbers: `slope ${slope.toFixed(2)} from t = ${from} to ${to}, best step at the end 10/2^${finest}`,
    }),
  ];
}

/** Log-log slope, over the last decade, of the lowest mean R of any step size at each t. */
function envelopeSlope(run: Trajectories): { slope: number; from: number; to: number; finest: number } {
  const lowestAt = (l: number): { value: number; s: number } =>
    Array.from(run.steps, (_, s) => ({ value: meanDistance(run, s, l), s })).reduce((a, b) => (b.value < a.value ? b : a));
  const last = run.loggedAt.length - 1;
  const to = run.loggedAt[last]!;
  const first = run.loggedAt.findIndex((t) => t >= to / 10);
  const from = run.loggedAt[first]!;
  const [start, end] = [lowestAt(first), lowestAt(last)];
  return { slope: Math.log(end.value / start.value) / Math.log(to / from), from, to, finest: longRunHalvings + end.s };
}
