/** The datamodel benchmark: every shape and mode is checked, then timed, ours and the peers in turn on the same core. */
import fs from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { nativeAddon } from '../native/addon.js';
import type { IsaName } from '../native/types.js';
import type { Datamodels } from '../types.js';
import { checkOurs, compareObjectives, judge, judgePeer, maxReportedGap, tunePeer, type TunedPeer } from './check.js';
import type { FitAnswer } from './fitProcess.js';
import { type FitPlace, runFit } from './fits.js';
import { checkedTargets, type LassoCase, makeCase, peerWalks, solutionOf, targetOf } from './lassoCase.js';
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
  say: (line: string) => void;
  signal?: AbortSignal;
}

interface Session extends LassoBenchOptions {
  places: FitPlace[];
  /** The core that peers and our single-threaded fits share; empty when the system does not tell. */
  core: number[];
}

/** Peers run on the first targets only: enough to be stable, few enough to wait for. */
export function peerTargetCount(numTrain: number): number {
  return numTrain <= 2000 ? 8 : numTrain <= 5000 ? 6 : 4;
}

/**
 * @throws LETHE_BENCH_GAP, LETHE_BENCH_DISAGREES, LETHE_KERNEL_WRONG, LETHE_BENCH_PROCESS (exit code 1), LETHE_TASK_ABORTED (75).
 * A peer that cannot be run is a problem in the report, not an error.
 */
export async function benchLasso(options: LassoBenchOptions): Promise<LassoBenchReport> {
  const { available, problems: peerProblems } = await probePeers(options.peers, options.say);
  options.say('measuring peaks and kernels');
  const machine = await describeMachine(options.isas);
  const kernels = await kernelRates(options.isas);
  const cores = await allowedCores();
  const all = nativeAddon().systemInfo().threads;
  const places = options.isas.flatMap((isa) =>
    [...new Set(options.threads.map((count) => (count === 0 ? all : count)))].map((threads) => ({
      isa,
      threads,
      cores: threads < cores.length ? cores.slice(0, threads) : [],
      signal: options.signal,
    })),
  );
  const session: Session = { ...options, peers: available, places, core: cores.slice(0, 1) };
  const results: BenchResult[] = [];
  for (const make of options.problems) {
    const folder = await fs.mkdtemp(path.join(os.tmpdir(), 'lethe-bench-'));
    try {
      for (const result of await benchProblem(make(), folder, session)) results.push(result);
    } finally {
      await fs.rm(folder, { recursive: true, force: true });
    }
  }
  return { machine, results, kernels, peerProblems };
}

async function benchProblem(problem: BenchProblem, folder: string, session: Session): Promise<BenchResult[]> {
  const results: BenchResult[] = [];
  let lambda: number | undefined;
  for (const mode of session.modes) {
    if (mode === 'single') lambda ??= await typicalLambda(problem, folder, session);
    const of = await makeCase(mode, problem, folder, lambda);
    const { fitted, results: more } = await benchCase(of, session);
    if (mode === 'path') lambda = medianLambda(fitted);
    for (const result of more) results.push(result);
    await fs.rm(of.files.folder, { recursive: true });
  }
  return results;
}

/** One lambda that suits the typical target: the median of those that held-out errors choose. */
async function typicalLambda(problem: BenchProblem, folder: string, session: Session): Promise<number> {
  const of = await makeCase('path', problem, folder);
  const { fitted } = await runFit(of.files, problem.numTargets, of.options, session.places[0]!);
  return medianLambda(fitted);
}

function medianLambda({ lambda }: Datamodels): number {
  return median(Array.from(lambda).filter((value) => value > 0));
}

