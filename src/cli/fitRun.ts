/** A fit into a folder: estimate, block after block, the result of the blocks. */
import { createHash } from 'node:crypto';
import fs from 'node:fs/promises';
import path from 'node:path';
import { fitBlocks, type FittedBlock, type MemoryPlan, planBlocks, planMemory, readBlock, type Span } from '../datamodels/blocks.js';
import type { Design, DesignBlock } from '../datamodels/design.js';
import { LetheError, requireRunning } from '../errors.js';
import { formatBytes } from '../store/byteSize.js';
import { requireSpace } from '../store/publish.js';
import type { FinishedBlock, FitFolder } from '../store/fitFolder.js';
import type { Datamodels, Progress } from '../types.js';
import { compact, createProgress, duration, say } from './common.js';
import type { FitInputs } from './fitInputs.js';

export interface FitRun {
  folder: FitFolder;
  design: Design;
  inputs: FitInputs;
  /** Bytes that all of it may take. */
  memory: number;
  /** Forced size of the blocks. */
  targetsPerBlock?: number;
  /** Also dense weights.npy, bias.npy, lambda.npy and gap.npy. */
  exportNpy: boolean;
  threads: number;
  signal: AbortSignal;
}

export interface FittedTargets {
  blocks: FinishedBlock[];
  /** Targets of this session. */
  fitted: number;
  /** What all targets took, over all sessions. */
  seconds: number;
}

/**
 * Fits what is not finished yet and publishes every block.
 * @throws LETHE_FIT_CHANGED, LETHE_MEMORY_LIMIT (exit code 2), LETHE_DISK_FULL (exit code 4), LETHE_TASK_ABORTED (75)
 */
export async function fitTargets(run: FitRun): Promise<FittedTargets> {
  const { folder, design, inputs, threads, signal } = run;
  const { numTargets, numClasses } = inputs.outputs;
  const sizes = { numModels: design.numModels, numTrain: design.numTrain, numTargets, numClasses };
  const { memoryBytes: designBytes, mostTargets, weightsPerTarget } = design;
  const plan = planMemory(
    { ...sizes, designBytes, mostTargets, weightsPerTarget, extraBytes: inputs.extraBytes },
    run.memory,
    run.targetsPerBlock,
  );
  const finished = await verifiedBlocks(run);
  const blocks = planBlocks(numTargets, plan.targetsPerBlock, finished);
  const disk = new DiskNeed(run, finished);
  sayEstimate(run, plan, blocks, finished, disk.bytes());
  await disk.require();
  const display = progressOf(numTargets, targetsIn(finished));
  let started = performance.now();
  const published = [...finished];
  try {
    const onBlock = async ({ first, end, datamodels, input }: FittedBlock): Promise<void> => {
      const inputSha256 = hashOf(input);
      const seconds = (performance.now() - started) / 1000;
      started += 1000 * seconds;
      published.push(await folder.publishBlock({ first, end }, datamodels, { inputSha256, seconds }));
      disk.add(published.at(-1)!);
      if (end !== blocks.at(-1)!.end) await disk.require();
    };
    const onProgress = ({ done }: Progress): void => {
      display.update(done);
    };
    await folder.whileClaimed(() => fitBlocks(design, { ...inputs, blocks }, { threads, signal, onProgress, onBlock }));
  } finally {
    display.stop();
  }
  published.sort((a, b) => a.first - b.first);
  return { blocks: published, fitted: targetsIn(blocks), seconds: published.reduce((sum, { seconds }) => sum + seconds, 0) };
}

/** Finished blocks, fitted on the columns that are in the files today. @throws LETHE_FIT_CHANGED (exit code 2) */
async function verifiedBlocks({ folder, design, inputs, signal }: FitRun): Promise<FinishedBlock[]> {
  const blocks = await folder.finishedBlocks();
  for (const { first, end, inputSha256 } of blocks) {
    requireRunning(signal);
    if (hashOf(await readBlock(design.numModels, inputs, { first, end })) === inputSha256) continue;
    throw new LetheError('LETHE_FIT_CHANGED', `${folder.root} belongs to a fit of other outputs`, {
      expected: `the values of targets ${first} to ${end - 1} that were fitted there`,
      received: 'other values',
      action: 'Give the changed fit another --out, or remove that folder.',
    });
  }
  return blocks;
}

function hashOf({ outputs, rowWeights }: DesignBlock): string {
  const hash = createHash('sha256');
  for (const values of rowWeights ? [outputs, rowWeights] : [outputs]) {
    for (let at = 0; at < values.byteLength; at += 2 ** 26) {
      hash.update(new Uint8Array(values.buffer, values.byteOffset + at, Math.min(2 ** 26, values.byteLength - at)));
    }
  }
  return hash.digest('hex');
}

