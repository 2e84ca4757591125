/** What a plan will take: models, files, bytes and cost per stage. */
import type { RunFolder } from '../store/folders/run.js';
import type { Stage } from './task.js';

export interface StageEstimate {
  stage: string;
  tasks: number;
  models: number;
  /** Artefacts and their manifests. */
  files: number;
  bytes: number;
  /** Gradient images, or what costs as much. */
  cost: number;
}

export function estimateStages(stages: Stage[]): StageEstimate[] {
  const sum = (stage: Stage, key: 'models' | 'bytes' | 'cost'): number => stage.tasks.reduce((total, task) => total + task[key], 0);
  return stages.map((stage) => ({
    stage: stage.name,
    tasks: stage.tasks.length,
    models: sum(stage, 'models'),
    files: 2 * stage.tasks.reduce((total, task) => total + task.artefacts.length, 0),
    bytes: sum(stage, 'bytes'),
    cost: sum(stage, 'cost'),
  }));
}

export interface StageStatus {
  stage: string;
  tasksDone: number;
  tasks: number;
  costDone: number;
  cost: number;
}

/** Finished tasks of every stage, by verified manifests. */
export async function statusOf(run: RunFolder, stages: Stage[]): Promise<StageStatus[]> {
  const statuses: StageStatus[] = [];
  for (const stage of stages) {
    const status = { stage: stage.name, tasksDone: 0, tasks: stage.tasks.length, costDone: 0, cost: 0 };
    for (const task of stage.tasks) {
      status.cost += task.cost;
      const done = await Promise.all(task.artefacts.map((artefact) => run.isDone(artefact)));
      if (!done.every(Boolean)) continue;
      status.tasksDone++;
      status.costDone += task.cost;
    }
    statuses.push(status);
  }
  return statuses;
}
