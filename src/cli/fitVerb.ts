/** What lethe fit says and prints. */
import path from 'node:path';
import { completeOptions } from '../attributors/options.js';
import { attributorNames, attributorOf, attributors } from '../attributors/registry.js';
import type { ProgressDisplay } from '../commands/talk.js';
import { fitFiles, type FittedFiles } from '../datamodels/fitFiles.js';
import { ExitCode, LetheError } from '../errors.js';
import { deviceNames } from '../native/device.js';
import type { FitOptions, Progress } from '../types.js';
import { compact, createProgress, duration, emitJson, interruptSignal, oneOf, say } from './common.js';
import { namedRows } from '../commands/namedRows.js';

/** Options of attributors among them, by their names. */
export interface FitVerbOptions extends Partial<Omit<FitOptions, 'estimator'>> {
  masks: string;
  outputs: string;
  out: string;
  estimator: string;
  groups?: string;
  labels?: string;
  rowWeights?: string;
  memory?: number;
  block?: number;
  device: string;
  threads: number;
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

/** Options that were given, whichever attributor has them, and defaults. */
function fitOptions(verb: FitVerbOptions): FitOptions {
  const attributor = attributorOf({ estimator: oneOf('--estimator', verb.estimator, attributorNames) });
  const given: Partial<FitOptions> = {};
  for (const [name, { kind, default: fallback }] of attributors.flatMap(({ options }) => Object.entries(options))) {
    const value = verb[name];
    // --no-... stands at true where it was not given
    if (value !== undefined && !(kind === 'truth' && value === fallback)) given[name] = value;
  }
  return completeOptions(attributor, given);
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
