/** What lethe fit does: datamodels from masks and outputs in files. */
import { constantExamples } from '../data/masks.js';
import { checkOptions } from '../datamodels/check.js';
import { openDesign } from '../datamodels/design.js';
import { holdoutModels } from '../datamodels/selection.js';
import { ExitCode, LetheError, requireRunning } from '../errors.js';
import { nativeAddon } from '../native/addon.js';
import { chooseDevice, deviceNames } from '../native/device.js';
import { defaultMemory } from '../native/limits.js';
import { FitFolder, type FitRecord } from '../store/folders/fitFolder.js';
import { writeMaskRows } from '../store/folders/maskRows.js';
import { differenceText } from '../store/folders/planIdentity.js';
import { choiceCriteria, fitSelections, type FitOptions, type PenaltyChoice } from '../types.js';
import { compact, emitJson, interruptSignal, oneOf, say } from './common.js';
import { writeDenseDatamodels } from './denseDatamodels.js';
import { type FitInputs, openFitInputs } from './fitInputs.js';
import { namedRows } from './fitNotes.js';
import { type FitCounts, type FitRun, FitSummary, fitTargets } from './fitRun.js';

export interface FitVerbOptions {
  masks: string;
  outputs: string;
  out: string;
  estimator: string;
  pathLength: number;
  lambdaMinRatio: number;
  lambdas?: number[];
  select?: string;
  holdoutFraction: number;
  folds?: number;
  lambda?: number;
  lambdaRatio?: number;
  relaxation?: number;
  criterion?: string;
  groups?: string;
  refit: boolean;
  standardise?: boolean;
  rowWeights?: string;
  gapTolerance: number;
  memory?: number;
  block?: number;
  device: string;
  threads: number;
  seed: number;
  export?: string;
  json?: boolean;
}

