/** What a benchmark of the datamodel solver measures and reports. */
import type { IsaName, NativeKernelRate, NativePeaks } from '../native/types.js';
import type { Masks } from '../types.js';
import type { BudgetReport } from './budget.js';

/**
 * pooled: the default of a fit without its relaxation, one lambda / lambda_max for all targets, the choice of it included; path: lambda of
 * each target by held-out error from a path, certified; single: one known lambda on all models; saturated: the last of 100 lambdas down to
 * 0.01 lambda_max.
 */
export const benchModes = ['pooled', 'path', 'single', 'saturated'] as const;
export type BenchMode = (typeof benchModes)[number];

export interface BenchProblem {
  /** "synthetic, seed 0", or the names of the files. */
  source: string;
  masks: Masks;
  outputs: Float32Array; // (numModels, numTargets)
  numTargets: number;
}

/** One target's sparse weights at one lambda. */
export interface SparseSolution {
  lambda: number;
  indices: ArrayLike<number>;
  weights: ArrayLike<number>;
}

export interface PeerResult {
  name: string;
  version: string;
  /** CPU seconds on one core: median over repeats of (seconds / targets). */
  secondsPerTarget: number;
  madSecondsPerTarget: number;
  repeats: number;
  numTargets: number;
  maxRelativeGap: number;
  /** The gap is within the tolerance that our result is held to. */
  equalAccuracy: boolean;
  /** The peer's own stopping tolerance, and how it reaches a single lambda (cold, or by a few warm steps): the faster for it. */
  tolerance: number;
  grid: string;
  /** Built once, shared by all targets, not counted in secondsPerTarget; 0 for a peer without one. */
  gramSeconds: number;
  /** Largest relative difference of the objectives at tight tolerances. */
  objectiveDifference: number;
  /** Peer's seconds a target divided by ours. */
  ratio: number;
}

export interface BenchResult {
  m: number;
  n: number;
  numTargets: number;
  source: string;
  mode: BenchMode;
  backend: string;
  threads: number;
  /** Median over repeats, set-up included: CPU seconds on one core, wall seconds on several. */
  secondsPerTarget: number;
  madSecondsPerTarget: number;
  repeats: number;
  cpuSecondsPerTarget: number;
  wallSecondsPerTarget: number;
  /** From a second run with fewer targets, by difference; left out where the targets are too few to tell. */
  marginalSecondsPerTarget?: number;
  setupSeconds?: number;
  marginalTargets: number;
  /** Over all targets as the fit reports it, and over the checked ones from their float32 weights. */
  maxRelativeGap: number;
  checkedTargets: number;
  meanNonzero: number;
  maxRssBytes: number;
  peers: PeerResult[];
}

export interface Machine {
  cpu: string;
  cores: number;
  memoryBytes: number;
  /** "L2 512K", first processor. */
  caches: string[];
  isa: IsaName;
  node: string;
  compiler: string;
  peaks: (Omit<NativePeaks, 'compiler'> & { isa: IsaName })[];
}

export interface RatedKernel extends NativeKernelRate {
  backend: string;
}

export interface LassoBenchReport {
  machine: Machine;
  results: BenchResult[];
  kernels: RatedKernel[];
  /** Peers that could not be run, and why. */
  peerProblems: string[];
  budget: BudgetReport;
}
