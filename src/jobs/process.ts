/** Tasks in worker processes: a worker that dies fails its task only, the task is tried once more in a fresh worker. */
import { type ChildProcess, spawn } from 'node:child_process';
import { ExitCode, LetheError } from '../errors.js';
import type { ExecuteOptions, Executor, TaskEvents } from './execute.js';
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
  const lanes = Math.min(options.workers, tasks.length);
  await Promise.all(Array.from({ length: lanes }, () => serveLane(queue, options, events)));
};

/** Keeps one worker busy, with a fresh process whenever one died. */
async function serveLane(queue: Queue, options: ExecuteOptions, events: TaskEvents): Promise<void> {
  while (queue.waiting.length > 0 && !options.signal?.aborted) {
    const worker = startWorker(options);
    try {
      await serveWorkerProcess(worker, queue, options, events);
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
    worker.once('error', reject);
    worker.once('exit', (code, signal) => {
      options.signal?.removeEventListener('abort', stop);
      if (!ready && !options.signal?.aborted && ++queue.stillborn > attempts) {
        reject(
          new LetheError('LETHE_WORKER_FAILED', 'worker processes end before they are ready', {
            received: `exit ${signal ?? String(code)}`,
            action: 'See the messages above; the inline executor shows the same error directly.',
            exitCode: ExitCode.environment,
          }),
        );
        return;
      }
      if (current && !options.signal?.aborted) retryOrFail(current, signal ?? `code ${String(code)}`, queue, events);
      resolve();
    });
  });
}

function retryOrFail(lost: { task: Task; attempt: number }, how: string, queue: Queue, events: TaskEvents): void {
  if (lost.attempt < attempts) queue.waiting.push({ task: lost.task, attempt: lost.attempt + 1 });
  else events.onFailed(lost.task, new WorkerError('LETHE_WORKER_DIED', `LETHE_WORKER_DIED: the worker ended (${how}) ${attempts} times.`));
}
