/** Checks that come before any time: gaps of both sides by one judge, and objectives that agree. */
import { ExitCode, LetheError } from '../errors.js';
import type { Datamodels } from '../types.js';
import { certify } from './certificate.js';
import { gapTolerance, type LassoCase, solutionOf, sparseSolution, targetOf } from './lassoCase.js';
import { type Peer, type PeerFiles, type PeerRun, runPeer } from './peers.js';
import type { ChildOptions } from './process.js';
import type { SparseSolution } from './types.js';

/** Rounding certified weights to float32 moves the relative gap by so much. */
const roundingGap = 2e-6;
const objectiveTolerance = 1e-6;

export function withinGap(gap: number): boolean {
  return gap <= gapTolerance + roundingGap;
}

export interface Checked {
  maxGap: number;
  objectives: number[];
}

/** solutions[k] belongs to targets[k]. */
export function judge(of: LassoCase, targets: readonly number[], solutions: readonly SparseSolution[]): Checked {
  const certificates = solutions.map((solution, k) => certify(of.rowMasks, targetOf(of, targets[k]!), solution));
  const gaps = certificates.map(({ relativeGap }) => relativeGap);
  // Math.max gives NaN when one of them is
  return { maxGap: gaps.reduce((most, gap) => Math.max(most, gap), 0), objectives: certificates.map(({ objective }) => objective) };
}

/** @throws LETHE_BENCH_GAP (exit code 1) when a result of ours is not what it claims to be */
export function checkOurs(of: LassoCase, fitted: Datamodels, targets: readonly number[], backend: string): Checked {
  const checked = judge(
    of,
    targets,
    targets.map((target) => solutionOf(fitted, target)),
  );
  const reported = maxReportedGap(fitted);
  if (withinGap(checked.maxGap) && reported <= gapTolerance) return checked;
  throw new LetheError('LETHE_BENCH_GAP', `${backend} did not solve mode ${of.mode}, so its time means nothing`, {
    expected: `relative duality gaps of at most ${gapTolerance}`,
    received: `${checked.maxGap.toExponential(2)} from the weights of ${targets.length} targets, ${reported.toExponential(2)} reported`,
    exitCode: ExitCode.taskFailed,
  });
}

/** Over the targets that have a gap. */
export function maxReportedGap({ gap, status }: Datamodels): number {
  return gap.reduce((largest, value, target) => (status[target] === 'nonfinite' ? largest : Math.max(largest, value)), 0);
}

/** @throws LETHE_BENCH_DISAGREES (exit code 1) */
export function compareObjectives(peer: string, mode: string, ours: readonly number[], theirs: readonly number[]): number {
  const differences = ours.map((objective, k) => Math.abs(objective - theirs[k]!) / Math.abs(objective));
  const largest = differences.reduce((most, difference) => Math.max(most, difference), 0);
  if (largest <= objectiveTolerance) return largest;
  throw new LetheError('LETHE_BENCH_DISAGREES', `${peer} and Lethe do not find the same optimum in mode ${mode}`, {
    expected: `objectives that differ by at most ${objectiveTolerance} of their value at tight tolerances`,
    received: `${largest.toExponential(2)} (ours ${ours.join(', ')}; ${peer} ${theirs.join(', ')})`,
    exitCode: ExitCode.taskFailed,
  });
}

/** What a peer's run found at the lambdas of `lambdas`; lambdas and targets may be longer than the run. */
export function judgePeer(of: LassoCase, targets: readonly number[], lambdas: ArrayLike<number>, run: PeerRun['runs'][number]): Checked {
  const { numTrain } = of.rowMasks;
  const count = run.weights.length / numTrain;
  const solutions = Array.from({ length: count }, (_, k) =>
    sparseSolution(lambdas[targets[k]!]!, run.weights.subarray(k * numTrain, (k + 1) * numTrain)),
  );
  return judge(of, targets.slice(0, count), solutions);
}

export interface TunedPeer {
  peer: Peer;
  grid: string;
  tolerance: number;
  /** Of the tolerance, and of the peer's default where that is another. */
  gaps: Map<number, number>;
  objectiveDifference: number;
}

/**
 * The loosest tolerance that reaches our gap, on the grid where the peer is faster; the tightest one when none does.
 * @throws LETHE_BENCH_PROCESS (exit code 1)
 */
export async function tunePeer(
  peer: Peer,
  files: PeerFiles,
  grids: readonly string[],
  gapOf: (run: PeerRun['runs'][number]) => number,
  place: Omit<ChildOptions, 'environment'>,
): Promise<Omit<TunedPeer, 'objectiveDifference'>> {
  const tried: { grid: string; tolerance: number; gap: number; cpuSeconds: number; gaps: Map<number, number> }[] = [];
  for (const grid of grids) {
    const gaps = new Map<number, number>();
    for (const tolerance of peer.tolerances) {
      const answer = await runPeer(peer, files, { grid, tolerances: [tolerance], numTargets: files.numTargets, precision: 'fast' }, place);
      const run = answer.runs[0]!;
      const gap = gapOf(run);
      gaps.set(tolerance, gap);
      tried.push({ grid, tolerance, gap, cpuSeconds: run.cpuSeconds, gaps });
      if (withinGap(gap)) break;
    }
  }
  const solved = tried.filter(({ gap }) => withinGap(gap)).sort((a, b) => a.cpuSeconds - b.cpuSeconds);
  const { grid, tolerance, gaps } = solved[0] ?? tried.at(-1)!;
  return { peer, grid, tolerance, gaps };
}
