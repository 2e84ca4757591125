/** Datamodels of masks and outputs in files, of any size: block after block, into a folder. */
import { attributorOf, openDesign } from '../attributors/registry.js';
import { constantExamples } from '../data/masks.js';
import { LetheError, requireRunning } from '../errors.js';
import { nativeAddon } from '../native/addon.js';
import { chooseDevice, type DeviceName } from '../native/device.js';
import { defaultMemory } from '../native/limits.js';
import { FitFolder, type FitRecord } from '../store/folders/fitFolder.js';
import { writeMaskRows } from '../store/folders/maskRows.js';
import { differenceText } from '../store/folders/planIdentity.js';
import type { FitOptions, PenaltyChoice, RunOptions } from '../types.js';
import { writeDenseDatamodels } from './denseDatamodels.js';
import { defaultFitOptions } from './fit.js';
import { type FitInputs, openFitInputs } from './fitInputs.js';
import { type FitCounts, FitSummary } from './fitSummary.js';
import { type FitRun, fitTargets } from './fitTargets.js';

export interface FitFiles {
  /** .npy (models, train examples), bool or integers: 1 where the model was trained on the example */
  masks: string;
  /** .npy (models, targets) or (models, points, classes), float16, float32 or float64 */
  outputs: string;
  /** .npy (models, targets) or (models, points), integers up to 255: how often a model counts for a target */
  rowWeights?: string;
  /** .npy (targets) or (points), integers: targets with the same number share a pooled choice */
  groups?: string;
  /** .npy (points), integers: labels of the outputs' points, train examples first; some attributors need them */
  labels?: string;
  /** Folder for datamodels.arrow, mask-rows.npy and fit.json; unfinished, it holds the finished blocks. */
  out: string;
}

/** Progress counts all targets; its first report is what earlier sessions have finished. */
export interface FitFilesOptions extends RunOptions {
  /** Bytes to use, which sets the size of the blocks; default: half of what is free. */
  memory?: number;
  /** Instead of as many targets as fit: results do not depend on it. */
  targetsPerBlock?: number;
  device?: DeviceName;
  /** Also dense weights.npy, bias.npy, lambda.npy and gap.npy. */
  exportNpy?: boolean;
  /** Takes lines for people. */
  note?: (line: string) => void;
}

/**
 * Fits a datamodel to every column of the outputs, as fitDatamodels() does, in blocks of targets that fit in memory. The same call goes on
 * where an earlier one was interrupted.
 *
 * @example
 * const files = { masks: 'masks.npy', outputs: 'outputs.npy', out: 'fits' };
 * const { datamodels, numConverged, numTargets } = await fitFiles(files, { ...defaultFitOptions, criterion: 'error' }, { memory: 2 ** 32 });
 * console.log(`${datamodels}: ${numConverged} of ${numTargets} targets converged`);
 *
 * @throws LETHE_FIT_OPTION, LETHE_FIT_CHANGED, LETHE_MEMORY_LIMIT, LETHE_SHAPE_MISMATCH (exit code 2), LETHE_NPY_DAMAGED (3),
 *   LETHE_GPU_UNAVAILABLE, LETHE_DISK_FULL (4), LETHE_TASK_ABORTED (75)
 */
export async function fitFiles(
  files: FitFiles,
  options: FitOptions = defaultFitOptions,
  { memory = defaultMemory(), device: wanted = 'cpu', exportNpy = false, note = () => undefined, ...given }: FitFilesOptions = {},
): Promise<FittedFiles> {
  // what fits on processors only is not asked to look for a GPU
  const device = wanted === 'auto' && !attributorOf(options).devices.includes('cuda') ? 'cpu' : chooseDevice(wanted);
  const { signal, threads = 0 } = given;
  const inputs = await openFitInputs(files, signal);
  try {
    const { numTargets } = inputs.outputs;
    const design = openDesign(inputs.masks, options, {
      numTargets,
      gramBytes: memory / 3,
      threads,
      device,
      ...(inputs.points ? { points: inputs.points } : {}),
    });
    const { backend } = design;
    const constant = constantExamples(inputs.masks);
    if (constant > 0)
      note(`fit: ${constant} of ${inputs.masks.numTrain} examples are in every mask or in none: nothing can be learned of them`);
    const folder = await FitFolder.open(files.out, commandOf(options, backend, inputs));
    const run = { ...given, folder, design, inputs, exportNpy, note, memory };
    return (
      (await finishedBefore(run, backend)) ??
      (await fitAll(run, files, backend).catch(async (error: unknown) => {
        // the same command in another process may have come to the end first, and have taken the blocks away
        const finished = signal?.aborted ? undefined : await finishedBefore(run, backend);
        if (finished) return finished;
        throw error;
      }))
    );
  } finally {
    await inputs.close();
  }
}

type Summary = FitCounts & {
  /** With a pooled choice. */
  choices?: PenaltyChoice[];
  numModels: number;
  numTrain: number;
  numTargets: number;
  /** Rows of the outputs that are not finite everywhere; absent: none, or not written down by an earlier version. */
  nonFiniteModels?: number[];
  backend: string;
  threads: number;
};

