/** A fit into a folder: estimate, block after block, the result of the blocks. */
import { createHash } from 'node:crypto';
import fs from 'node:fs/promises';
import path from 'node:path';
import type { Design } from '../attributors/attributor.js';
import { attributorOf } from '../attributors/registry.js';
import { LetheError, requireRunning } from '../errors.js';
import { formatBytes } from '../store/disk/byteSize.js';
import { requireSpace } from '../store/disk/publish.js';
import type { FinishedBlock, FitFolder } from '../store/folders/fitFolder.js';
import type { PenaltyChoice, Progress, RunOptions } from '../types.js';
import {
  chooseForAll,
  fitBlocks,
  type FittedBlock,
  type InputBlock,
  type MemoryPlan,
  planBlocks,
  planMemory,
  readBlock,
  type Span,
} from './blocks.js';
import type { FitInputs } from './fitInputs.js';
import { FitNotes } from './fitNotes.js';

/** Progress counts all targets; its first report is what earlier sessions have finished. */
export interface FitRun extends RunOptions {
  folder: FitFolder;
  design: Design;
  inputs: FitInputs;
  /** Bytes that all of it may take. */
  memory: number;
  /** Forced size of the blocks. */
  targetsPerBlock?: number;
  /** Also dense weights.npy, bias.npy, lambda.npy and gap.npy. */
  exportNpy: boolean;
  /** Takes lines for people. */
  note: (line: string) => void;
}

export interface FittedTargets {
  blocks: FinishedBlock[];
  /** Targets of this session. */
  fitted: number;
  /** What all targets took, over all sessions. */
  seconds: number;
  /** With a pooled choice. */
  choices?: PenaltyChoice[];
  /** Rows of the outputs that are not finite everywhere. */
  nonFiniteModels: number[];
}

/**
 * Fits what is not finished yet and publishes every block.
 * @throws LETHE_FIT_CHANGED, LETHE_MEMORY_LIMIT (exit code 2), LETHE_DISK_FULL (exit code 4), LETHE_TASK_ABORTED (75)
 */
export async function fitTargets(run: FitRun): Promise<FittedTargets> {
  const { folder, design, inputs, note } = run;
  const { numTargets, numClasses } = inputs.outputs;
  const sizes = { numModels: design.numModels, numTrain: design.numTrain, numTargets, numClasses };
  const { memoryBytes: designBytes, mostTargets, weightsPerTarget } = design;
  const needs = { ...sizes, designBytes, mostTargets, weightsPerTarget, extraBytes: inputs.extraBytes };
  const plan = planMemory(needs, run.memory, run.targetsPerBlock);
  const notes = new FitNotes();
  const finished = await verifiedBlocks(run, notes);
  const blocks = planBlocks(numTargets, plan.targetsPerBlock, finished);
  const disk = new DiskNeed(run, finished);
  sayEstimate(run, plan, blocks, finished, disk.bytes());
  await disk.require();
  const choices = await choose(run);
  const before = targetsIn(finished);
  run.onProgress?.({ done: before, total: numTargets });
  let started = performance.now();
  const published = [...finished];
  const onBlock = async ({ first, end, datamodels, input }: FittedBlock): Promise<void> => {
    notes.addInput(input);
    notes.addBiases(datamodels, input);
    const inputSha256 = hashOf(input);
    const seconds = (performance.now() - started) / 1000;
    started += 1000 * seconds;
    published.push(await folder.publishBlock({ first, end }, datamodels, { inputSha256, seconds }));
    disk.add(published.at(-1)!);
    if (end !== blocks.at(-1)!.end) await disk.require();
  };
  const onProgress = ({ done }: Progress): void => run.onProgress?.({ done: before + done, total: numTargets });
  const given = { ...inputs, blocks, ...(choices ? { choices } : {}) };
  await folder.whileClaimed(() => fitBlocks(design, given, { ...run, onProgress, onBlock }));
  const rounding = notes.rounding();
  if (rounding !== undefined) note(`fit: ${rounding}`);
  published.sort((a, b) => a.first - b.first);
  const seconds = published.reduce((sum, block) => sum + block.seconds, 0);
  return {
    blocks: published,
    fitted: targetsIn(blocks),
    seconds,
    nonFiniteModels: notes.nonFiniteModels(),
    ...(choices ? { choices } : {}),
  };
}

/** The same in every session: it depends on the inputs only. */
async function choose({ design, inputs, note, threads = 0, signal }: FitRun): Promise<PenaltyChoice[] | undefined> {
  const choices = await chooseForAll(design, inputs, inputs.groups, { threads, ...(signal ? { signal } : {}) });
  for (const choice of choices ?? []) {
    const { group, numSampled, correlation, error } = choice;
    const scores = [
      ...(correlation === undefined ? [] : [`correlation ${correlation.toFixed(3)}`]),
      `error ${error.toFixed(3)} of no weights`,
    ];
    note(`fit: ${group}: ${design.describeChoice(choice)}, chosen on ${design.chosenOn} and ${numSampled} targets (${scores.join(', ')})`);
  }
  return choices;
}

/** Finished blocks, fitted on the columns that are in the files today. @throws LETHE_FIT_CHANGED (exit code 2) */
async function verifiedBlocks({ folder, design, inputs, signal }: FitRun, notes: FitNotes): Promise<FinishedBlock[]> {
  const blocks = await folder.finishedBlocks();
  for (const { first, end, inputSha256 } of blocks) {
    requireRunning(signal);
    const input = await readBlock(design.numModels, inputs, { first, end });
    notes.addInput(input);
    if (hashOf(input) === inputSha256) continue;
    throw new LetheError('LETHE_FIT_CHANGED', `${folder.root} belongs to a fit of other outputs`, {
      expected: `the values of targets ${first} to ${end - 1} that were fitted there`,
      received: 'other values',
      action: 'Give the changed fit another --out, or remove that folder.',
    });
  }
  return blocks;
}

function hashOf({ outputs, offsets, rowWeights }: InputBlock): string {
  const hash = createHash('sha256');
  for (const values of [outputs, offsets, rowWeights].filter((part) => part !== undefined)) {
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
    const assumed = attributorOf(design.options).isDense(design.options) ? 8 * design.numTrain + 64 : assumedBytes;
    const perTarget = this.targets > 0 ? this.blockBytes / this.targets : assumed;
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
  const { design, inputs, exportNpy, note } = run;
  const { numTargets } = inputs.outputs;
  const done = targetsIn(finished);
  if (done > 0) note(`fit: resuming, ${done} of ${numTargets} targets are finished in ${finished.length} blocks`);
  note(
    `fit: ${numTargets - done} targets of ${design.numModels} models on ${design.numTrain} examples, ` +
      `in ${blocks.length} block${blocks.length === 1 ? '' : 's'} of at most ${Math.min(plan.targetsPerBlock, numTargets)}`,
  );
  note(
    `fit: about ${formatBytes(plan.memoryBytes)} of memory (${formatBytes(run.memory)} allowed), about ${formatBytes(diskBytes)} of disk` +
      (exportNpy ? ', dense weights included' : ''),
  );
}
