/** What the training benchmark measures and reports. */
import type { NetSpec } from '../../types.js';
import type { BudgetReport } from '../budget.js';
import type { Machine } from '../types.js';
import type { Precision } from '../../native/types.js';
import type { EngineName } from '../../engines/index.js';

/** Training steps of one network at one batch size. */
export interface StepCase {
  net: NetSpec;
  /** Divides the published channel counts. */
  width: number;
  batchSize: number;
}

/** How far an engine is from somebody else's arithmetic, relative differences of Euclidean norms. */
export interface TrainCheck {
  passed: boolean;
  /** Who did the other computation; absent: nobody here could. */
  against?: string;
  /** Mean loss over the first steps. */
  lossDifference?: number;
  /** Of the first batch. */
  gradientDifference?: number;
  /** What the steps changed: parameters and running statistics. */
  updateDifference?: number;
  /** Why it failed. */
  reason?: string;
}

export interface TrainPeerResult {
  name: string;
  version: string;
  precision: Precision;
  /** CPU time of one core: median over repeats. */
  imagesPerSecond: number;
  mad: number;
  repeats: number;
  /** Our images a second divided by the peer's. */
  ratio: number;
}

export interface TrainBenchResult {
  net: string;
  width: number;
  batchSize: number;
  engine: EngineName;
  backend: string;
  precision: Precision;
  /** One model a thread. */
  threads: number;
  /** Of all models together: median over repeats, CPU time on one core, wall time on several; null where it was not timed. */
  imagesPerSecond: number | null;
  mad: number | null;
  repeats: number;
  /** 2 x multiply-adds of forward, input gradients and weight gradients. */
  flopsPerImage: number;
  gflops: number | null;
  /** Of the measured multiply-add peak of this instruction set and precision on as many cores; null without one. */
  shareOfPeak: number | null;
  /** Buffers of one model in training as the engine states them; null where it does not. */
  memoryBytes: number | null;
  /** Peak memory of the whole process. */
  maxRssBytes: number | null;
  /** Images a second divided by those of one thread. */
  speedUp: number | null;
  check: TrainCheck;
  peers: TrainPeerResult[];
}

/** Whole models on all cores, with the recipe of a plan. */
export interface ModelsPerHour {
  plan: string;
  net: string;
  batchSize: number;
  epochs: number;
  imagesPerModel: number;
  backend: string;
  precision: Precision;
  threads: number;
  imagesPerSecond: number;
  modelsPerHour: number;
}

/** A training step in parts, in order of execution. */
export interface LayerTable {
  net: string;
  batchSize: number;
  backend: string;
  precision: Precision;
  /** Sum of the parts. */
  milliseconds: number;
  parts: LayerPart[];
}

export interface LayerPart {
  /** "step" for what belongs to no layer. */
  layer: string;
  /** "forward", "weight gradient", "input gradient", "backward"; of a step: "images", "loss", "update" */
  part: string;
  /** Median, CPU time. */
  milliseconds: number;
  /** null for what multiplies nothing */
  gflops: number | null;
  shareOfPeak: number | null;
}

export interface TrainBenchReport {
  machine: Machine;
  results: TrainBenchResult[];
  /** On request: of the native engine. */
  layers: LayerTable[];
  modelsPerHour: ModelsPerHour[];
  /** Peers that could not be run, and why. */
  peerProblems: string[];
  budget: BudgetReport;
}
