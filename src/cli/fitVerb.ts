/** What lethe fit says and prints. */
import path from 'node:path';
import type { ProgressDisplay } from '../commands/talk.js';
import { fitFiles, type FittedFiles } from '../datamodels/fitFiles.js';
import { ExitCode, LetheError } from '../errors.js';
import { deviceNames } from '../native/device.js';
import { choiceCriteria, fitSelections, type FitOptions, type Progress } from '../types.js';
import { compact, createProgress, duration, emitJson, interruptSignal, oneOf, say } from './common.js';
import { namedRows } from './namedRows.js';

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

/** @throws what fitFiles() does, LETHE_FIT_FAILED (exit code 1) */
export async function fitVerb(verb: FitVerbOptions): Promise<void> {
  const options = fitOptions(verb);
  const { memory, block, threads } = verb;
  oneOf('--export', verb.export ?? 'npy', ['npy']);
  const device = oneOf('--device', verb.device, deviceNames);
  const display = progressOf();
  const run = {
    ...(memory === undefined ? {} : { memory }),
    ...(block === undefined ? {} : { targetsPerBlock: block }),
    threads,
    device,
    exportNpy: verb.export !== undefined,
    note: say,
    onProgress: display.update,
    signal: interruptSignal({ resumes: true }),
  };
  const fitted = await fitFiles(verb, options, run).finally(display.stop);
  requireSomeFitted(fitted);
  if (verb.json) emitJson('fit', { ...fitted, datamodels: undefined });
  else report(fitted);
}

/** A target that is constant has an exact datamodel. @throws LETHE_FIT_FAILED (exit code 1) when no target has one; the folder stays */
function requireSomeFitted(fitted: FittedFiles): void {
  const { numTargets, numConverged, numConstant, numUnconverged, numNonFinite, nonFiniteModels = [], maxRelativeGap } = fitted;
  if (numTargets === 0 || numConverged + numConstant > 0) return;
  const gap = numUnconverged > 0 ? `, relative gap up to ${maxRelativeGap.toExponential(1)}` : '';
  throw new LetheError('LETHE_FIT_FAILED', `none of the ${numTargets} targets was fitted`, {
    expected: 'outputs that are finite numbers, and a duality gap within --gap-tolerance',
    received: `${numNonFinite} targets with NaN or infinite outputs, ${numUnconverged} unconverged${gap}`,
    action:
      (numNonFinite > 0 ? `${leaveOut(nonFiniteModels)} ` : 'Try a larger --gap-tolerance or --lambda-min-ratio. ') +
      `What was made is in ${path.dirname(fitted.datamodels)}.`,
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

function report(outcome: FittedFiles): void {
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
  say(`written to ${outcome.datamodels}`);
}

/** Progress over all targets; the rate is that of this session, and the first report what earlier ones have done. */
function progressOf(): { update: (progress: Progress) => void; stop: () => void } {
  let display: ProgressDisplay | undefined;
  let started = 0;
  let finished = 0;
  let said = false;
  return {
    update({ done: all, total }) {
      if (!display) {
        display = createProgress('fit', 'targets');
        started = performance.now();
        finished = all;
        return;
      }
      const done = all - finished;
      const seconds = Math.max((performance.now() - started) / 1000, 1e-3);
      const rate = done / seconds;
      if (!said && done >= firstTargets) {
        said = true;
        const left = duration((total - all) / rate);
        say(`fit: first ${done} targets after ${duration(seconds)}, ${compact(rate)} targets/s, about ${left} left`);
      }
      display.update(all, total, '', rate);
    },
    stop: () => {
      display?.stop();
    },
  };
}

/** Fewer say little about the rate: the first ones of every worker end at about the same time. */
const firstTargets = 64;