/** Of all targets, in whatever session they were fitted; NaN where an earlier version did not write it down. */
interface Timing {
  seconds: number;
  secondsPerTarget: number;
}

export type FittedFiles = Summary &
  Timing & {
    /** The file that was made. */
    datamodels: string;
    resumedTargets: number;
    /** An earlier session had done everything. */
    foundFinished: boolean;
    /** Where this session's Gram counts came from; the numbers do not depend on it. */
    gram?: string;
  };

function timing(seconds: number, numTargets: number): Timing {
  return { seconds, secondsPerTarget: seconds / numTargets };
}

/** What an earlier session has finished is not fitted again; only exports that it did not make are. */
async function finishedBefore(run: FitRun, backend: string): Promise<FittedFiles | undefined> {
  const { folder, design, inputs, exportNpy, note, signal } = run;
  const record = await folder.finishedFit();
  if (!record) return undefined;
  const { numTargets } = inputs.outputs;
  note(`fit: ${folder.datamodelsPath} is finished and whole`);
  const summary = await summaryOf(run, record, backend);
  if (exportNpy) await writeDenseDatamodels(folder.root, { batches: folder.datamodels(), numTargets, numTrain: design.numTrain, signal });
  await folder.removeBlocks();
  await writeMaskRows(folder.root, inputs.masks); // a fit of an earlier version has none
  const timed = timing(record.seconds ?? NaN, numTargets);
  return { ...summary, ...timed, datamodels: folder.datamodelsPath, resumedTargets: numTargets, foundFinished: true };
}

/**
 * What a finished fit came to, from its datamodels; a description that says otherwise is put right.
 * @throws LETHE_FIT_CHANGED (exit code 2), LETHE_DATAMODELS_INVALID (exit code 3)
 */
async function summaryOf({ folder, design, inputs, note, signal }: FitRun, record: FitRecord, backend: string): Promise<Summary> {
  const { numModels, numTrain } = design;
  const { numTargets } = inputs.outputs;
  const counts = new FitSummary();
  for await (const part of folder.datamodels()) {
    requireRunning(signal);
    counts.add(part);
  }
  const { choices, nonFiniteModels, threads } = record.summary as Pick<Summary, 'choices' | 'nonFiniteModels' | 'threads'>;
  const facts = { ...(choices ? { choices } : {}), ...(nonFiniteModels ? { nonFiniteModels } : {}) };
  const summary: Summary = { numModels, numTrain, numTargets, ...counts.counts(), ...facts, backend, threads };
  if (counts.targets !== numTargets) {
    throw new LetheError('LETHE_FIT_CHANGED', `${folder.datamodelsPath} is of another fit`, {
      expected: `${numTargets} targets`,
      received: String(counts.targets),
      action: 'Give this fit another --out, or remove that folder.',
    });
  }
  const difference = differenceText(record.summary, summary, 'said');
  if (difference !== undefined) {
    note(`fit: the description of the fit is not that of its datamodels and is written anew: ${difference}`);
    await folder.finish({ ...record, summary: { ...summary } });
  }
  return summary;
}

async function fitAll(run: FitRun, files: FitFiles, backend: string): Promise<FittedFiles> {
  const { folder, design, inputs, signal } = run;
  const { numModels, numTrain, options } = design;
  const { numTargets } = inputs.outputs;
  const { blocks, fitted, seconds, choices, nonFiniteModels } = await fitTargets(run);
  const counts = new FitSummary();
  const datamodels = await folder.assemble(numTrain, blocks, (part) => {
    requireRunning(signal);
    counts.add(part);
  });
  if (run.exportNpy) await writeDenseDatamodels(folder.root, { batches: folder.datamodels(), numTargets, numTrain, signal });
  await writeMaskRows(folder.root, inputs.masks);
  const threads = run.threads || nativeAddon().systemInfo().threads;
  const facts = { ...(choices ? { choices } : {}), ...(nonFiniteModels.length > 0 ? { nonFiniteModels } : {}) };
  const summary: Summary = { numModels, numTrain, numTargets, ...counts.counts(), ...facts, backend, threads };
  await folder.finish({
    document: 'lethe.fit',
    version: 1,
    masks: files.masks,
    outputs: files.outputs,
    outputShape: inputs.outputShape,
    ...(files.rowWeights === undefined ? {} : { rowWeights: files.rowWeights }),
    options,
    holdoutModels: design.heldOut,
    command: commandOf(options, backend, inputs),
    datamodels,
    summary: { ...summary },
    seconds,
  });
  const gram = design.gram();
  return {
    ...summary,
    ...timing(seconds, numTargets),
    datamodels: folder.datamodelsPath,
    resumedTargets: numTargets - fitted,
    foundFinished: false,
    ...(gram === undefined ? {} : { gram }),
  };
}

/** What decides the numbers. Not the threads, the memory or the blocks: results do not depend on them. */
function commandOf(options: FitOptions, backend: string, inputs: FitInputs): Record<string, unknown> {
  return { options, backend, ...inputs.identity };
}
