/** What two plans have in common: artefacts of an earlier run that a run of another plan need not make. */
import { sha256 } from '../store/disk/files.js';
import { formatJson } from '../store/disk/json.js';
import type { RunFolder } from '../store/folders/run.js';
import { interrupted } from './execute.js';
import type { Stage, Task } from './task.js';

export interface Reusable {
  task: Task;
  /** Artefact of the earlier run. */
  source: string;
}

/** Artefacts are hashed, and copied between disks: hours at the paper's scale. */
export interface Watch {
  signal?: AbortSignal;
  /** In tasks. */
  onProgress?: (done: number, total: number) => void;
}

/** Tasks of `stages` whose inputs are those of a task of the earlier run, `before`, that is finished there. @throws LETHE_RUN_INTERRUPTED (exit code 75) */
export async function findReusable(stages: Stage[], before: { run: RunFolder; stages: Stage[] }, watch: Watch = {}): Promise<Reusable[]> {
  const sources = new Map<string, string>();
  for (const { inputs, artefacts } of tasksOf(before.stages)) if (inputs) sources.set(keyOf(inputs), artefacts[0]!);
  const found: Reusable[] = [];
  for (const task of watched(tasksOf(stages), watch)) {
    const source = task.inputs && sources.get(keyOf(task.inputs));
    if (source !== undefined && (await before.run.isDone(source))) found.push({ task, source });
  }
  return found;
}

/**
 * Gives the run what it has not finished yet of these. Returns the number of tasks that were taken over.
 * @throws LETHE_RUN_INTERRUPTED (exit code 75): what was taken over is kept
 */
export async function takeOver(run: RunFolder, before: RunFolder, reusable: Reusable[], watch: Watch = {}): Promise<number> {
  let taken = 0;
  for (const { task, source } of watched(reusable, watch)) {
    const artefact = task.artefacts[0]!;
    if (!(await run.isDone(artefact)) && (await run.adopt(artefact, before, source))) taken++;
  }
  return taken;
}

function* watched<T>(items: readonly T[], { signal, onProgress }: Watch): Generator<T> {
  for (const [done, item] of items.entries()) {
    if (signal?.aborted) throw interrupted();
    onProgress?.(done, items.length);
    yield item;
  }
}

function tasksOf(stages: Stage[]): Task[] {
  return stages.flatMap(({ tasks }) => tasks);
}

function keyOf(inputs: object): string {
  return sha256(formatJson(inputs));
}
