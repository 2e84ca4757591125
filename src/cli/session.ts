/** Opens what a plan needs: data set, engine, stages, run folder. Shared by the verbs that work on runs. */
import path from 'node:path';
import { loadDataset, resolveDataDirectory } from '../data/registry.js';
import { NativeEngine } from '../engines/native.js';
import type { Stage, TaskContext } from '../jobs/task.js';
import { planNet, planStages } from '../pipeline.js';
import { decodeJson } from '../store/json.js';
import { layout } from '../store/layout.js';
import { openRun, type RunFolder } from '../store/run.js';
import type { Dataset, Engine, Plan } from '../types.js';
import { type PrecisionOption, say } from './common.js';

export interface SessionOptions {
  data?: string;
  threads: number;
  /** Absent: 'auto'. */
  precision?: PrecisionOption;
}

export interface Session {
  plan: Plan;
  dataset: Dataset;
  engine: Engine;
  stages: Stage[];
  threads: number;
}

/** Loads the data set and expands the plan; touches no run folder, so that --dry-run can use it. */
export async function planSession(plan: Plan, { data, threads, precision }: SessionOptions): Promise<Session> {
  const directory = resolveDataDirectory(data);
  const dataset = await loadDataset({ ...plan.data }, { ...(directory === undefined ? {} : { directory }), note: say });
  const engine = new NativeEngine({ threads, ...(precision === undefined ? {} : { precision }) });
  return { plan, dataset, engine, stages: planStages(plan, dataset, engine), threads };
}

/** The context tasks run in. The run folder is made or, when it is there, must be of the same plan, data, engine and instruction set. */
export async function openSession(root: string, { plan, dataset, engine, threads }: Session): Promise<TaskContext> {
  const { engine: name, isa, precision } = engine.describe();
  const identity = { dataset: dataset.sha256, engine: `${name} ${precision} ${isa}` };
  const run = await openRun(path.resolve(root), { plan, identity });
  return { plan, run, dataset, engine, net: planNet(plan, dataset), threads };
}

/** Opens a run that exists, with its own plan and precision. */
export async function reopenSession(root: string, options: SessionOptions): Promise<{ session: Session; context: TaskContext }> {
  const run = await openRun(path.resolve(root));
  const session = await planSession(run.plan, { ...options, precision: await precisionOf(run) });
  return { session, context: await openSession(root, session) };
}

async function precisionOf(run: RunFolder): Promise<PrecisionOption> {
  if (!(await run.isDone(layout.identity))) return 'auto';
  const { engine = '' } = decodeJson(await run.read(layout.identity), layout.identity) as { engine?: string };
  return engine.split(' ')[1] === 'bf16' ? 'bf16' : 'fp32';
}
