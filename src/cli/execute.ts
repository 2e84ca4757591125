/** Runs a plan to its report; shared by run and quickstart. */
import fs from 'node:fs';
import path from 'node:path';
import { checkForgetSets } from '../data/forgetSets.js';
import { ExitCode, LetheError } from '../errors.js';
import { type RunOutcome, runStages } from '../jobs/execute.js';
import { statusOf } from '../jobs/estimate.js';
import type { ExecutorName } from '../jobs/executor.js';
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
import type { Plan, ReportData } from '../types.js';
import { createProgress, interruptSignal, say } from './common.js';
import type { EngineFlags } from './engine.js';
import { openReuse, type Reuse } from './reuse.js';
import { openSession, planSession } from './session.js';
import { requestStop } from './signals.js';

export interface ExecutePlanOptions extends EngineFlags {
  out?: string;
  data?: string;
  /** Where relative paths of the plan count from. */
  planFolder: string;
  /** An earlier run, of another plan. */
  reuse?: string;
  threads: number;
  executor: ExecutorName;
  workers: number;
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
 * @throws LETHE_RUN_INTERRUPTED (exit code 75), LETHE_TASKS_FAILED (exit code 1; what failed is in failed.jsonl), LETHE_PLAN_CHANGED,
 *   LETHE_GPU_UNAVAILABLE (exit code 4)
 */
export async function executePlan(plan: Plan, options: ExecutePlanOptions, onnx?: Uint8Array): Promise<FinishedRun> {
  const root = path.resolve(options.out ?? path.join('runs', plan.name));
  const signal = interruptSignal({ resumes: true });
  if (options.engine === 'native') chooseDevice(options.device); // before a folder is made that could not go on
  const session = await planSession(plan, options, options, onnx);
  const resolved = (name: string): boolean => fs.existsSync(path.join(root, layout.forgetSet(name)));
  await checkForgetSets(plan.forgetSets, { numTrain: session.dataset.numTrain, planFolder: options.planFolder }, resolved);
  const reuse = options.reuse === undefined ? undefined : await openReuse(options.reuse, session, options.data);
  const context = await openSession(root, session);
  const { dataset, engine } = session;
  say(`${plan.name}: ${dataset.description}; run folder ${root}`);
  if (tunesOnFew(plan)) {
    say(
      `${plan.name}: tuning.numModels ${plan.tuning.numModels}: fewer than ${leastTuningModels} originals rank settings by noise; ${planDefaults.tuning.numModels} are the default`,
    );
  }
  const tasksReused = reuse ? await takeOverAll(plan.name, context.run, reuse, signal) : 0;
  if (reuse) say(`${plan.name}: ${tasksReused} tasks taken over from ${reuse.run.root}`);
  const { done, all } = await sayWhatIsThere(plan.name, root, session.stages, context);
  const page = path.join(root, layout.report(reportPage));
  // nothing is recorded where nothing is to be made: the folder may be one that one can only read
  if (done === all) {
    const report = await collectReport(context.run, plan, dataset, engine);
    return { root, report, page, tasksReused, tasksRun: 0, tasksSkipped: all };
  }
  const finishSession = await startSession(root, {
    command: process.argv.slice(2),
    seed: plan.seed,
    threads: options.threads,
    executor: options.executor,
    engine: engine.describe(),
    dataset: { name: dataset.name, description: dataset.description, sha256: dataset.sha256 },
  });
  const display = createProgress(plan.name, 'images');
  let outcome: RunOutcome;
  try {
    outcome = await runStages(session.stages, context, {
      executor: options.executor,
      workers: options.workers,
      workerCommand: workerCommand(root, options, Number(engine.describe()['threads'])),
      signal,
      onWorkerSignal: requestStop,
      onProgress: (progress) => {
        display.update(progress.costDone, progress.costTotal, progress.stage, progress.rate);
      },
    });
  } catch (error) {
    await finishSession(signal.aborted ? 'interrupted' : 'failed');
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
  for (const models of report.diverged ?? []) say(`${plan.name}: ${describeDiverged(models)}`);
  return { root, report, page, tasksReused, ...outcome };
}

async function takeOverAll(name: string, run: RunFolder, reuse: Reuse, signal: AbortSignal): Promise<number> {
  const shown = async <T>(what: string, work: (watch: Watch) => Promise<T>): Promise<T> => {
    const display = createProgress(`${name}: ${what}`, 'tasks');
    try {
      return await work({
        signal,
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
async function sayWhatIsThere(name: string, root: string, stages: Stage[], { run }: TaskContext): Promise<{ done: number; all: number }> {
  const other = await runningSession(root);
  // harmless, as content is deterministic and published atomically, but nobody wants to pay twice
  if (other) say(`${name}: process ${other.pid} works in this folder since ${other.startedAt}; both make the same files`);
  const statuses = await statusOf(run, stages);
  const count = (key: 'tasks' | 'tasksDone'): number => statuses.reduce((sum, status) => sum + status[key], 0);
  const [done, all] = [count('tasksDone'), count('tasks')];
  if (done > 0) say(done === all ? `${name}: all ${all} tasks are finished` : `${name}: resuming, ${done} of ${all} tasks are finished`);
  return { done, all };
}

/** The workers share the processors the engine would use alone. */
function workerCommand(root: string, options: ExecutePlanOptions, processors: number): { command: string; args: string[] } {
  const threads = Math.max(1, Math.floor(processors / options.workers));
  const args = [...process.execArgv, process.argv[1]!, 'worker', root, '--threads', String(threads), '--plan-folder', options.planFolder];
  return { command: process.execPath, args: options.data === undefined ? args : [...args, '--data', options.data] };
}

function tasksFailed(outcome: RunOutcome, root: string): LetheError {
  const first = outcome.failed[0]!;
  return new LetheError('LETHE_TASKS_FAILED', `${outcome.failed.length} of the tasks failed, the first: ${first.label}: ${first.message}`, {
    action: `All are listed in ${path.join(root, layout.failed)}. The same command tries them again.`,
    exitCode: ExitCode.taskFailed,
  });
}