/** @throws LETHE_FIT_OPTION, LETHE_FIT_CHANGED, LETHE_MEMORY_LIMIT (exit code 2), LETHE_FIT_FAILED (1), LETHE_TASK_ABORTED (75) */
export async function fitVerb(verb: FitVerbOptions): Promise<void> {
  const options = fitOptions(verb);
  const exportNpy = verb.export !== undefined;
  oneOf('--export', verb.export ?? 'npy', ['npy']);
  const device = chooseDevice(oneOf('--device', verb.device, deviceNames));
  const backend = device === 'cuda' ? 'cuda' : `cpu-${nativeAddon().systemInfo().isa}`;
  const signal = interruptSignal({ resumes: true });
  const inputs = await openFitInputs(verb, signal);
  try {
    checkOptions(options, inputs.masks.numModels);
    const constant = constantExamples(inputs.masks);
    if (constant > 0)
      say(`fit: ${constant} of ${inputs.masks.numTrain} examples are in every mask or in none: nothing can be learned of them`);
    const folder = await FitFolder.open(verb.out, commandOf(options, backend, inputs));
    const { threads } = verb;
    const design = openDesign(inputs.masks, options, {
      numTargets: inputs.outputs.numTargets,
      gramBytes: (verb.memory ?? defaultMemory()) / 3,
      threads,
      device,
    });
    const run = { folder, design, inputs, exportNpy, threads, signal, memory: verb.memory ?? defaultMemory() };
    const forced = verb.block === undefined ? {} : { targetsPerBlock: verb.block };
    const whole = { ...run, ...forced };
    const outcome =
      (await finishedBefore(whole, backend)) ??
      (await fitAll(whole, verb, options, backend).catch(async (error: unknown) => {
        // the same command in another process may have come to the end first, and have taken the blocks away
        const finished = signal.aborted ? undefined : await finishedBefore(whole, backend);
        if (finished) return finished;
        throw error;
      }));
    requireSomeFitted(outcome, folder);
    if (verb.json) emitJson('fit', outcome);
    else report(folder, outcome);
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
/** foundFinished: an earlier session had done everything. gram: where this session's Gram counts came from; the numbers do not depend on it. */
type Outcome = Summary & Timing & { resumedTargets: number; foundFinished: boolean; gram?: string };

/** Of all targets, in whatever session they were fitted; NaN where an earlier version did not write it down. */
interface Timing {
  seconds: number;
  secondsPerTarget: number;
}

function timing(seconds: number, numTargets: number): Timing {
  return { seconds, secondsPerTarget: seconds / numTargets };
}

/** What an earlier session has finished is not fitted again; only exports that it did not make are. */
async function finishedBefore(run: FitRun, backend: string): Promise<Outcome | undefined> {
  const { folder, design, inputs, exportNpy, signal } = run;
  const record = await folder.finishedFit();
  if (!record) return undefined;
  const { numTargets } = inputs.outputs;
  say(`fit: ${folder.datamodelsPath} is finished and whole`);
  const summary = await summaryOf(run, record, backend);
  if (exportNpy) await writeDenseDatamodels(folder.root, { batches: folder.datamodels(), numTargets, numTrain: design.numTrain, signal });
  await folder.removeBlocks();
  await writeMaskRows(folder.root, inputs.masks); // a fit of an earlier version has none
  const timed = timing(record.seconds ?? NaN, numTargets);
  return { ...summary, ...timed, resumedTargets: numTargets, foundFinished: true };
}

/**
 * What a finished fit came to, from its datamodels; a description that says otherwise is put right.
 * @throws LETHE_FIT_CHANGED (exit code 2), LETHE_DATAMODELS_INVALID (exit code 3)
 */
async function summaryOf({ folder, design, inputs, signal }: FitRun, record: FitRecord, backend: string): Promise<Summary> {
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
    say(`fit: the description of the fit is not that of its datamodels and is written anew: ${difference}`);
    await folder.finish({ ...record, summary: { ...summary } });
  }
  return summary;
}

async function fitAll(run: FitRun, verb: FitVerbOptions, options: FitOptions, backend: string): Promise<Outcome> {
  const { folder, design, inputs, signal } = run;
  const { numModels, numTrain } = design;
  const { numTargets } = inputs.outputs;
  const { blocks, fitted, seconds, choices, nonFiniteModels } = await fitTargets(run);
  const counts = new FitSummary();
  const datamodels = await folder.assemble(numTrain, blocks, (part) => {
    requireRunning(signal);
    counts.add(part);
  });
  if (run.exportNpy) await writeDenseDatamodels(folder.root, { batches: folder.datamodels(), numTargets, numTrain, signal });
  await writeMaskRows(folder.root, inputs.masks);
  const threads = verb.threads || nativeAddon().systemInfo().threads;
  const facts = { ...(choices ? { choices } : {}), ...(nonFiniteModels.length > 0 ? { nonFiniteModels } : {}) };
  const summary: Summary = { numModels, numTrain, numTargets, ...counts.counts(), ...facts, backend, threads };
  await folder.finish({
    document: 'lethe.fit',
    version: 1,
    masks: verb.masks,
    outputs: verb.outputs,
    outputShape: inputs.outputShape,
    ...(verb.rowWeights === undefined ? {} : { rowWeights: verb.rowWeights }),
    options,
    holdoutModels: holdoutModels(numModels, options),
    command: commandOf(options, backend, inputs),
    datamodels,
    summary: { ...summary },
    seconds,
  });
  const gram = design.gram();
  const resumedTargets = numTargets - fitted;
  return { ...summary, ...timing(seconds, numTargets), resumedTargets, foundFinished: false, ...(gram === undefined ? {} : { gram }) };
}

/** A target that is constant has an exact datamodel. @throws LETHE_FIT_FAILED (exit code 1) when no target has one; the folder stays */
function requireSomeFitted(
  { numTargets, numConverged, numConstant, numUnconverged, numNonFinite, nonFiniteModels = [], maxRelativeGap }: Outcome,
  folder: FitFolder,
): void {
  if (numTargets === 0 || numConverged + numConstant > 0) return;
  const gap = numUnconverged > 0 ? `, relative gap up to ${maxRelativeGap.toExponential(1)}` : '';
  throw new LetheError('LETHE_FIT_FAILED', `none of the ${numTargets} targets was fitted`, {
    expected: 'outputs that are finite numbers, and a duality gap within --gap-tolerance',
    received: `${numNonFinite} targets with NaN or infinite outputs, ${numUnconverged} unconverged${gap}`,
    action:
      (numNonFinite > 0 ? `${leaveOut(nonFiniteModels)} ` : 'Try a larger --gap-tolerance or --lambda-min-ratio. ') +
      `What was made is in ${folder.root}.`,
    exitCode: ExitCode.taskFailed,
  });
}

function leaveOut(rows: readonly number[]): string {
  const where = rows.length > 0 ? namedRows(rows) : 'some rows of the outputs';
  return (
    `NaN or infinite: ${where}. Have these models diverged? Leave them out with --row-weights FILE, numpy.ones(outputs.shape, numpy.uint8) ` +
    'with 0 in these rows, in another --out; or take these rows out of masks and outputs.'
  );
}

/** What decides the numbers. Not the threads, the memory or the blocks: results do not depend on them. */
function commandOf(options: FitOptions, backend: string, inputs: FitInputs): Record<string, unknown> {
  return { options, backend, ...inputs.identity };
}

function fitOptions(verb: FitVerbOptions): FitOptions {
  const { pathLength, lambdaMinRatio, holdoutFraction, refit, gapTolerance, seed, lambda, lambdaRatio, lambdas, relaxation } = verb;
  const { criterion, folds, standardise } = verb;
  const given = lambda !== undefined || lambdaRatio !== undefined;
  return {
    estimator: oneOf('--estimator', verb.estimator, ['lasso', 'marginal']),
    pathLength,
    lambdaMinRatio,
    select: oneOf('--select', verb.select ?? (given ? 'none' : lambdas ? 'holdout' : 'pooled'), fitSelections),
    ...(criterion === undefined ? {} : { criterion: oneOf('--criterion', criterion, choiceCriteria) }),
    holdoutFraction,
    refit,
    gapTolerance,
    seed,
    ...(lambda === undefined ? {} : { lambda }),
    ...(lambdaRatio === undefined ? {} : { lambdaRatio }),
    ...(relaxation === undefined ? {} : { relaxation }),
    ...(lambdas === undefined ? {} : { lambdas: lambdas.sort((a, b) => b - a) }),
    ...(folds === undefined ? {} : { folds }),
    ...(standardise === true ? { standardise } : {}),
  };
}

function report(folder: FitFolder, outcome: Outcome): void {
  const { numTargets, numConverged, numUnconverged, numConstant, numNonFinite, resumedTargets, backend, seconds, secondsPerTarget } =
    outcome;
  const time = Number.isNaN(seconds)
    ? 'in unknown time'
    : `in ${compact(seconds)} s (${(secondsPerTarget * 1000).toPrecision(3)} ms each, ${backend})`;
  const resumed = resumedTargets > 0 ? `, ${resumedTargets} of them by earlier sessions` : '';
  const work = `${time}${outcome.foundFinished ? ', found finished' : resumed}`;
  say(
    `${numTargets} datamodels ${work}, ` +
      `${outcome.meanNonzero.toFixed(1)} weights each, largest relative gap ${outcome.maxRelativeGap.toExponential(1)}`,
  );
  if (numConverged < numTargets) {
    say(
      `${numConverged} converged, ${numUnconverged} unconverged, ${numConstant} constant, ${numNonFinite} non-finite: see column "status"`,
    );
  }
  if (numNonFinite > 0) say(leaveOut(outcome.nonFiniteModels ?? []));
  say(`written to ${folder.datamodelsPath}`);
}
