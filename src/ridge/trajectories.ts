/** Runs methods in the addon and hands back their distances. */
import { abortFlag, nativeAddon } from '../native/addon.js';
import type { NativeRidgeProblem, NativeRidgeRequest } from '../native/types.js';
import { type RidgeBatch, ridgeMethodNames, type RidgeSettings } from '../types.js';
import type { Optima, RotatedData } from './problem.js';
import { type RidgeVariant, nativeBatchSize } from './settings.js';

/** One repetition: its data and the optima of each lambda, in the order of settings.lambdas. */
export interface Repetition {
  index: number;
  data: RotatedData;
  optima: Optima[];
}

/** R of one method in one setting, for every repetition, step size (S) and logged iteration (L). */
export interface Trajectories {
  variant: RidgeVariant;
  batch: RidgeBatch;
  /** Position in settings.lambdas. */
  lambdaIndex: number;
  steps: Float64Array; // (S)
  loggedAt: Int32Array; // (L)
  inSpan: Float64Array[]; // repetitions of (S, L)
  orthogonal: Float64Array[]; // repetitions of (S, L)
  endings: Uint8Array[]; // repetitions of (S)
  iterates: Float64Array[]; // repetitions of (S, L, dim), when asked for
}

export const diverged = 1;

export interface TrajectoryRequest {
  variants: readonly RidgeVariant[];
  lambdaIndices: readonly number[];
  batch: RidgeBatch;
  steps: Float64Array;
  loggedAt: Int32Array;
  keepIterates?: boolean;
}

export interface NativeRunOptions {
  threads: number;
  signal?: AbortSignal | undefined;
  /** Called with the share of the call that is done. */
  onShare: (share: number) => void;
}

/**
 * All variants at all lambdas and repetitions, in parallel; the same bytes for any number of threads.
 * @throws LETHE_TASK_ABORTED (exit code 75)
 */
export async function runTrajectories(
  request: TrajectoryRequest,
  repetitions: readonly Repetition[],
  settings: RidgeSettings,
  { threads, signal, onShare }: NativeRunOptions,
): Promise<Trajectories[]> {
  const { batch, steps, loggedAt } = request;
  const { problems, runs, all } = assemble(request, repetitions, settings);
  const { seed } = settings;
  // R past 1e6 is gone for good; below 1e-24 it is the rounding of theta_*
  const native: NativeRidgeRequest = {
    problems,
    runs,
    steps,
    loggedAt,
    seed,
    divergedAbove: 1e6,
    convergedBelow: 1e-24,
    threads,
    isa: '',
  };
  await nativeAddon().ridgeStudy(
    native,
    (done, total) => {
      onShare(done / total);
    },
    abortFlag(signal),
  );
  return all.map((trajectories) => ({ ...trajectories, batch }));
}

function assemble(request: TrajectoryRequest, repetitions: readonly Repetition[], settings: RidgeSettings) {
  const { variants, lambdaIndices, batch, steps, loggedAt, keepIterates } = request;
  const problems: NativeRidgeProblem[] = [];
  const runs: NativeRidgeRequest['runs'] = [];
  const all: Trajectories[] = lambdaIndices.flatMap((lambdaIndex) =>
    variants.map((variant) => ({ variant, batch, lambdaIndex, steps, loggedAt, inSpan: [], orthogonal: [], endings: [], iterates: [] })),
  );
  const size = steps.length * loggedAt.length;
  for (const repetition of repetitions) {
    const { data } = repetition;
    for (const lambdaIndex of lambdaIndices) {
      problems.push(nativeProblem(repetition, lambdaIndex, settings));
      for (const trajectories of all.filter((each) => each.lambdaIndex === lambdaIndex)) {
        const run = {
          problem: problems.length - 1,
          method: ridgeMethodNames.indexOf(trajectories.variant.method),
          ascentWeight: trajectories.variant.ascentWeight ?? 0,
          batchSize: nativeBatchSize(batch, settings),
          repetition: repetition.index,
          inSpan: new Float64Array(size),
          orthogonal: new Float64Array(size),
          endings: new Uint8Array(steps.length),
          ...(keepIterates === true ? { iterates: new Float64Array(size * data.dim) } : {}),
        };
        runs.push(run);
        trajectories.inSpan.push(run.inSpan);
        trajectories.orthogonal.push(run.orthogonal);
        trajectories.endings.push(run.endings);
        if (run.iterates !== undefined) trajectories.iterates.push(run.iterates);
      }
    }
  }
  return { problems, runs, all };
}

function nativeProblem({ data, optima }: Repetition, lambdaIndex: number, { numTrain, numForget }: RidgeSettings): NativeRidgeProblem {
  const { dim, spanSize, x, y } = data;
  return { numTrain, numForget, dim, spanSize, x, y, ...optima[lambdaIndex]! };
}

/** R at logged iteration l of step s in one repetition. */
export function distance(trajectories: Trajectories, repetition: number, s: number, l: number): number {
  const at = s * trajectories.loggedAt.length + l;
  return trajectories.inSpan[repetition]![at]! + trajectories.orthogonal[repetition]![at]!;
}
