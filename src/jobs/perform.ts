/** One task, in whatever process it runs. */
import { ExitCode, LetheError } from '../errors.js';
import { requireSpace } from '../store/disk/publish.js';
import type { Task, TaskContext } from './task.js';

/** True when every artefact the task announces is there and whole. */
export async function isDone(task: Task, context: TaskContext): Promise<boolean> {
  for (const artefact of task.artefacts) if (!(await context.run.isDone(artefact))) return false;
  return true;
}

/** Makes the artefacts of one task and publishes them, unless another command on the same run folder did so meanwhile. */
export async function performTask(task: Task, context: TaskContext): Promise<void> {
  if (await isDone(task, context)) return;
  await requireSpace(context.run.root, task.label, task.bytes);
  const artefacts = await task.produce(context);
  const made = artefacts.map((artefact) => artefact.path);
  if (!task.artefacts.every((artefact) => made.includes(artefact))) {
    throw new LetheError('LETHE_TASK_ARTEFACTS', `task ${task.id} did not make what it announced`, {
      expected: task.artefacts.join(', '),
      received: made.join(', '),
      exitCode: ExitCode.taskFailed,
    });
  }
  await context.run.publish(artefacts);
}
