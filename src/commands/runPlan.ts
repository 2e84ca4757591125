/** Runs a plan to its report. */
import fs from 'node:fs';
import path from 'node:path';
import { checkForgetSets } from '../data/forgetSets.js';
import { ExitCode, LetheError } from '../errors.js';
import type { EngineChoice } from '../engines/index.js';
import { type RunOutcome, runStages } from '../jobs/execute.js';
import { statusOf } from '../jobs/estimate.js';
import type { ExecuteOptions, ExecutorName } from '../jobs/executor.js';
import { takeOver, type Watch } from '../jobs/reuse.js';
import type { Stage, TaskContext } from '../jobs/task.js';
import { collectReport, describeDiverged } from '../report/collect.js';
import { reportPage } from '../report/index.js';
import { chooseDevice } from '../native/device.js';
import { recordFailures } from '../store/folders/failures.js';
import { planDefaults } from '../jobs/planDefaults.js';
import { layout } from '../store/folders/layout.js';
import { leastTuningModels, tunesOnFew } from '../jobs/planCounts.js';
import { runningSession, startSession } from '../store/folders/provenance.js';
import type { RunFolder } from '../store/folders/run.js';
import type { Engine, Plan, ReportData } from '../types.js';
import { openReuse, type Reuse } from './reuse.js';
import { openSession, planSession } from './session.js';
import { startProgress, type Talk } from './talk.js';

export interface RunPlanOptions extends Partial<EngineChoice>, Talk {
  /** Default: runs/<name of the plan>. */
  out?: string;
  data?: string;
  /** Where relative paths of the plan count from; default: the working folder. */
  planFolder?: string;
  /** An earlier run, of another plan. */
  reuse?: string;
  /** Default: all allowed processors, inline. */
  threads?: number;
  /** Bytes that outputs of subset models may take while datamodels are fitted, beyond which they lie in a file; default: half of what is free. */
  memory?: number;
  executor?: ExecutorName;
  workers?: number;
  /** Starts a worker process of the run at `root` that uses so many processors; the process executor needs it. */
  workerCommand?: (root: string, threads: number) => { command: string; args: string[] };
  onWorkerSignal?: ExecuteOptions['onWorkerSignal'];
  /** For provenance: the words that asked for the run. */
  command?: string[];
}

export interface FinishedRun {
  root: string;
  report: ReportData;
  /** Path of the report page. */
  page: string;
  tasksRun: number;
  tasksSkipped: number;
  /** Taken over from an earlier run; of tasksSkipped. */
  tasksReused: number;
}

/**
 * Runs the stages of a plan in its run folder, or what is left of them, to the report.
 *
 * @example
 * const plan = await loadPlan('plans/quickstart.json');
 * const { report } = await runPlan(plan, { out: 'runs/from-code', note: console.error });
 * console.log(renderKlomTable(report));
 *
 * @throws LETHE_RUN_INTERRUPTED (exit code 75), LETHE_TASKS_FAILED (exit code 1; what failed is in failed.jsonl), LETHE_PLAN_CHANGED,
 *   LETHE_GPU_UNAVAILABLE (exit code 4)
 */
