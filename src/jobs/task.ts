/** Units of work: a plan expands to stages of tasks, a task produces artefacts, an artefact is done when its manifest verifies. */
import type { Dataset, Engine, NetSpec, Plan, RunOptions } from '../types.js';
import type { Artefact } from '../store/folders/artefacts.js';
import type { RunFolder } from '../store/folders/run.js';

export type { Artefact };

export interface TaskContext extends RunOptions {
  plan: Plan;
  run: RunFolder;
  dataset: Dataset;
  engine: Engine;
  net: NetSpec;
  /** Where datamodels are fitted and scores computed; absent: cpu. */
  device?: 'cpu' | 'cuda';
  /** Bytes that outputs may take in memory while datamodels are fitted; absent: half of what is free. */
  memory?: number;
  /** Of the plan: relative paths in it count from there. Absent: the current folder. */
  planFolder?: string;
}

export interface Task {
  /** Unique in the plan and stable: what a worker process is told to do. */
  id: string;
  /** For people: "subset models 50-99". */
  label: string;
  /** Artefact paths that exist once the task is done; others, which depend on the data, it may publish before these. */
  artefacts: string[];
  /** Estimated gradient images, for progress and time left. */
  cost: number;
  /** Models trained and bytes written, for --dry-run. */
  models: number;
  bytes: number;
  /**
   * All that decides the bytes of the one artefact beside the data and the engine, its place not included: a task of another plan with
   * equal inputs makes the same. Absent: never taken over from another run.
   */
  inputs?: object;
  /** Deterministic in (plan, data): the same bytes in any executor. onProgress reports (done, total) in gradient images. */
  produce(context: TaskContext): Promise<Artefact[]>;
}

/** Tasks of a stage are independent of each other and need only artefacts of earlier stages. */
export interface Stage {
  name: string;
  tasks: Task[];
  /** Makes, before tasks go to other processes, what each of these would make for itself. */
  share?(context: TaskContext): Promise<void>;
  /** Once all tasks are done, in this command or an earlier one. */
  end?(context: TaskContext): Promise<void>;
}
