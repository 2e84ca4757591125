/** The worker side of the process executor: takes task names over the process channel, answers with progress and results. */
import { errorCode, systemError } from '../errors.js';
import { performTask } from './perform.js';
import type { StopSignal } from './signals.js';
import type { Stage, TaskContext } from './task.js';

/** Parent to worker. */
export interface WorkerOrder {
  task: string;
}

/** Worker to parent. */
export type WorkerAnswer =
  | { kind: 'ready' }
  /** The worker was asked to stop: the run is meant. */
  | { kind: 'signal'; signal: StopSignal }
  | { kind: 'progress'; task: string; cost: number }
  | { kind: 'done'; task: string }
  | { kind: 'failed'; task: string; code: string; message: string };

const progressEveryMs = 500;

/** Serves orders until the parent closes the channel; a task at work then is aborted, as nobody waits for it any more. */
export async function serveWorker(stages: Stage[], context: TaskContext): Promise<void> {
  const tasks = new Map(stages.flatMap((stage) => stage.tasks.map((task) => [task.id, task] as const)));
  const answer = (message: WorkerAnswer): void => {
    if (process.connected) process.send!(message);
  };
  const orphaned = new AbortController();
  process.on('message', (order: WorkerOrder) => {
    const task = tasks.get(order.task);
    if (!task) {
      answer({
        kind: 'failed',
        task: order.task,
        code: 'LETHE_TASK_UNKNOWN',
        message: `LETHE_TASK_UNKNOWN: no task ${order.task} in this plan.`,
      });
      return;
    }
    let told = 0;
    const onProgress = ({ done, total }: { done: number; total: number }): void => {
      if (Date.now() - told < progressEveryMs) return;
      told = Date.now();
      answer({ kind: 'progress', task: task.id, cost: total > 0 ? (done / total) * task.cost : 0 });
    };
    performTask(task, { ...context, onProgress, signal: orphaned.signal }).then(
      () => {
        answer({ kind: 'done', task: task.id });
      },
      (thrown: unknown) => {
        const error = systemError(thrown) ?? thrown;
        const message = error instanceof Error ? error.message : String(error);
        answer({ kind: 'failed', task: task.id, code: errorCode(error) ?? 'LETHE_INTERNAL_ERROR', message });
      },
    );
  });
  answer({ kind: 'ready' });
  await new Promise<void>((resolve) => {
    process.once('disconnect', resolve);
  });
  orphaned.abort();
}