export async function runPlan(plan: Plan, given: RunPlanOptions = {}, onnx?: Uint8Array): Promise<FinishedRun> {
  const options = { engine: 'native' as const, threads: 0, executor: 'inline' as const, workers: 1, planFolder: path.resolve(), ...given };
  const note = options.note ?? (() => undefined);
  const root = path.resolve(options.out ?? path.join('runs', plan.name));
  if (options.engine === 'native') chooseDevice(options.device ?? 'cpu'); // before a folder is made that could not go on
  const session = await planSession(plan, options, options, onnx);
  const resolved = (name: string): boolean => fs.existsSync(path.join(root, layout.forgetSet(name)));
  await checkForgetSets(plan.forgetSets, { numTrain: session.dataset.numTrain, planFolder: options.planFolder }, resolved);
  const reuse = options.reuse === undefined ? undefined : await openReuse(options.reuse, session, options);
  const context = await openSession(root, session);
  const { dataset, engine } = session;
  note(`${plan.name}: ${dataset.description}; run folder ${root}`);
  if (tunesOnFew(plan)) {
    note(
      `${plan.name}: tuning.numModels ${plan.tuning.numModels}: fewer than ${leastTuningModels} originals rank settings by noise; ${planDefaults.tuning.numModels} are the default`,
    );
  }
  const tasksReused = reuse ? await takeOverAll(plan.name, context.run, reuse, options) : 0;
  if (reuse) note(`${plan.name}: ${tasksReused} tasks taken over from ${reuse.run.root}`);
  const { done, all } = await sayWhatIsThere(plan.name, root, session.stages, context, note);
  const page = path.join(root, layout.report(reportPage));
  // nothing is recorded where nothing is to be made: the folder may be one that one can only read
  if (done === all) {
    const report = await collectReport(context.run, plan, dataset, engine);
    return { root, report, page, tasksReused, tasksRun: 0, tasksSkipped: all };
  }
  const finishSession = await startSession(root, {
    command: options.command ?? [],
    seed: plan.seed,
    threads: options.threads,
    executor: options.executor,
    engine: engine.describe(),
    dataset: { name: dataset.name, description: dataset.description, sha256: dataset.sha256 },
  });
  const display = startProgress(options, plan.name, 'images');
  let outcome: RunOutcome;
  try {
    outcome = await runStages(session.stages, context, {
      executor: options.executor,
      workers: options.workers,
      ...(options.workerCommand ? { workerCommand: options.workerCommand(root, workerThreads(options.workers, engine)) } : {}),
      ...(options.signal ? { signal: options.signal } : {}),
      ...(options.onWorkerSignal ? { onWorkerSignal: options.onWorkerSignal } : {}),
      onProgress: (progress) => {
        display.update(progress.costDone, progress.costTotal, progress.stage, progress.rate);
      },
    });
  } catch (error) {
    await finishSession(options.signal?.aborted ? 'interrupted' : 'failed');
    throw error;
  } finally {
    display.stop();
  }
  await finishSession(outcome.failed.length > 0 ? 'failed' : 'done');
  if (outcome.failed.length > 0) {
    await recordFailures(root, outcome.failed);
    throw tasksFailed(outcome, root);
  }
  const report = await collectReport(context.run, plan, dataset, engine);
  for (const models of report.diverged ?? []) note(`${plan.name}: ${describeDiverged(models)}`);
  return { root, report, page, tasksReused, ...outcome };
}

async function takeOverAll(name: string, run: RunFolder, reuse: Reuse, talk: Talk): Promise<number> {
  const shown = async <T>(what: string, work: (watch: Watch) => Promise<T>): Promise<T> => {
    const display = startProgress(talk, `${name}: ${what}`, 'tasks');
    try {
      return await work({
        ...(talk.signal ? { signal: talk.signal } : {}),
        onProgress: (done, total) => {
          display.update(done, total);
        },
      });
    } finally {
      display.stop();
    }
  };
  const reusable = await shown(`looking at ${reuse.run.root}`, (watch) => reuse.reusable(run, watch));
  return shown('taking over', (watch) => takeOver(run, reuse.run, reusable, watch));
}

/** Tasks that are finished, and all. */
async function sayWhatIsThere(
  name: string,
  root: string,
  stages: Stage[],
  { run }: TaskContext,
  note: (line: string) => void,
): Promise<{ done: number; all: number }> {
  const other = await runningSession(root);
  // harmless, as content is deterministic and published atomically, but nobody wants to pay twice
  if (other) note(`${name}: process ${other.pid} works in this folder since ${other.startedAt}; both make the same files`);
  const statuses = await statusOf(run, stages);
  const count = (key: 'tasks' | 'tasksDone'): number => statuses.reduce((sum, status) => sum + status[key], 0);
  const [done, all] = [count('tasksDone'), count('tasks')];
  if (done > 0) note(done === all ? `${name}: all ${all} tasks are finished` : `${name}: resuming, ${done} of ${all} tasks are finished`);
  return { done, all };
}

/** The workers share the processors the engine would use alone. */
function workerThreads(workers: number, engine: Engine): number {
  return Math.max(1, Math.floor(Number(engine.describe()['threads']) / workers));
}

function tasksFailed(outcome: RunOutcome, root: string): LetheError {
  const first = outcome.failed[0]!;
  return new LetheError('LETHE_TASKS_FAILED', `${outcome.failed.length} of the tasks failed, the first: ${first.label}: ${first.message}`, {
    action: `All are listed in ${path.join(root, layout.failed)}. The same command tries them again.`,
    exitCode: ExitCode.taskFailed,
  });
}
