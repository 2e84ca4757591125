/** Fits of more targets than memory holds: block after block of output columns, in any cut, with the same numbers. */
import type { Design, DesignBlock } from '../attributors/attributor.js';
import { LetheError, requireRunning } from '../errors.js';
import { formatBytes } from '../store/disk/byteSize.js';
import type { Datamodels, PenaltyChoice, Progress, RunOptions, TargetGroups } from '../types.js';
import { centreOutputs, shiftBias } from './centre.js';
import { checkOutputs } from './check.js';
import { choicesOf, sampleTargets } from '../attributors/pooled.js';
import { toDatamodels } from './fit.js';

/** Outputs of all models, readable by columns. */
export interface OutputBlocks {
  numModels: number;
  numTargets: number;
  /** Targets are point * numClasses + class; absent: 1. */
  numClasses?: number;
  /** (numModels, end - first) targets [first, end) */
  read(first: number, end: number): Promise<Float32Array | Float64Array>;
  /** (numModels, targets.length) single targets, where that is cheaper together than one by one. */
  pick?(targets: Int32Array): Promise<Float32Array>;
}

/** Row weights of a fit by blocks (see FitInput). */
export interface RowWeightBlocks {
  /** 1, or numClasses: blocks then hold whole points. */
  targetsPerRowWeight: number;
  /** (numModels, end - first) columns [first, end), a column for each `targetsPerRowWeight` targets */
  read(first: number, end: number): Promise<Uint8Array>;
}

/** Targets [first, end). */
export interface Span {
  first: number;
  end: number;
}

export interface BlockedInput {
  outputs: OutputBlocks;
  rowWeights?: RowWeightBlocks;
  /** What to fit, in this order: planBlocks(). */
  blocks: Span[];
  /** What was chosen for the targets of all blocks, by their groups: chooseForAll(). Absent: the design's options say it. */
  choices?: readonly PenaltyChoice[];
  groups?: TargetGroups;
}

/** Outputs less what was taken off each target before they were rounded to float32; absent: nothing. */
export interface InputBlock extends DesignBlock {
  /** (numTargets) */
  offsets?: Float64Array;
}

export interface FittedBlock extends Span {
  datamodels: Datamodels;
  /** What it was fitted on. */
  input: InputBlock;
}

/**
 * fitDatamodels() for each block: the same bytes as for all targets at once. `onBlock` is awaited before the next block is read, so one
 * block is in memory at a time; it may keep or publish it. Progress counts the targets of all given blocks.
 * @throws LETHE_SHAPE_MISMATCH (exit code 2), LETHE_TASK_ABORTED (75)
 */
export async function fitBlocks(
  design: Design,
  { outputs, rowWeights, blocks, choices, groups }: BlockedInput,
  { onBlock, onProgress, signal, threads = 0 }: RunOptions & { onBlock: (block: FittedBlock) => Promise<void> },
): Promise<void> {
  const total = blocks.reduce((sum, { first, end }) => sum + end - first, 0);
  let before = 0;
  for (const { first, end } of blocks) {
    requireRunning(signal);
    const block = await readBlock(design.numModels, { outputs, ...(rowWeights ? { rowWeights } : {}) }, { first, end });
    requireRunning(signal);
    const base = before;
    const { offsets, ...given } = block;
    const run = { threads, ...(signal ? { signal } : {}), onProgress: ({ done }: Progress) => onProgress?.({ done: base + done, total }) };
    const fits = await design.fit(given, run, choices && choicesOf(choices, groups, first, end));
    const datamodels = toDatamodels(fits, end - first, design.numTrain);
    await onBlock({ first, end, input: block, datamodels: offsets ? shiftBias(datamodels, offsets) : datamodels });
    before += end - first;
  }
}

/** What one block is fitted on: of float64 outputs what is left without their offsets. @throws LETHE_SHAPE_MISMATCH (exit code 2) */
export async function readBlock(
  numModels: number,
  { outputs, rowWeights }: Pick<BlockedInput, 'outputs' | 'rowWeights'>,
  { first, end }: Span,
): Promise<InputBlock> {
  const values = await outputs.read(first, end);
  checkOutputs(values, numModels, end - first);
  const targetsPerRowWeight = rowWeights?.targetsPerRowWeight ?? 1;
  const weights = await rowWeights?.read(first / targetsPerRowWeight, end / targetsPerRowWeight);
  const counted = weights ? { rowWeights: weights, targetsPerRowWeight } : undefined;
  const given = values instanceof Float64Array ? centreOutputs(values, end - first, counted) : { outputs: values };
  return { ...given, first, numTargets: end - first, targetsPerRowWeight, ...counted };
}

