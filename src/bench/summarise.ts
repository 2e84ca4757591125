/** From samples to the rows of the report. */
import { sampleSize } from '../attributors/pooled.js';
import type { Datamodels } from '../types.js';
import { type TunedPeer, withinGap } from './check.js';
import type { FitAnswer } from './fitProcess.js';
import type { FitPlace } from './fits.js';
import type { LassoCase } from './lassoCase.js';
import type { PeerRun } from './peers.js';
import { median, medianDeviation } from './statistics.js';
import type { BenchResult, PeerResult } from './types.js';

export interface CaseSamples {
  /** full: all targets; fewer: smallCount of them. */
  ours: { place: FitPlace; full: FitAnswer[]; fewer: FitAnswer[] }[];
  peers: { tuned: TunedPeer; runs: PeerRun[] }[];
}

export interface CaseFacts {
  fitted: Datamodels;
  /** Largest relative gap by instruction set. */
  gaps: ReadonlyMap<string, number>;
  checkedTargets: number;
}

/** Targets of the second run: a quarter, but not below 64 where there are more (fewer targets are solved without a table of Gram counts). */
export function smallCount(numTargets: number): number {
  return Math.max(Math.floor(numTargets / 4), Math.min(64, Math.floor(numTargets / 2)), 1);
}

export function assemble(of: LassoCase, facts: CaseFacts, { ours, peers }: CaseSamples): BenchResult[] {
  const { masks, numTargets, source } = of.problem;
  const fewer = smallCount(numTargets);
  return ours
    .filter(({ full }) => full.length > 0)
    .map((sample) => {
      const { isa, threads } = sample.place;
      const counted = (answer: FitAnswer): number => (threads === 1 ? answer.cpuSeconds : answer.wallSeconds);
      const each = sample.full.map((answer) => counted(answer) / numTargets);
      const secondsPerTarget = median(each);
      // one target alone has no second count to compare with; fewer targets than a choice is made on have no share that more would not have
      const tells = numTargets > fewer && !(of.mode === 'pooled' && fewer < sampleSize);
      const marginal = (median(sample.full.map(counted)) - median(sample.fewer.map(counted))) / (numTargets - fewer);
      return {
        m: masks.numModels,
        n: masks.numTrain,
        numTargets,
        source,
        mode: of.mode,
        backend: `cpu-${isa}`,
        threads,
        secondsPerTarget,
        madSecondsPerTarget: medianDeviation(each),
        repeats: each.length,
        cpuSecondsPerTarget: median(sample.full.map(({ cpuSeconds }) => cpuSeconds / numTargets)),
        wallSecondsPerTarget: median(sample.full.map(({ wallSeconds }) => wallSeconds / numTargets)),
        ...(tells ? { marginalSecondsPerTarget: marginal, setupSeconds: median(sample.full.map(counted)) - marginal * numTargets } : {}),
        marginalTargets: fewer,
        maxRelativeGap: facts.gaps.get(isa) ?? NaN,
        checkedTargets: facts.checkedTargets,
        meanNonzero: facts.fitted.rowStart[numTargets]! / numTargets,
        maxRssBytes: sample.full.reduce((most, { maxRssBytes }) => Math.max(most, maxRssBytes), 0),
        peers: threads === 1 ? peers.flatMap((peer) => peerRows(peer, facts.checkedTargets, secondsPerTarget)) : [],
      };
    });
}

/** One row at the tuned tolerance, and one at the peer's default where that is another. */
function peerRows({ tuned, runs }: CaseSamples['peers'][number], numTargets: number, ours: number): PeerResult[] {
  const { peer, grid, gaps, objectiveDifference } = tuned;
  return (runs[0]?.runs ?? []).map(({ tolerance }, place) => {
    const each = runs.map((run) => run.runs[place]!.cpuSeconds / numTargets);
    const maxRelativeGap = gaps.get(tolerance) ?? NaN;
    return {
      name: tolerance === tuned.tolerance ? peer.name : `${peer.name} (default)`,
      version: runs[0]!.version,
      secondsPerTarget: median(each),
      madSecondsPerTarget: medianDeviation(each),
      repeats: each.length,
      numTargets,
      maxRelativeGap,
      equalAccuracy: withinGap(maxRelativeGap),
      tolerance,
      grid,
      gramSeconds: runs[0]!.gramSeconds,
      objectiveDifference,
      ratio: median(each) / ours,
    };
  });
}
