/** The linear study (Section 5, Appendix E): data, optima, all methods, theorem checks and the paper's claims as computed answers. */
import { LetheError, ExitCode } from '../errors.js';
import type { LinearBatch, LinearGeometry, LinearSettings, LinearSpanCurve, LinearStudy, RunOptions } from '../types.js';
import { judgeClaims } from './claims.js';
import { drawData, massInSpan, optima, rotate } from './problem.js';
import { checkLinearSettings, loggedIterations, stepGrid, variants } from './settings.js';
import { curve, spread, summarise } from './summary.js';
import { checkTheorem1, theorem1Iterations, theorem1Methods, theorem1Repetitions } from './theorem1.js';
import { checkDescentBound, checkMatchingRate, eigenvalueRange, longRunFactor, longRunRepetitions, longRunSteps } from './theorem2.js';
import { type Repetition, runTrajectories, type Trajectories, type TrajectoryRequest } from './trajectories.js';

const descent = [{ method: 'gradient-descent' }] as const;

/**
 * Runs one example. Everything random depends on (seed, repetition) only: the same study for any number of threads. Divergence is a
 * result: distances become infinite. Progress counts points whose gradients were taken, in thousands.
 * @throws LETHE_LINEAR_SETTING (exit code 2), LETHE_TASK_ABORTED (75)
 */
export async function linearStudy(settings: LinearSettings, options: RunOptions = {}): Promise<LinearStudy> {
  checkLinearSettings(settings);
  const repetitions = await prepare(settings, options.signal);
  const run = runner(settings, options);
  const sweep = (batch: LinearBatch): Promise<Trajectories[]> =>
    run({ variants, lambdaIndices: [0, 1], batch, steps: stepGrid, loggedAt: loggedIterations(settings.iterations[batch]) }, repetitions);
  const all = [...(await sweep('full')), ...(await sweep('stochastic'))];
  const entries = summarise(all, settings.lambdas);
  const best = (method: string, lambdaIndex: number): number =>
    entries.find((e) => e.method === method && e.batch === 'stochastic' && e.lambda === settings.lambdas[lambdaIndex])!.stepHalvings;

  const spanCurves = await besideBest(run, repetitions, settings, stepGrid[best('gradient-descent', 1)]!);
  const first = repetitions.slice(0, theorem1Repetitions);
  const closed: TrajectoryRequest = {
    variants: theorem1Methods.map((method) => ({ method })),
    lambdaIndices: [0, 1],
    batch: 'full',
    steps: stepGrid,
    loggedAt: theorem1Iterations,
    keepIterates: true,
  };
  const checks = checkTheorem1(await run(closed, first), first, settings);
  const matching = all.filter(({ variant, batch }) => variant.method === 'oracle-matching' && batch === 'stochastic');
  for (const each of matching) checks.push(...checkMatchingRate(each, best('oracle-matching', each.lambdaIndex), repetitions, settings));
  const few = repetitions.slice(0, longRunRepetitions);
  const loggedAt = loggedIterations(longRunFactor * settings.iterations.stochastic);
  const long: TrajectoryRequest = { variants: descent, lambdaIndices: [0, 1], batch: 'stochastic', steps: longRunSteps, loggedAt };
  for (const each of await run(long, few)) checks.push(...checkDescentBound(each, few, settings));

  const geometry = settings.lambdas.map((lambda, index) => geometryOf(repetitions, index, lambda, settings));
  const claims = judgeClaims({ settings, geometry, entries, spanCurves });
  return { version: 1, settings, choices: choices(settings), geometry, entries, spanCurves, checks, claims };
}

async function prepare(settings: LinearSettings, signal: AbortSignal | undefined): Promise<Repetition[]> {
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

/** Kilo-points of gradients a request takes when no step size ends early. */
function workOf(request: TrajectoryRequest, numRepetitions: number, settings: LinearSettings): number {
  const { variants: methods, lambdaIndices, batch, steps, loggedAt } = request;
  const points = batch === 'full' ? settings.numTrain : settings.batchSize;
  return (methods.length * lambdaIndices.length * numRepetitions * steps.length * loggedAt.at(-1)! * points) / 1000;
}

function runner(settings: LinearSettings, { onProgress, signal, threads = 0 }: RunOptions) {
  const full = loggedIterations(settings.iterations.full);
  const stochastic = loggedIterations(settings.iterations.stochastic);
  const sweepWork = (['full', 'stochastic'] as const).map((batch) =>
    workOf(
      { variants, lambdaIndices: [0, 1], batch, steps: stepGrid, loggedAt: batch === 'full' ? full : stochastic },
      settings.seeds,
      settings,
    ),
  );
  const longWork = workOf(
    {
      variants: descent,
      lambdaIndices: [0, 1],
      batch: 'stochastic',
      steps: longRunSteps,
      loggedAt: Int32Array.of(longRunFactor * settings.iterations.stochastic),
    },
    Math.min(settings.seeds, longRunRepetitions),
    settings,
  );
  const total = sweepWork[0]! + sweepWork[1]! + longWork; // the two short calls between them are not worth counting
  let done = 0;
  return async (request: TrajectoryRequest, repetitions: readonly Repetition[]): Promise<Trajectories[]> => {
    const work = request.keepIterates === true || request.steps.length === 3 ? 0 : workOf(request, repetitions.length, settings);
    const onShare = (share: number): void => onProgress?.({ done: done + share * work, total });
    const result = await runTrajectories(request, repetitions, settings, { threads, signal, onShare });
    done += work;
    return result;
  };
}

/** Figure E.1: at a quarter, once and four times the best step of stochastic descent, large lambda; these need not be on the grid. */
async function besideBest(
  run: ReturnType<typeof runner>,
  repetitions: readonly Repetition[],
  settings: LinearSettings,
  best: number,
): Promise<LinearSpanCurve[]> {
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
  { numTrain, numForget }: LinearSettings,
): LinearGeometry {
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

function choices({ example, noiseVariance, numForget, batchSize, iterations }: LinearSettings): string[] {
  const points = example === 1 ? 'N(0, I), which the paper leaves open' : 'N(0, diag(1/i))';
  return [
    `Points are drawn from ${points}; labels are theta . x + noise with theta from N(0, I) and noise variance ${noiseVariance}${example === 1 ? ', for which lambda 4 is the best ridge penalty' : ''}.`,
    `The ${numForget} forget points are a uniform choice. Each repetition draws its own data and batches.`,
    `Gradients are those of the summed objective (5), factor 2 included. A batch of ${batchSize} follows the sum of its points' own gradients; each retain point owns lambda / |retain set| of the penalty, so that the expected step points along the full gradient.`,
    'Batches are drawn without replacement: from the retain set for GD and OM on the retain set, from all points for OM and GD + ascent.',
    `Runs take ${iterations.full} full-batch and ${iterations.stochastic} stochastic iterations.`,
    'Distances are squared: R = |theta_t - theta_*|^2 / |theta_full - theta_*|^2.',
    'Best step size: the lowest 90th percentile of R over repetitions at any logged iteration; below 1e-20 values are equal and the first to get there wins. A run above R = 1e6 is stopped as diverged, below 1e-24 as converged.',
  ];
}