async function benchCase(of: LassoCase, session: Session): Promise<{ fitted: Datamodels; results: BenchResult[] }> {
  const { masks } = of.problem;
  const label = `${masks.numModels} x ${masks.numTrain} ${of.mode}`;
  session.say(`${label}: checking`);
  const { fitted, targets, gaps } = await checkBackends(of, session);
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
): Promise<{ fitted: Datamodels; targets: number[]; gaps: Map<IsaName, number> }> {
  const gaps = new Map<IsaName, number>();
  let first: { fitted: Datamodels; targets: number[] } | undefined;
  for (const isa of isas) {
    const { fitted } = await runFit(
      of.files,
      of.problem.numTargets,
      of.options,
      places.find((place) => place.isa === isa)!,
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

/** Writes the peers' files, compares optima at tight tolerances, finds the tolerances to time. */
async function prepareRivals(of: LassoCase, fitted: Datamodels, targets: number[], session: Session): Promise<Rivals> {
  const { core: cores, signal, say } = session;
  const walks = peerWalks(of, fitted, targets);
  const outputs = new Float32Array(of.rows.length * targets.length);
  targets.forEach((target, k) => {
    targetOf(of, target).forEach((value, row) => (outputs[row * targets.length + k] = value));
  });
  const files = await writePeerFiles(of.files.folder, of.rowMasks, outputs, walks);
  const few = targets.slice(0, tightTargets);
  const { fitted: tight } = await runFit(of.files, few.at(-1)! + 1, { ...of.options, gapTolerance: tightGap }, session.places[0]!);
  const tuned: TunedPeer[] = [];
  for (const peer of session.peers) {
    const gapOf = (run: PeerRun['runs'][number]): number => judgePeer(of, targets, fitted.lambda, run).maxGap;
    const found = await tunePeer(peer, files, [...walks.keys()], gapOf, { cores, signal });
    const request = { grid: found.grid, tolerances: [peer.tightTolerance], numTargets: few.length, precision: 'tight' } as const;
    const exact = await runPeer(peer, files, request, { cores, signal });
    // at the same lambda: that of our first fit, which a tighter fit may not choose
    const ours = few.map((target) => ({ ...solutionOf(tight, target), lambda: fitted.lambda[target]! }));
    const theirs = judgePeer(of, targets, fitted.lambda, exact.runs[0]!);
    const objectiveDifference = compareObjectives(peer.name, of.mode, judge(of, few, ours).objectives, theirs.objectives);
    const gap = found.gaps.get(found.tolerance)!;
    say(
      `${peer.name}: tolerance ${found.tolerance} (${found.grid}) has gap ${gap.toExponential(1)}, objectives within ${objectiveDifference.toExponential(1)}`,
    );
    tuned.push({ ...found, objectiveDifference });
  }
  return { files, tuned };
}

/** Ours, a peer, ours, the next peer, ... so that a change of the machine's speed meets both sides. */
async function timeCase(of: LassoCase, rivals: Rivals | undefined, session: Session): Promise<CaseSamples> {
  const { places, core: cores, signal, repeats, say } = session;
  const ours = places.map((place) => ({ place, full: [] as FitAnswer[], fewer: [] as FitAnswer[] }));
  const peers = (rivals?.tuned ?? []).map((tuned) => ({ tuned, runs: [] as PeerRun[] }));
  const { numTargets } = of.problem;
  const alone = ours.filter(({ place }) => place.threads === 1);
  for (let repeat = 0; repeat < repeats; repeat++) {
    for (const { tuned, runs } of peers) {
      for (const sample of alone) sample.full.push((await runFit(of.files, numTargets, of.options, sample.place)).answer);
      const tolerances = [...new Set([tuned.tolerance, tuned.peer.defaultTolerance ?? tuned.tolerance])];
      const request = { grid: tuned.grid, tolerances, numTargets: rivals!.files.numTargets, precision: 'fast' } as const;
      runs.push(await runPeer(tuned.peer, rivals!.files, request, { cores, signal }));
    }
    for (const sample of ours) {
      if (peers.length === 0 || sample.place.threads !== 1) {
        sample.full.push((await runFit(of.files, numTargets, of.options, sample.place)).answer);
      }
      sample.fewer.push((await runFit(of.files, smallCount(numTargets), of.options, sample.place)).answer);
    }
    say(`repeat ${repeat + 1} of ${repeats}`);
  }
  return { ours, peers };
}
