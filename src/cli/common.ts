/** What every verb shares: JSON documents, progress on stderr, signals, errors to exit codes. */
import path from 'node:path';
import { Command, InvalidArgumentError, Option } from 'commander';
import { createRequire } from 'node:module';
import pc from 'picocolors';
import { didYouMean, errorCode, ExitCode, LetheError, systemError } from '../errors.js';
import type { ProgressDisplay, Talk } from '../commands/talk.js';
import { onStopRequest } from './signals.js';

/** A verb prints one document: an error after it is for people only. */
let documentPrinted = false;

/** Prints one versioned document to stdout; stdout carries data only. The version rises where a field changes its meaning. */
export function emitJson(kind: string, body: object, version = 1): void {
  documentPrinted = true;
  process.stdout.write(`${JSON.stringify({ document: `lethe.${kind}`, version, ...body }, jsonNumber)}\n`);
}

/** JSON has no NaN: non-finite numbers are written as null. */
function jsonNumber(_key: string, value: unknown): unknown {
  return typeof value === 'number' && !Number.isFinite(value) ? null : value;
}

/** Options that mean the same everywhere say the same everywhere. */
export const jsonHelp = 'print a JSON document to stdout';
export const dataHelp = 'folder of the data set (default: LETHE_DATA)';
/** Of verbs that only read a run folder. */
export const oldDataHelp = 'folder of the data set, for a run of an earlier version only';
export const threadsHelp = 'processors to use, 0 for all allowed; more than there are give a warning, more than 1024 an error';

/** An option with a value that is not shown as it is written, such as a list. `text`: the default, as it would be written. */
export function optionWithDefault(flags: string, description: string, parse: (text: string) => unknown, text: string): Option {
  return new Option(flags, description).argParser(parse).default(parse(text), text);
}

/** Talk goes to stderr so that stdout can be piped. */
export function say(line: string): void {
  process.stderr.write(`${line}\n`);
}

/** A path for people: relative where that is inside the working folder. */
export function shownPath(file: string): string {
  const relative = path.relative('', file);
  return relative === '' || relative.startsWith('..') ? file : relative;
}

const secondsBetweenLines = 5;

/** A bar with rate and time left on a terminal, a line every few seconds elsewhere. `unit` is plural: "targets", "images". */
export function createProgress(label: string, unit: string): ProgressDisplay {
  const started = Date.now();
  const describe = (done: number, total: number, givenRate?: number): string => {
    const seconds = Math.max((Date.now() - started) / 1000, 1e-3);
    const rate = givenRate ?? done / seconds;
    const left = rate > 0 ? duration(Math.max(0, total - done) / rate) : 'unknown';
    return `${compact(done)}/${compact(total)} ${unit}, ${compact(rate)} ${unit}/s, ${left} left`;
  };
  if (process.stderr.isTTY) {
    // loaded where it is used: most commands show no bar
    const cliProgress = createRequire(import.meta.url)('cli-progress') as typeof import('cli-progress');
    const bar = new cliProgress.SingleBar({
      format: `${label} [{bar}] {facts} {note}`,
      stream: process.stderr,
      hideCursor: true,
      clearOnComplete: true,
    });
    let running = false;
    return {
      update(done, total, note = '', rate?: number) {
        if (!running) bar.start(total, 0, { facts: '', note });
        running = true;
        bar.setTotal(total);
        bar.update(done, { facts: describe(done, total, rate), note });
      },
      stop() {
        if (running) bar.stop();
      },
    };
  }
  let last = started;
  return {
    update(done, total, note = '', rate?: number) {
      if (Date.now() - last < secondsBetweenLines * 1000) return;
      last = Date.now();
      say(`${label}: ${describe(done, total, rate)}${note ? ` (${note})` : ''}`);
    },
    stop() {},
  };
}

export function compact(value: number): string {
  if (value >= 1e9) return `${(value / 1e9).toFixed(2)}G`;
  if (value >= 1e6) return `${(value / 1e6).toFixed(2)}M`;
  if (value >= 1e4) return `${(value / 1e3).toFixed(1)}k`;
  return value >= 100 || Number.isInteger(value) ? value.toFixed(0) : value.toPrecision(3);
}

export function duration(seconds: number): string {
  if (seconds < 90) return `${seconds.toFixed(0)} s`;
  if (seconds < 5400) return `${(seconds / 60).toFixed(0)} min`;
  return `${(seconds / 3600).toFixed(1)} h`;
}

