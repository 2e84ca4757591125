/** What an executor is: tasks of one stage in, one event a task out. execute.ts chooses one and knows the stages. */
import type { RunProgress } from './progress.js';
import type { StopSignal } from './signals.js';
import type { Task, TaskContext } from './task.js';

export const executorNames = ['inline', 'process'] as const;
export type ExecutorName = (typeof executorNames)[number];

export interface ExecuteOptions {
  executor: ExecutorName;
  /** Worker processes of the process executor. */
  workers: number;
  /** Starts one worker that serves this run (see worker.ts); the process executor needs it. */
  workerCommand?: { command: string; args: string[] };
  onProgress?: (progress: RunProgress) => void;
  /** A worker was asked to stop: the run is meant, whose `signal` may abort then. */
  onWorkerSignal?: (signal: StopSignal) => void;
  signal?: AbortSignal;
}

/** What an executor reports about one task. */
export interface TaskEvents {
  onProgress(task: Task, cost: number): void;
  onDone(task: Task): void;
  onFailed(task: Task, error: unknown): void;
}

/** Runs the tasks of one stage, each to onDone or onFailed; rejects only when the run as a whole cannot go on. */
export type Executor = (tasks: Task[], context: TaskContext, options: ExecuteOptions, events: TaskEvents) => Promise<void>;
