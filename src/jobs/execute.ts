/** Runs stages of tasks: what is done is skipped, what fails is recorded and does not stop its neighbours. */
import { errorCode, ExitCode, LetheError, systemError } from '../errors.js';
import type { FailedTask } from '../store/folders/failures.js';
import type { ExecuteOptions, Executor, ExecutorName } from './executor.js';
import { runInline } from './inline.js';
import { isDone } from './perform.js';
import { runInProcesses } from './process.js';
import { ProgressMeter } from './progress.js';
import type { Stage, Task, TaskContext } from './task.js';

export interface RunOutcome {
  tasksRun: number;
  tasksSkipped: number;
  failed: FailedTask[];
}

const executors: Record<ExecutorName, Executor> = { inline: runInline, process: runInProcesses };

/**
 * Stages in order; a stage with failed tasks is finished as far as it goes, and the run stops behind it.
 * @throws LETHE_RUN_INTERRUPTED (exit code 75) when the signal aborts: the same command resumes;
 *   LETHE_DISK_FULL (exit code 4) at once, as every other task would end the same way
 */
export async function runStages(stages: Stage[], context: TaskContext, options: ExecuteOptions): Promise<RunOutcome> {
  const all = stages.flatMap((stage) => stage.tasks);
  const meter = new ProgressMeter(
    all.reduce((sum, task) => sum + task.cost, 0),
    all.length,
    Date.now(),
  );
  const outcome: RunOutcome = { tasksRun: 0, tasksSkipped: 0, failed: [] };
  const full = new AbortController();
  const signal = AbortSignal.any([full.signal, ...(options.signal ? [options.signal] : [])]);
  for (const stage of stages) {
    const tell = (): void => options.onProgress?.(meter.read(stage.name, Date.now()));
    const pending: Task[] = [];
    for (const task of stage.tasks) {
      if (await isDone(task, context)) {
        outcome.tasksSkipped++;
        meter.skip(task.cost);
      } else pending.push(task);
    }
    tell();
    if (pending.length === 0) {
      await stage.end?.(context);
      continue;
    }
    if (options.executor === 'process') {
      await stage.share?.({ ...context, signal }).catch((error: unknown) => {
        throw options.signal?.aborted ? interrupted() : error;
      });
    }
    await executors[options.executor](
      pending,
      context,
      { ...options, signal },
      {
        onProgress(task, cost) {
          meter.update(task.id, Math.min(cost, task.cost));
          tell();
        },
        onDone(task) {
          outcome.tasksRun++;
          meter.finish(task.id, task.cost);
          tell();
        },
        onFailed(task, error) {
          meter.drop(task.id);
          if (errorCode(error) === 'LETHE_DISK_FULL') full.abort(error);
          outcome.failed.push(describeFailure(task, error));
        },
      },
    );
    if (options.signal?.aborted) throw interrupted();
    if (full.signal.aborted) throw stoppedByDisk(full.signal.reason);
    if (outcome.failed.length > 0) break;
    await stage.end?.(context);
  }
  return outcome;
}

export function interrupted(): LetheError {
  return new LetheError('LETHE_RUN_INTERRUPTED', 'the run was interrupted', {
    action: 'What is finished is kept: the same command resumes.',
    exitCode: ExitCode.interrupted,
  });
}

function stoppedByDisk(cause: unknown): LetheError {
  return new LetheError('LETHE_DISK_FULL', 'the run stopped because the disk is full', {
    received: cause instanceof Error ? cause.message : String(cause),
    action: 'Finished work is kept: free some space, then run the same command again.',
    exitCode: ExitCode.environment,
    cause,
  });
}

function describeFailure(task: Task, thrown: unknown): FailedTask {
  const error = systemError(thrown) ?? thrown;
  return {
    task: task.id,
    label: task.label,
    code: errorCode(error) ?? 'LETHE_INTERNAL_ERROR',
    message: error instanceof Error ? error.message : String(error),
  };
}