/** Aborts at the first signal that asks to stop (jobs/signals.ts); a second one leaves at once. `resumes`: the verb keeps what is finished. */
export function interruptSignal({ resumes = false } = {}): AbortSignal {
  const controller = new AbortController();
  onStopRequest(() => {
    const kept = resumes ? ': work in progress is dropped, what is finished is kept, and the same command resumes' : '';
    say(`stopping${kept}. A second signal leaves at once.`);
    controller.abort();
  });
  return controller.signal;
}

/** How verbs that resume talk: lines and progress on stderr, an end at signals. */
export function talk(): Talk {
  return { note: say, progress: createProgress, signal: interruptSignal({ resumes: true }) };
}

/** Commander argument parsers: integers and numbers with bounds, as usage errors. */
export function integerAtLeast(minimum: number): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (!Number.isSafeInteger(value) || value < minimum)
      throw new InvalidArgumentError(`expected an integer >= ${minimum}; received "${text}".`);
    return value;
  };
}

const mostProcessors = 1024;

/** Of --threads and --workers: no machine has more than so many, a number above them is a slip. */
export function processorCount(minimum: number): (text: string) => number {
  return (text) => {
    const value = integerAtLeast(minimum)(text);
    if (value > mostProcessors) throw new InvalidArgumentError(`expected at most ${mostProcessors}; received "${text}".`);
    return value;
  };
}

export function finiteNumber(text: string): number {
  const value = Number(text);
  if (text.trim() === '' || !Number.isFinite(value)) throw new InvalidArgumentError(`expected a number; received "${text}".`);
  return value;
}

const environmentCodes = [
  'LETHE_ISA_UNAVAILABLE',
  'LETHE_MEMORY_EXHAUSTED',
  'LETHE_THREADS_EXHAUSTED',
  'LETHE_PROVIDER_MISSING',
  'LETHE_ORT_FAILED',
  'LETHE_GPU_UNAVAILABLE',
  'LETHE_GPU_MEMORY_EXHAUSTED',
  'LETHE_GPU_FAILED',
];

/** Codes whose meaning fixes the exit code when the error came from the addon or a thread and so carries none. */
function exitCodeOf(error: unknown): ExitCode {
  if (error instanceof LetheError) return error.exitCode;
  const code = errorCode(error);
  if (code === 'LETHE_TASK_ABORTED') return ExitCode.interrupted;
  if (code !== undefined && environmentCodes.includes(code)) return ExitCode.environment;
  if (code?.startsWith('LETHE_')) return ExitCode.usage;
  return ExitCode.taskFailed;
}

/** Prints an error for people (or as a document with --json) and sets the exit code; never calls exit, which would truncate pipes. */
export function reportError(thrown: unknown, json: boolean): void {
  const error = systemError(thrown) ?? thrown;
  const text = error instanceof Error ? error.message : String(error);
  if (json && !documentPrinted) {
    const { expected, received, action: advice } = error instanceof LetheError ? error : ({} as Partial<LetheError>);
    const code = errorCode(error) ?? 'LETHE_INTERNAL_ERROR';
    emitJson('error', { code, message: text, expected, received, action: advice, exitCode: exitCodeOf(error) });
  }
  say(`${pc.red('error')} ${text}`);
  if (!errorCode(error)?.startsWith('LETHE_') && error instanceof Error && error.stack) say(error.stack);
  process.exitCode = exitCodeOf(error);
}

/** Wraps a verb's action so that a thrown error becomes a message and an exit code. */
export function action<Arguments extends unknown[]>(run: (...args: Arguments) => Promise<void>): (...args: Arguments) => Promise<void> {
  return async (...args) => {
    documentPrinted = false;
    try {
      await run(...args);
    } catch (error) {
      const options = args.find((argument) => typeof argument === 'object' && argument !== null && 'json' in argument);
      reportError(error, options !== undefined);
    }
  };
}

export { Command };

/** @throws LETHE_OPTION_UNKNOWN (exit code 2) with the values there are */
export function oneOf<T extends string>(name: string, given: string, known: readonly T[]): T {
  const found = known.find((word) => word === given);
  if (found !== undefined) return found;
  throw new LetheError('LETHE_OPTION_UNKNOWN', `${name} has no such value`, {
    expected: known.join(' or '),
    received: JSON.stringify(given),
    action: didYouMean(given, known),
  });
}
