/** The datamodel benchmark: every shape and mode is checked, then timed, ours and the peers in turn on the same core. */
import fs from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { nativeAddon } from '../native/addon.js';
import type { IsaName } from '../native/types.js';
import type { Datamodels } from '../types.js';
import { Budget } from './budget.js';
import { checkOurs, compareObjectives, judge, judgePeer, maxReportedGap, tunePeer, type TunedPeer } from './check.js';
import type { FitAnswer } from './fitProcess.js';
import { type FitPlace, runFit } from './fits.js';
import { checkedTargets, type LassoCase, makeCase, optionsAgain, peerWalks, solutionOf, targetOf } from './lassoCase.js';
import { describeMachine, kernelRates } from './machine.js';
import { type Peer, type PeerFiles, type PeerRun, probePeers, runPeer, writePeerFiles } from './peers.js';
import { allowedCores } from './process.js';
import { median } from './statistics.js';
import { assemble, type CaseSamples, smallCount } from './summarise.js';
import type { BenchMode, BenchProblem, BenchResult, LassoBenchReport } from './types.js';

/** Ours is solved to this gap where objectives are compared, on so many targets. */
const tightGap = 1e-7;
const tightTargets = 2;

export interface LassoBenchOptions {
  /** Made when their turn comes: they are large. */
  problems: readonly (() => BenchProblem)[];
  modes: readonly BenchMode[];
  isas: readonly IsaName[];
  /** Threads of our fits; 0 for all. Peers run beside one thread only. */
  threads: readonly number[];
  repeats: number;
  peers: readonly Peer[];
  /** For all of it; the problems and modes share it equally. */
  budgetSeconds: number;
  say: (line: string) => void;
  signal?: AbortSignal;
}

interface Session extends LassoBenchOptions {
  budget: Budget;
  places: FitPlace[];
  /** The core that peers and our single-threaded fits share; empty when the system does not tell. */
  core: number[];
}

/** Peers run on the first targets only: enough to be stable, few enough to wait for. */
function peerTargetCount(numTrain: number): number {
  return numTrain <= 2000 ? 8 : numTrain <= 5000 ? 6 : 4;
}

/**
 * @throws LETHE_BENCH_GAP, LETHE_BENCH_DISAGREES, LETHE_KERNEL_WRONG, LETHE_BENCH_PROCESS (exit code 1), LETHE_TASK_ABORTED (75).
 * A peer that cannot be run is a problem in the report, not an error.
 */
export async function benchLasso(options: LassoBenchOptions): Promise<LassoBenchReport> {
  const { say, signal: interrupt } = options;
  const budget = new Budget({ seconds: options.budgetSeconds, say, interrupt });
  const { available, problems: peerProblems } = await probePeers(options.peers, say);
  say('measuring peaks and kernels');
  const machine = await describeMachine(options.isas);
  const kernels = await kernelRates(options.isas);
  const cores = await allowedCores();
  const all = nativeAddon().systemInfo().threads;
  const places = options.isas.flatMap((isa) =>
    [...new Set(options.threads.map((count) => (count === 0 ? all : count)))].map((threads) => ({
      isa,
      threads,
      cores: threads < cores.length ? cores.slice(0, threads) : [],
    })),
  );
  const session: Session = { ...options, budget, peers: available, places, core: cores.slice(0, 1) };
  const results: BenchResult[] = [];
  for (const [place, make] of options.problems.entries()) {
    const folder = await fs.mkdtemp(path.join(os.tmpdir(), 'lethe-bench-'));
    try {
      const share = budget.share(options.problems.length - place);
      for (const result of await benchProblem(make(), folder, { ...session, budget: share })) results.push(result);
    } finally {
      await fs.rm(folder, { recursive: true, force: true });
    }
  }
  return { machine, results, kernels, peerProblems, budget: budget.report() };
}

