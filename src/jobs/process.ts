/** Tasks in worker processes: a worker that dies fails its task only, the task is tried once more in a fresh worker. */
import { type ChildProcess, spawn } from 'node:child_process';
import { ExitCode, LetheError } from '../errors.js';
import type { ExecuteOptions, Executor, TaskEvents } from './executor.js';
import { warn } from '../store/disk/warnings.js';
import { isStopSignal } from './signals.js';
import type { Task } from './task.js';
import type { WorkerAnswer, WorkerOrder } from './worker.js';

const attempts = 2;

/** An error that crossed the process border. */
class WorkerError extends Error {
  constructor(
    readonly code: string,
    message: string,
  ) {
    super(message);
  }
}

interface Queue {
  waiting: { task: Task; attempt: number }[];
  /** Workers in a row that ended before they were ready: the command itself is broken. */
  stillborn: number;
}

export const runInProcesses: Executor = async (tasks, _context, options, events) => {
  const queue: Queue = { waiting: tasks.map((task) => ({ task, attempt: 1 })), stillborn: 0 };
  const lanes = Math.min(Math.max(1, options.workers), tasks.length);
  // when one lane finds the command broken, the others still finish the task they are at: no worker outlives this call
  const ends = await Promise.allSettled(Array.from({ length: lanes }, () => serveLane(queue, options, events)));
  const broken = ends.find((end) => end.status === 'rejected');
  if (broken) throw broken.reason;
};

/** Keeps one worker busy, with a fresh process whenever one died. */
async function serveLane(queue: Queue, options: ExecuteOptions, events: TaskEvents): Promise<void> {
  while (queue.waiting.length > 0 && !options.signal?.aborted) {
    const worker = startWorker(options);
    try {
      await serveWorkerProcess(worker, queue, options, events);
    } catch (error) {
      queue.waiting.length = 0;
      throw error;
    } finally {
      if (worker.connected) worker.disconnect();
    }
  }
}

function startWorker({ workerCommand }: ExecuteOptions): ChildProcess {
  if (!workerCommand) {
    throw new LetheError('LETHE_EXECUTOR_INVALID', 'the process executor needs a worker command', {
      action: 'Give options.workerCommand, or use the inline executor.',
    });
  }
  return spawn(workerCommand.command, workerCommand.args, { stdio: ['ignore', 'ignore', 'inherit', 'ipc'] });
}

function serveWorkerProcess(worker: ChildProcess, queue: Queue, options: ExecuteOptions, events: TaskEvents): Promise<void> {
  return new Promise((resolve, reject) => {
    let current: { task: Task; attempt: number } | undefined;
    let ready = false;
    const stop = (): void => {
      worker.kill('SIGKILL');
    };
    const next = (): void => {
      current = options.signal?.aborted ? undefined : queue.waiting.shift();
      if (current) worker.send({ task: current.task.id } satisfies WorkerOrder);
      else worker.disconnect();
    };
    options.signal?.addEventListener('abort', stop, { once: true });
    worker.on('message', (answer: WorkerAnswer) => {
      if (answer.kind === 'ready') {
        ready = true;
        queue.stillborn = 0;
        next();
      } else if (answer.kind === 'signal') {
        options.onWorkerSignal?.(answer.signal);
      } else if (current?.task.id === answer.task) {
        if (answer.kind === 'progress') {
          events.onProgress(current.task, answer.cost);
          return;
        }
        if (answer.kind === 'done') events.onDone(current.task);
        else events.onFailed(current.task, new WorkerError(answer.code, answer.message));
        next();
      }
    });
    worker.on('error', (error) => {
      // an order that found the channel broken: the worker is lost, and its exit settles its task
      if (worker.pid !== undefined) {
        stop();
        return;
      }
      options.signal?.removeEventListener('abort', stop);
      reject(workerFailed('worker processes cannot be started', error.message));
    });
    const settle = (how: string): void => {
      if (how === 'SIGKILL' && !options.signal?.aborted)
        warn(`a worker was ended by SIGKILL, another one takes its place. ${memoryAdvice}`);
      options.signal?.removeEventListener('abort', stop);
      if (!ready && !options.signal?.aborted && ++queue.stillborn > attempts) {
        reject(workerFailed('worker processes end before they are ready', how));
        return;
      }
      if (current && !options.signal?.aborted) retryOrFail(current, how, queue, events);
      resolve();
    };
    worker.once('exit', (code, signal) => {
      const how = signal ?? `code ${String(code)}`;
      if (isStopSignal(signal)) options.onWorkerSignal?.(signal); // before it could answer itself
      // the last answers of a worker may still be in the channel when it has ended
      if (worker.connected) worker.once('disconnect', settle.bind(undefined, how));
      else settle(how);
    });
  });
}

function workerFailed(summary: string, received: string): LetheError {
  return new LetheError('LETHE_WORKER_FAILED', summary, {
    received,
    action: received === 'SIGKILL' ? memoryAdvice : 'See the messages above; the inline executor shows the same error directly.',
    exitCode: ExitCode.environment,
  });
}

const memoryAdvice =
  'The system ends processes so when memory is short (see dmesg, or the limit of the job): use fewer --workers, or allow more memory.';

function retryOrFail(lost: { task: Task; attempt: number }, how: string, queue: Queue, events: TaskEvents): void {
  if (lost.attempt < attempts) {
    queue.waiting.push({ task: lost.task, attempt: lost.attempt + 1 });
    return;
  }
  const { code, message } = new LetheError('LETHE_WORKER_DIED', `the worker ended ${attempts} times`, {
    received: how,
    ...(how === 'SIGKILL' ? { action: memoryAdvice } : {}),
  });
  events.onFailed(lost.task, new WorkerError(code, message));
}
