/** What two plans have in common: artefacts of an earlier run that a run of another plan need not make. */
import { sha256 } from '../store/files.js';
import { formatJson } from '../store/json.js';
import type { RunFolder } from '../store/run.js';
import type { Stage, Task } from './task.js';

export interface Reusable {
  task: Task;
  /** Artefact of the earlier run. */
  source: string;
}

/** Tasks of `stages` whose inputs are those of a task of the earlier run, `before`, that is finished there. */
export async function findReusable(stages: Stage[], before: { run: RunFolder; stages: Stage[] }): Promise<Reusable[]> {
  const sources = new Map<string, string>();
  for (const { inputs, artefacts } of tasksOf(before.stages)) if (inputs) sources.set(keyOf(inputs), artefacts[0]!);
  const found: Reusable[] = [];
  for (const task of tasksOf(stages)) {
    const source = task.inputs && sources.get(keyOf(task.inputs));
    if (source !== undefined && (await before.run.isDone(source))) found.push({ task, source });
  }
  return found;
}

/** Gives the run what it has not finished yet of these, until the signal aborts. Returns the number of tasks that were taken over. */
export async function takeOver(run: RunFolder, before: RunFolder, reusable: Reusable[], signal?: AbortSignal): Promise<number> {
  let taken = 0;
  for (const { task, source } of reusable) {
    if (signal?.aborted) break;
    const artefact = task.artefacts[0]!;
    if (!(await run.isDone(artefact)) && (await run.adopt(artefact, before, source))) taken++;
  }
  return taken;
}

function tasksOf(stages: Stage[]): Task[] {
  return stages.flatMap(({ tasks }) => tasks);
}

function keyOf(inputs: object): string {
  return sha256(formatJson(inputs));
}