async function benchProblem(problem: BenchProblem, folder: string, session: Session): Promise<BenchResult[]> {
  const { modes } = session;
  const results: BenchResult[] = [];
  let lambda: number | undefined;
  for (const [place, mode] of modes.entries()) {
    const budget = session.budget.share(modes.length - place);
    if (mode === 'single') lambda ??= (await budget.attempt((signal) => typicalLambda(problem, folder, session, signal)))?.lambda;
    const of = await makeCase(mode, problem, folder, lambda);
    const done = mode === 'single' && lambda === undefined ? undefined : await benchCase(of, { ...session, budget });
    if (mode === 'path' && done) lambda = medianLambda(done.fitted);
    for (const result of done?.results ?? []) results.push(result);
    if (!done) budget.cut(`${labelOf(of)}: not checked, so not timed`);
    await fs.rm(of.files.folder, { recursive: true });
  }
  return results;
}

function labelOf({ problem: { masks }, mode }: LassoCase): string {
  return `${masks.numModels} x ${masks.numTrain} ${mode}`;
}

/** One lambda that suits the typical target: the median of those that held-out errors choose. */
async function typicalLambda(problem: BenchProblem, folder: string, { places }: Session, signal: AbortSignal): Promise<{ lambda: number }> {
  const of = await makeCase('path', problem, folder);
  const { fitted } = await runFit(of.files, problem.numTargets, of.options, places[0]!, signal);
  return { lambda: medianLambda(fitted) };
}

function medianLambda({ lambda }: Datamodels): number {
  return median(Array.from(lambda).filter((value) => value > 0));
}

/** Undefined where the budget did not reach as far as the checks. */
async function benchCase(of: LassoCase, session: Session): Promise<{ fitted: Datamodels; results: BenchResult[] } | undefined> {
  const label = labelOf(of);
  session.say(`${label}: checking`);
  const checked = await session.budget.attempt((signal) => checkBackends(of, session, signal));
  if (!checked) return undefined;
  const { fitted, targets, gaps } = checked;
  const rivals =
    targets.length > 0 && session.places.some(({ threads }) => threads === 1)
      ? await prepareRivals(of, fitted, targets, session)
      : undefined;
  session.say(`${label}: timing`);
  const samples = await timeCase(of, rivals, session);
  const results = assemble(of, { fitted, gaps, checkedTargets: targets.length }, samples);
  for (const { backend, threads, secondsPerTarget, peers } of results) {
    const rivalTimes = peers.map(({ name, ratio }) => `, ${name} ${ratio.toPrecision(3)}x`).join('');
    session.say(`${label}: ${backend}, ${threads} threads, ${(1000 * secondsPerTarget).toPrecision(3)} ms a target${rivalTimes}`);
  }
  return { fitted, results };
}

/** Every backend solves every target once, untimed. */
async function checkBackends(
  of: LassoCase,
  { places, isas }: Session,
  signal: AbortSignal,
): Promise<{ fitted: Datamodels; targets: number[]; gaps: Map<IsaName, number> }> {
  const gaps = new Map<IsaName, number>();
  let first: { fitted: Datamodels; targets: number[] } | undefined;
  for (const isa of isas) {
    const { fitted } = await runFit(
      of.files,
      of.problem.numTargets,
      of.options,
      places.find((place) => place.isa === isa)!,
      signal,
    );
    first ??= { fitted, targets: checkedTargets(fitted, peerTargetCount(of.rowMasks.numTrain)) };
    gaps.set(isa, Math.max(maxReportedGap(fitted), checkOurs(of, fitted, first.targets, `cpu-${isa}`).maxGap));
  }
  return { ...first!, gaps };
}

interface Rivals {
  files: PeerFiles;
  tuned: TunedPeer[];
}

/**
 * Writes the peers' files, compares optima at tight tolerances, finds the tolerances to time. All that may take half of what is left,
 * so that the timing has the other half.
 */
