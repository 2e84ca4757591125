/** Opens what a plan needs: data set, engine, stages, run folder. Shared by the commands that work on runs. */
import { loadDataset, resolveDataDirectory } from '../data/registry.js';
import { choiceOf, createEngine, type EngineChoice, engineIdentity } from '../engines/index.js';
import type { Stage, TaskContext } from '../jobs/task.js';
import { expandStages, openRun, planNet, planStages } from '../pipeline.js';
import { readIdentity } from '../store/folders/identity.js';
import { layout } from '../store/folders/layout.js';
import { requireIdentity, type RunFolder } from '../store/folders/run.js';
import { readFacts } from '../store/folders/runFacts.js';
import type { Dataset, DatasetFacts, Engine, NetSpec, Plan } from '../types.js';
import type { Note } from './talk.js';

export interface SessionOptions {
  data?: string;
  threads: number;
  /** See TaskContext. */
  memory?: number;
  /** Where relative paths of the plan count from; absent where the run has resolved them. */
  planFolder?: string;
  note?: Note;
}

/** The engine of a choice; what auto chose is said. */
export function engineOf(choice: EngineChoice, note?: Note): Engine {
  const engine = createEngine(choice);
  if (choice.device === 'auto') note?.(`--device auto: ${engine.describe()['device']}`);
  return engine;
}

export interface Session {
  plan: Plan;
  dataset: Dataset;
  engine: Engine;
  net: NetSpec;
  /** Of a plan whose network is a file. */
  onnx?: Uint8Array;
  stages: Stage[];
  /** For tasks. */
  resources: Pick<TaskContext, 'threads' | 'device' | 'memory'>;
  planFolder?: string;
}

/** Loads the data set and expands the plan; touches no run folder, so that --dry-run can use it. */
export async function planSession(
  plan: Plan,
  choice: EngineChoice,
  { data, threads, memory, planFolder, note }: SessionOptions,
  onnx?: Uint8Array,
): Promise<Session> {
  const directory = resolveDataDirectory(data);
  const dataset = await loadDataset({ ...plan.data }, { ...(directory === undefined ? {} : { directory }), ...(note ? { note } : {}) });
  const engine = engineOf({ ...choice, threads }, note);
  const net = planNet(plan, dataset, onnx, note);
  const stages = planStages(plan, dataset, engine, net);
  const { engine: name, device: used } = engine.describe();
  // ONNX Runtime may have a GPU that the addon has none for
  const device = name === 'native' && used === 'cuda' ? used : 'cpu';
  const resources: Session['resources'] = { threads, device, ...(memory === undefined ? {} : { memory }) };
  return { plan, dataset, engine, net, ...(onnx ? { onnx } : {}), stages, resources, ...(planFolder === undefined ? {} : { planFolder }) };
}

/** The context tasks run in. The run folder is made or, when it is there, must be of the same plan, data, engine and instruction set. */
export async function openSession(
  root: string,
  { plan, dataset, engine, net, onnx, resources, planFolder }: Session,
): Promise<TaskContext> {
  const run = await openRun(root, { plan, dataset, engine, net, ...(onnx ? { onnx } : {}) });
  return { plan, run, dataset, engine, net, ...resources, ...(planFolder === undefined ? {} : { planFolder }) };
}

/** A run folder for verbs that only read it. */
export interface RunView {
  run: RunFolder;
  plan: Plan;
  dataset: DatasetFacts;
  engine: Pick<Engine, 'describe'>;
  stages: Stage[];
}

/**
 * Opens a run that exists as it was made: neither its data nor its engine need to be here. The data set of a run of an earlier version,
 * whose folder does not hold its facts, is loaded; nothing is written.
 *
 * @example
 * const { plan, dataset } = await viewRun('runs/quickstart');
 * console.log(`${plan.name}: ${dataset.numTrain} train examples, ${plan.subsetModels.count} subset models`);
 *
 * @throws LETHE_RUN_MISSING (exit code 2), LETHE_ARTEFACT_DAMAGED (3)
 */
export async function viewRun(root: string, { data, note }: Pick<SessionOptions, 'data' | 'note'> = {}): Promise<RunView> {
  const run = await openRun(root);
  const { plan } = run;
  const facts = await readFacts(run);
  if (facts) {
    const { dataset, engine, numParameters } = facts;
    return { run, plan, dataset, engine: { describe: () => engine }, stages: expandStages(plan, dataset, numParameters) };
  }
  note?.(`${run.root} does not say what its data were, as runs of earlier versions: loading them`);
  const { choice, onnx } = await runEngine(run);
  const options = { threads: 0, ...(data === undefined ? {} : { data }), ...(note ? { note } : {}) };
  const { dataset, engine, stages } = await planSession(plan, choice, options, onnx);
  await requireIdentity(run, { dataset: dataset.sha256, ...engineIdentity(engine) });
  return { run, plan, dataset, engine, stages };
}

/** The engine that made a run, or the default one, and the ONNX file of a plan that names one. */
export async function runEngine(run: RunFolder): Promise<{ choice: EngineChoice; onnx?: Uint8Array }> {
  const choice = (await run.isDone(layout.identity)) ? choiceOf((await readIdentity(run)).facts) : { engine: 'native' as const };
  return { choice, ...('file' in run.plan.net ? { onnx: await run.read(layout.net) } : {}) };
}

/** Opens a run that exists, with its own plan, data and engine. */
export async function reopenSession(root: string, options: SessionOptions): Promise<{ session: Session; context: TaskContext }> {
  const run = await openRun(root);
  const { choice, onnx } = await runEngine(run);
  const session = await planSession(run.plan, choice, options, onnx);
  return { session, context: await openSession(root, session) };
}
