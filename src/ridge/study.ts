/** The linear study (Section 5, Appendix E): data, optima, all methods, theorem checks and the paper's claims as computed answers. */
import { LetheError, ExitCode } from '../errors.js';
import type { RidgeBatch, RidgeGeometry, RidgeMethodName, RidgeSettings, RidgeSpanCurve, RidgeStudy, RunOptions } from '../types.js';
import { judgeClaims } from './claims.js';
import { drawData, massInSpan, optima, rotate } from './problem.js';
import { checkRidgeSettings, loggedIterations, stepGrid, variants } from './settings.js';
import { curve, spread, summarise } from './summary.js';
import { checkTheorem1, theorem1Iterations, theorem1Methods, theorem1Repetitions } from './theorem1.js';
import { checkDescentBound, checkMatchingRate, eigenvalueRange, longRunFactor, longRunRepetitions, longRunSteps } from './theorem2.js';
import { type Repetition, runTrajectories, type Trajectories, type TrajectoryRequest } from './trajectories.js';

const descent = [{ method: 'gradient-descent' }] as const;

/**
 * Runs one example. Everything random depends on (seed, repetition) only: the same study for any number of threads. Divergence is a
 * result: distances become infinite. Progress counts gradients of single points, as if no step size ended
 * early.
 * @throws LETHE_LINEAR_SETTING (exit code 2), LETHE_TASK_ABORTED (75)
 */
export async function ridgeStudy(settings: RidgeSettings, options: RunOptions = {}): Promise<RidgeStudy> {
  checkRidgeSettings(settings);
  const repetitions = await prepare(settings, options.signal);
  const { full, stochastic, closedForm, long } = requestsOf(settings);
  const few = repetitions.slice(0, longRunRepetitions);
  const counted = [full, stochastic].map((request): [TrajectoryRequest, number] => [request, settings.seeds]);
  const run = runner(settings, [...counted, [long, few.length]], options);

  const all = [...(await run(full, repetitions)), ...(await run(stochastic, repetitions))];
  const entries = summarise(all, settings.lambdas);
  const best = (method: RidgeMethodName, lambdaIndex: number): number =>
    entries.find((e) => e.method === method && e.batch === 'stochastic' && e.lambda === settings.lambdas[lambdaIndex])!.stepHalvings;
  const spanCurves = await besideBest(run, repetitions, settings, stepGrid[best('gradient-descent', 1)]!);

  const first = repetitions.slice(0, theorem1Repetitions);
  const theorem1 = checkTheorem1(await run(closedForm, first), first, settings);
  const matching = all.filter(({ variant, batch }) => variant.method === 'oracle-matching' && batch === 'stochastic');
  const theorem2 = matching.flatMap((each) => checkMatchingRate(each, best('oracle-matching', each.lambdaIndex), repetitions, settings));
  const checks = [...theorem1, ...theorem2, ...(await run(long, few)).flatMap((each) => checkDescentBound(each, few, settings))];

  const geometry = settings.lambdas.map((lambda, index) => geometryOf(repetitions, index, lambda, settings));
  const claims = judgeClaims({ settings, geometry, entries, spanCurves });
  return { version: 1, settings, choices: choices(settings), geometry, entries, spanCurves, checks, claims };
}

async function prepare(settings: RidgeSettings, signal: AbortSignal | undefined): Promise<Repetition[]> {
  const repetitions: Repetition[] = [];
  for (let index = 0; index < settings.seeds; index++) {
    // let signals in between two decompositions
    await new Promise((resolve) => setImmediate(resolve));
    if (signal?.aborted === true) {
      throw new LetheError('LETHE_TASK_ABORTED', 'the linear study was stopped before the end', { exitCode: ExitCode.interrupted });
    }
    const data = rotate(drawData(settings, index), settings);
    repetitions.push({ index, data, optima: settings.lambdas.map((lambda) => optima(data, lambda, settings.numForget)) });
  }
  return repetitions;
}

/** Gradients of points a request takes when no step size ends early. */
function workOf({ variants: methods, batch, steps, loggedAt }: TrajectoryRequest, numRepetitions: number, settings: RidgeSettings): number {
  const points = batch === 'full' ? settings.numTrain : settings.batchSize;
  return methods.length * settings.lambdas.length * numRepetitions * steps.length * loggedAt.at(-1)! * points;
}

