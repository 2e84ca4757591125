/**
 * Signals as requests to stop. The command line answers them before it loads anything else: until then SIGUSR1 opens Node's inspector, and
 * the others end the process without a word.
 */
import fs from 'node:fs';
import inspector from 'node:inspector';
import os from 'node:os';
import path from 'node:path';
import { ExitCode } from '../errors.js';
import { type StopSignal, stopSignals } from '../jobs/signals.js';
import type { WorkerAnswer } from '../jobs/worker.js';

/** Schedulers and terminals send one request several times: to the group and to the process. */
const sameRequestMs = 500;

let requestedAt: number | undefined;
let stop: (() => void) | undefined;

/** Called at most once: when a stop is asked for, or at once where it was. */
export function onStopRequest(listener: () => void): void {
  stop = listener;
  if (requestedAt !== undefined) listener();
}

/** A stop that another process was asked for on behalf of this one. It never counts as the second signal, which leaves at once. */
export function requestStop(signal: StopSignal): void {
  if (requestedAt !== undefined || ignored.has(signal)) return;
  requestedAt = performance.now();
  if (stop) stop();
  else leave('stopping: nothing was begun\n');
}

/** Installs the answers to all stop signals of this process. */
export function answerSignals(): void {
  for (const signal of stopSignals) process.on(signal, isWorker() ? tellParent : answer);
  closeInspector();
  setImmediate(closeInspector);
}

function answer(signal: StopSignal): void {
  // the kernel repeats SIGXCPU every second
  const again = requestedAt !== undefined && signal !== 'SIGXCPU' && !ignored.has(signal);
  if (!again) requestStop(signal);
  else if (performance.now() - requestedAt! > sameRequestMs) leave('');
}

function leave(words: string): never {
  if (words !== '') process.stderr.write(words);
  process.exit(ExitCode.interrupted);
}

function isWorker(): boolean {
  return process.argv[2] === 'worker' && process.send !== undefined;
}

/** The run stops as a whole: its parent ends the workers. */
function tellParent(signal: StopSignal): void {
  if (process.connected) process.send!({ kind: 'signal', signal } satisfies WorkerAnswer);
}

/** A SIGUSR1 that came while Node itself started has opened the inspector. */
function closeInspector(): void {
  const wanted = [...process.execArgv, process.env['NODE_OPTIONS'] ?? ''].some((option) => option.includes('--inspect'));
  if (wanted || inspector.url() === undefined) return;
  inspector.close();
  if (isWorker()) tellParent('SIGUSR1');
  else answer('SIGUSR1');
}

const ignored = ignoredAtStart();

/**
 * Signals that whoever started this process has it ignore. Node forgets that before any script runs: a launcher may tell by LETHE_SIGIGN (the
 * SigIgn of /proc/self/status), and nohup is known by what it leaves behind.
 */
function ignoredAtStart(): Set<StopSignal> {
  const mask = BigInt(/^[0-9a-f]{1,16}$/i.test(process.env['LETHE_SIGIGN'] ?? '') ? `0x${process.env['LETHE_SIGIGN']!}` : 0);
  const found = stopSignals.filter((signal) => ((mask >> BigInt(os.constants.signals[signal] - 1)) & 1n) === 1n);
  return new Set([...found, ...(startedByNohup() ? (['SIGHUP'] as const) : [])]);
}

/** Shells tell a command its own path in "_"; a terminal as stdin becomes a /dev/null that cannot be read. */
function startedByNohup(): boolean {
  if (path.basename(process.env['_'] ?? '') === 'nohup') return true;
  try {
    const [, flags] = /^flags:\s*([0-7]+)/m.exec(fs.readFileSync('/proc/self/fdinfo/0', 'utf8')) ?? [];
    const writeOnly = (Number.parseInt(flags ?? '0', 8) & (fs.constants.O_WRONLY | fs.constants.O_RDWR)) === fs.constants.O_WRONLY;
    return writeOnly && fs.readlinkSync('/proc/self/fd/0') === '/dev/null';
  } catch {
    return false;
  }
}