/** Single targets, ascending, each with its row weights. @throws LETHE_SHAPE_MISMATCH (exit code 2) */
export async function readSample(
  numModels: number,
  inputs: Pick<BlockedInput, 'outputs' | 'rowWeights'>,
  targets: Int32Array,
): Promise<DesignBlock> {
  if (inputs.outputs.pick && !inputs.rowWeights) {
    return { outputs: await inputs.outputs.pick(targets), numTargets: targets.length, targetsPerRowWeight: 1 };
  }
  const blocks: InputBlock[] = [];
  for (const target of targets) {
    const { rowWeights: given } = inputs;
    const own = given && { targetsPerRowWeight: 1, read: async () => given.read(...columnOf(target, given.targetsPerRowWeight)) };
    blocks.push(
      await readBlock(numModels, { outputs: inputs.outputs, ...(own ? { rowWeights: own } : {}) }, { first: target, end: target + 1 }),
    );
  }
  const stack = <T extends Float32Array | Uint8Array>(to: T, column: (block: InputBlock) => T): T => {
    blocks.forEach((block, k) => {
      for (let model = 0; model < numModels; model++) to[model * targets.length + k] = column(block)[model]!;
    });
    return to;
  };
  return {
    outputs: stack(new Float32Array(numModels * targets.length), ({ outputs }) => outputs),
    numTargets: targets.length,
    ...(inputs.rowWeights ? { rowWeights: stack(new Uint8Array(numModels * targets.length), ({ rowWeights }) => rowWeights!) } : {}),
    targetsPerRowWeight: 1,
  };
}

/** What a pooled choice comes to for the targets of all blocks; undefined where each target chooses for itself. @throws LETHE_TASK_ABORTED (75) */
export async function chooseForAll(
  design: Design,
  inputs: Pick<BlockedInput, 'outputs' | 'rowWeights'>,
  groups: TargetGroups | undefined,
  run: RunOptions = {},
): Promise<PenaltyChoice[] | undefined> {
  if (!design.pooled) return undefined;
  const sample = sampleTargets(inputs.outputs.numTargets, groups, design.options.seed);
  return design.choose({ ...(await readSample(design.numModels, inputs, sample)), sample }, groups, run);
}

/** The one column of row weights that a target has. */
function columnOf(target: number, targetsPerRowWeight: number): [number, number] {
  const column = Math.floor(target / targetsPerRowWeight);
  return [column, column + 1];
}

/** What is left beside the finished spans (sorted, not overlapping), cut into blocks of at most `targetsPerBlock`. */
export function planBlocks(numTargets: number, targetsPerBlock: number, finished: readonly Span[] = []): Span[] {
  const blocks: Span[] = [];
  let from = 0;
  for (const { first, end } of [...finished, { first: numTargets, end: numTargets }]) {
    for (; from < first; from = Math.min(from + targetsPerBlock, first)) {
      blocks.push({ first: from, end: Math.min(from + targetsPerBlock, first) });
    }
    from = end;
  }
  return blocks;
}

export interface MemorySizes {
  numModels: number;
  numTrain: number;
  numTargets: number;
  numClasses: number;
  /** Design.memoryBytes */
  designBytes: number;
  /** Design.weightsPerTarget */
  weightsPerTarget: number;
  /** Design.mostTargets */
  mostTargets: number;
  /** Bytes that reading an output takes above the 4 of its value, and a byte for a row weight. */
  extraBytes: number;
}

export interface MemoryPlan {
  targetsPerBlock: number;
  /** Memory that a fit with such blocks takes, with as many weights as Design.weightsPerTarget. */
  memoryBytes: number;
}

/**
 * The largest blocks of whole points that fit into `limitBytes`, or blocks of `targetsPerBlock` where that is given. Weights are held twice
 * by the solver and twice on the way out; when the blocks are put together, the solver's memory is free again.
 * @throws LETHE_MEMORY_LIMIT, LETHE_FIT_OPTION (exit code 2)
 */
export function planMemory(sizes: MemorySizes, limitBytes: number, targetsPerBlock?: number): MemoryPlan {
  const { numModels, numTrain, numTargets, numClasses, mostTargets, designBytes, weightsPerTarget } = sizes;
  const assembly = Math.min(mostAssemblyBytes, 3 * numTargets * (8 * weightsPerTarget + 64));
  const fixed = processBytes + 2 * numModels * Math.ceil(numTrain / 8) + Math.max(designBytes, assembly);
  const perTarget = numModels * (4 + sizes.extraBytes) + 4 * 8 * weightsPerTarget + 256;
  if (targetsPerBlock !== undefined) {
    if (targetsPerBlock % numClasses !== 0) {
      throw new LetheError('LETHE_FIT_OPTION', 'a block holds whole points', {
        expected: `a multiple of the ${numClasses} classes`,
        received: `${targetsPerBlock} targets`,
      });
    }
    return { targetsPerBlock, memoryBytes: fixed + Math.min(targetsPerBlock, numTargets) * perTarget };
  }
  const points = Math.floor((limitBytes - fixed) / (perTarget * numClasses));
  if (points < 1) {
    throw new LetheError('LETHE_MEMORY_LIMIT', 'the memory does not suffice for a fit of one point', {
      expected: `at least ${formatBytes(fixed + perTarget * numClasses)}`,
      received: formatBytes(limitBytes),
      action: 'Raise --memory, or use a machine with more of it.',
    });
  }
  const most = Math.max(1, Math.floor(Math.min(mostTargets, Math.max(numTargets, 1)) / numClasses));
  const block = Math.min(points, most) * numClasses;
  return { targetsPerBlock: block, memoryBytes: fixed + block * perTarget };
}

/** Node with its libraries, and a record batch on its way from the blocks into the result. */
const processBytes = 90 * 2 ** 20;
const mostAssemblyBytes = 2 ** 28;