/** The runs that do not depend on the results of others. */
function requestsOf({ iterations }: RidgeSettings): Record<RidgeBatch | 'closedForm' | 'long', TrajectoryRequest> {
  const lambdaIndices = [0, 1];
  const sweep = (batch: RidgeBatch): TrajectoryRequest => {
    return { variants, lambdaIndices, batch, steps: stepGrid, loggedAt: loggedIterations(iterations[batch]) };
  };
  const compared = theorem1Methods.map((method) => ({ method }));
  const longRun = loggedIterations(longRunFactor * iterations.stochastic);
  return {
    full: sweep('full'),
    stochastic: sweep('stochastic'),
    closedForm: { variants: compared, lambdaIndices, batch: 'full', steps: stepGrid, loggedAt: theorem1Iterations, keepIterates: true },
    long: { variants: descent, lambdaIndices, batch: 'stochastic', steps: longRunSteps, loggedAt: longRun },
  };
}

type Run = (request: TrajectoryRequest, repetitions: readonly Repetition[]) => Promise<Trajectories[]>;

/** Runs requests one after the other; `counted` are the long ones, with their repetitions, which progress is measured on. */
function runner(settings: RidgeSettings, counted: [TrajectoryRequest, number][], { onProgress, signal, threads = 0 }: RunOptions): Run {
  const works = new Map(counted.map(([request, numRepetitions]) => [request, workOf(request, numRepetitions, settings)]));
  const total = [...works.values()].reduce((sum, work) => sum + work, 0);
  let done = 0;
  return async (request, repetitions) => {
    const work = works.get(request) ?? 0;
    const onShare = (share: number): void => onProgress?.({ done: done + share * work, total });
    const result = await runTrajectories(request, repetitions, settings, { threads, signal, onShare });
    done += work;
    return result;
  };
}

/** Figure E.1: at a quarter, once and four times the best step of stochastic descent, large lambda; these need not be on the grid. */
async function besideBest(run: Run, repetitions: readonly Repetition[], settings: RidgeSettings, best: number): Promise<RidgeSpanCurve[]> {
  const factors = [0.25, 1, 4];
  const steps = Float64Array.from(factors, (factor) => factor * best);
  const loggedAt = loggedIterations(settings.iterations.stochastic);
  const [trajectories] = await run({ variants: descent, lambdaIndices: [1], batch: 'stochastic', steps, loggedAt }, repetitions);
  const part = (values: Float64Array[], s: number) =>
    curve(loggedAt, values.length, (repetition, l) => values[repetition]![s * loggedAt.length + l]!);
  return factors.map((factor, s) => ({
    lambda: settings.lambdas[1],
    factor,
    step: steps[s]!,
    inSpan: part(trajectories!.inSpan, s),
    orthogonal: part(trajectories!.orthogonal, s),
  }));
}

function geometryOf(
  repetitions: readonly Repetition[],
  lambdaIndex: number,
  lambda: number,
  { numTrain, numForget }: RidgeSettings,
): RidgeGeometry {
  const over = (value: (repetition: Repetition) => number) => spread(repetitions.map(value));
  return {
    lambda,
    forgetMassInSpan: over(({ data }) => massInSpan(data.x.subarray((numTrain - numForget) * data.dim), data.dim, data.spanSize)),
    updateMassInSpan: over(({ data, optima: both }) => {
      const { thetaFull, thetaStar } = both[lambdaIndex]!;
      return massInSpan(
        Float64Array.from(thetaStar, (value, j) => value - thetaFull[j]!),
        data.dim,
        data.spanSize,
      );
    }),
    eigenvalueMin: over((each) => eigenvalueRange(each)[0]),
    eigenvalueMax: over((each) => eigenvalueRange(each)[1]),
  };
}

function choices({ example, noiseVariance, numForget, batchSize, iterations }: RidgeSettings): string[] {
  const points = example === 1 ? 'N(0, I), which the paper leaves open' : 'N(0, diag(1/i))';
  return [
    `Points are drawn from ${points}; labels are theta . x + noise with theta from N(0, I) and noise variance ${noiseVariance}, for which lambda = ${noiseVariance} is the best ridge penalty.`,
    `The ${numForget} forget points are a uniform choice. Each repetition draws its own data and batches.`,
    `Gradients are those of the summed objective (5), factor 2 included. A batch of ${batchSize} follows the sum of its points' own gradients; each retain point owns lambda / |retain set| of the penalty, so that the expected step points along the full gradient (the whole penalty in every batch would aim at another optimum, that of a larger lambda).`,
    'Batches are drawn without replacement: from the retain set for GD and OM on the retain set, from all points for OM and GD + ascent.',
    `Runs take ${iterations.full} full-batch and ${iterations.stochastic} stochastic iterations.`,
    'Distances are squared: R = |theta_t - theta_*|^2 / |theta_full - theta_*|^2.',
    'Best step size: the lowest 90th percentile of R over repetitions at any logged iteration; below 1e-20 values are equal and the first to get there wins. A run above R = 1e6 is stopped as diverged, below 1e-24 as converged.',
  ];
}