function targetsIn(blocks: readonly Span[]): number {
  return blocks.reduce((sum, { first, end }) => sum + end - first, 0);
}

/** What the disk must still hold: blocks and result beside each other, dense exports. Weights are known only from finished blocks. */
class DiskNeed {
  private blockBytes = 0;
  private targets = 0;

  constructor(
    private readonly run: FitRun,
    finished: readonly FinishedBlock[],
  ) {
    for (const block of finished) this.add(block);
  }

  add(block: FinishedBlock): void {
    this.blockBytes += block.bytes;
    this.targets += block.end - block.first;
  }

  bytes(): number {
    const { design, inputs, exportNpy } = this.run;
    const { numTargets } = inputs.outputs;
    const perTarget = this.targets > 0 ? this.blockBytes / this.targets : assumedBytes;
    const dense = exportNpy ? 4 * numTargets * (design.numTrain + 3) : 0;
    return Math.ceil(perTarget * (2 * numTargets - this.targets)) + dense;
  }

  /** @throws LETHE_DISK_FULL (exit code 4) */
  async require(): Promise<void> {
    await requireSpace(await existingParent(this.run.folder.root), this.run.folder.root, this.bytes());
  }
}

/** Of a target before any is known: 64 weights. */
const assumedBytes = 64 * 8 + 64;

/** The folder itself, or the nearest above that exists: its disk is asked before anything is written. */
async function existingParent(folder: string): Promise<string> {
  let at = folder;
  while (!(await fs.stat(at).catch(() => undefined)) && path.dirname(at) !== at) at = path.dirname(at);
  return at;
}

function sayEstimate(run: FitRun, plan: MemoryPlan, blocks: Span[], finished: Span[], diskBytes: number): void {
  const { design, inputs, exportNpy } = run;
  const { numTargets } = inputs.outputs;
  const done = targetsIn(finished);
  if (done > 0) say(`fit: resuming, ${done} of ${numTargets} targets are finished in ${finished.length} blocks`);
  say(
    `fit: ${numTargets - done} targets of ${design.numModels} models on ${design.numTrain} examples, ` +
      `in ${blocks.length} block${blocks.length === 1 ? '' : 's'} of at most ${Math.min(plan.targetsPerBlock, numTargets)}`,
  );
  say(
    `fit: about ${formatBytes(plan.memoryBytes)} of memory (${formatBytes(run.memory)} allowed), about ${formatBytes(diskBytes)} of disk` +
      (exportNpy ? ', dense weights included' : ''),
  );
}

/** Progress over all targets; the rate is that of this session. */
function progressOf(numTargets: number, finished: number): { update(done: number): void; stop(): void } {
  const display = createProgress('fit', 'targets');
  const started = performance.now();
  let said = false;
  return {
    update(done) {
      const seconds = Math.max((performance.now() - started) / 1000, 1e-3);
      const rate = done / seconds;
      if (!said && done >= firstTargets) {
        said = true;
        const left = duration((numTargets - finished - done) / rate);
        say(`fit: first ${done} targets after ${duration(seconds)}, ${compact(rate)} targets/s, about ${left} left`);
      }
      display.update(finished + done, numTargets, '', rate);
    },
    stop: () => {
      display.stop();
    },
  };
}

/** Fewer say little about the rate: the first ones of every worker end at about the same time. */
const firstTargets = 64;

/** Counts over all targets; gaps of targets that have one. */
export class FitSummary {
  maxRelativeGap = 0;
  numConverged = 0;
  numUnconverged = 0;
  numConstant = 0;
  numNonFinite = 0;
  private weights = 0;
  private targets = 0;

  add({ status, gap, rowStart, numTargets }: Datamodels): void {
    status.forEach((word, target) => {
      if (word === 'nonfinite') this.numNonFinite++;
      else this.maxRelativeGap = Math.max(this.maxRelativeGap, gap[target]!);
      if (word === 'converged') this.numConverged++;
      if (word === 'unconverged') this.numUnconverged++;
      if (word === 'constant') this.numConstant++;
    });
    this.weights += rowStart[numTargets]!;
    this.targets += numTargets;
  }

  counts(): FitCounts {
    const { maxRelativeGap, numConverged, numUnconverged, numConstant, numNonFinite } = this;
    const meanNonzero = this.targets === 0 ? 0 : this.weights / this.targets;
    return { maxRelativeGap, numConverged, numUnconverged, numConstant, numNonFinite, meanNonzero };
  }
}

export interface FitCounts {
  maxRelativeGap: number;
  numConverged: number;
  numUnconverged: number;
  numConstant: number;
  numNonFinite: number;
  meanNonzero: number;
}
