/** One task after another in this process; the engine uses all threads inside a task. A debugger works here. */
import type { Executor } from './executor.js';
import { performTask } from './perform.js';

export const runInline: Executor = async (tasks, context, { signal }, events) => {
  for (const task of tasks) {
    if (signal?.aborted) return;
    try {
      await performTask(task, {
        ...context,
        ...(signal ? { signal } : {}),
        onProgress: ({ done, total }) => {
          events.onProgress(task, total > 0 ? (done / total) * task.cost : 0);
        },
      });
      events.onDone(task);
    } catch (error) {
      if (signal?.aborted) return;
      events.onFailed(task, error);
    }
  }
};