async function prepareRivals(of: LassoCase, fitted: Datamodels, targets: number[], session: Session): Promise<Rivals> {
  const { peers } = session;
  const budget = session.budget.share(2);
  const walks = peerWalks(of, fitted, targets);
  const outputs = new Float32Array(of.rows.length * targets.length);
  targets.forEach((target, k) => {
    targetOf(of, target).forEach((value, row) => (outputs[row * targets.length + k] = value));
  });
  const files = await writePeerFiles(of.files.folder, of.rowMasks, outputs, walks);
  const tuned: TunedPeer[] = [];
  for (const [place, peer] of peers.entries()) {
    const work = (signal: AbortSignal): Promise<TunedPeer> =>
      prepareRival(peer, of, { fitted, targets, files, grids: [...walks.keys()] }, session, signal);
    const found = await budget.share(peers.length - place).attempt(work);
    if (found) tuned.push(found);
    else budget.cut(`${labelOf(of)}: ${peer.name} not checked, so not timed`);
  }
  return { files, tuned };
}

interface RivalWork {
  fitted: Datamodels;
  targets: readonly number[];
  files: PeerFiles;
  grids: readonly string[];
}

async function prepareRival(
  peer: Peer,
  of: LassoCase,
  { fitted, targets, files, grids }: RivalWork,
  { core: cores, places, say }: Session,
  signal: AbortSignal,
): Promise<TunedPeer> {
  const gapOf = (run: PeerRun['runs'][number]): number => judgePeer(of, targets, fitted.lambda, run).maxGap;
  const found = await tunePeer(peer, files, grids, gapOf, { cores, signal });
  const few = targets.slice(0, tightTargets);
  const request = { grid: found.grid, tolerances: [peer.tightTolerance], numTargets: few.length, precision: 'tight' } as const;
  const exact = await runPeer(peer, files, request, { cores, signal });
  const { fitted: tight } = await runFit(of.files, few.at(-1)! + 1, optionsAgain(of, fitted, tightGap), places[0]!, signal);
  // at the same lambda: that of our first fit, which a tighter fit may not choose
  const ours = few.map((target) => ({ ...solutionOf(tight, target), lambda: fitted.lambda[target]! }));
  const theirs = judgePeer(of, targets, fitted.lambda, exact.runs[0]!);
  const objectiveDifference = compareObjectives(peer.name, of.mode, judge(of, few, ours).objectives, theirs.objectives);
  const gap = found.gaps.get(found.tolerance)!;
  say(
    `${peer.name}: tolerance ${found.tolerance} (${found.grid}) has gap ${gap.toExponential(1)}, objectives within ${objectiveDifference.toExponential(1)}`,
  );
  return { ...found, objectiveDifference };
}

/** Ours, a peer, ours, the next peer, ... so that a change of the machine's speed meets both sides. */
async function timeCase(of: LassoCase, rivals: Rivals | undefined, session: Session): Promise<CaseSamples> {
  const { budget, places, core: cores, repeats } = session;
  const ours = places.map((place) => ({ place, full: [] as FitAnswer[], fewer: [] as FitAnswer[] }));
  const peers = (rivals?.tuned ?? []).map((tuned) => ({ tuned, runs: [] as PeerRun[] }));
  const { numTargets } = of.problem;
  const alone = ours.filter(({ place }) => place.threads === 1);
  await budget.repeat(repeats, labelOf(of), async (signal) => {
    const fit = async (count: number, place: FitPlace): Promise<FitAnswer> =>
      (await runFit(of.files, count, of.options, place, signal)).answer;
    for (const { tuned, runs } of peers) {
      for (const sample of alone) sample.full.push(await fit(numTargets, sample.place));
      const tolerances = [...new Set([tuned.tolerance, tuned.peer.defaultTolerance ?? tuned.tolerance])];
      const request = { grid: tuned.grid, tolerances, numTargets: rivals!.files.numTargets, precision: 'fast' } as const;
      runs.push(await runPeer(tuned.peer, rivals!.files, request, { cores, signal }));
    }
    for (const sample of ours) {
      if (peers.length === 0 || sample.place.threads !== 1) sample.full.push(await fit(numTargets, sample.place));
      sample.fewer.push(await fit(smallCount(numTargets), sample.place));
    }
  });
  return { ours, peers };
}
