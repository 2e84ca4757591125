/** lethe run PLAN, status RUN, verify RUN, report RUN, and the worker process of the process executor. */
import path from 'node:path';
import { Option } from 'commander';
import { checkForgetSets } from '../data/forgetSets.js';
import { ExitCode, LetheError } from '../errors.js';
import { estimateStages, statusOf } from '../jobs/estimate.js';
import { executorNames, type ExecutorName } from '../jobs/executor.js';
import { loadPlan } from '../jobs/plan.js';
import { readPlanNet } from '../jobs/planNet.js';
import { serveWorker } from '../jobs/worker.js';
import { renderKlomTable } from '../report/index.js';
import { readSessions, runningSession } from '../store/provenance.js';
import { repairRun, verifyRun } from '../store/verify.js';
import type { Plan } from '../types.js';
import {
  action,
  type Command,
  compact,
  dataHelp,
  duration,
  emitJson,
  jsonHelp,
  oldDataHelp,
  say,
  shownPath,
  threadsHelp,
  processorCount,
} from './common.js';
import { type EngineFlags, engineOptions } from './engine.js';
import { executePlan } from './execute.js';
import { formatBytes } from './memory.js';
import { openReuse } from './reuse.js';
import { planSession, reopenSession, type Session, type SessionOptions, viewRun } from './session.js';

interface RunVerbOptions extends SessionOptions, EngineFlags {
  out?: string;
  reuse?: string;
  executor: ExecutorName;
  workers: number;
  dryRun?: boolean;
  json?: boolean;
}

export function registerRun(program: Command): void {
  engineOptions(program.command('run'))
    .argument('<plan>', 'plan file (.json, .yaml)')
    .description('run an experiment; the same command resumes it')
    .option('--out <dir>', 'run folder (default: runs/<plan name>)')
    .option(
      '--reuse <run>',
      'an earlier run of the same data and engine: what this plan has in common with its plan is taken over, checked, not made again',
    )
    .option('--data <dir>', dataHelp)
    .addOption(
      new Option('--executor <name>', 'inline: in this process; process: in worker processes').choices(executorNames).default('inline'),
    )
    .option('--workers <count>', 'worker processes of --executor process, with the same limits as --threads', processorCount(1), 2)
    .option('--threads <count>', threadsHelp, processorCount(0), 0)
    .option('--dry-run', 'print models, files, bytes and estimated time; write nothing')
    .option('--json', jsonHelp)
    .action(action(runVerb));
  program
    .command('status')
    .argument('<run>', 'run folder')
    .description('what is done and what is left')
    .option('--data <dir>', oldDataHelp)
    .option('--json', jsonHelp)
    .action(action(statusVerb));
  program
    .command('verify')
    .argument('<run>', 'run folder')
    .description('check every byte against its manifest')
    .option('--repair', 'delete what is damaged, so that the next run makes it anew')
    .option('--json', jsonHelp)
    .action(action(verifyVerb));
  program
    .command('worker', { hidden: true })
    .argument('<run>', 'run folder')
    .option('--data <dir>', dataHelp)
    .option('--threads <count>', 'processors to use', processorCount(0), 1)
    .action(action(workerVerb));
}

async function runVerb(file: string, options: RunVerbOptions): Promise<void> {
  const plan = await loadPlan(file);
  const onnx = await readPlanNet(file, plan.net);
  if (options.dryRun) {
    await dryRun(plan, options, onnx);
    return;
  }
  const started = Date.now();
  const { root, report, page, tasksRun, tasksSkipped, tasksReused } = await executePlan(plan, options, onnx);
  const seconds = (Date.now() - started) / 1000;
  if (options.json) {
    const { dataDescription, version, scores, floors, choices, lds } = report;
    const tasks = { tasksRun, tasksSkipped, tasksReused };
    emitJson('run', { run: root, data: dataDescription, seconds, ...tasks, scores, floors, choices, lds, report: page }, version);
    return;
  }
  process.stdout.write(`${report.dataDescription}\n\n${renderKlomTable(report)}\nreport: ${shownPath(page)}\n`);
  say(`${tasksRun} tasks run, ${tasksSkipped} found finished, ${duration(seconds)}`);
}

async function dryRun(plan: Plan, options: RunVerbOptions, onnx: Uint8Array | undefined): Promise<void> {
  const session = await planSession(plan, options, options, onnx);
  await checkForgetSets(plan.forgetSets, session.dataset.numTrain, () => false);
  const reuse = options.reuse === undefined ? undefined : await openReuse(options.reuse, session, options.data);
  const reused = new Set((await reuse?.reusable())?.map(({ task }) => task.id));
  const stages = estimateStages(session.stages.map(({ name, tasks }) => ({ name, tasks: tasks.filter(({ id }) => !reused.has(id)) })));
  const total = (key: 'tasks' | 'models' | 'files' | 'bytes' | 'cost'): number => stages.reduce((sum, stage) => sum + stage[key], 0);
  const rate = await measureRate(session);
  const totals = { tasks: total('tasks'), models: total('models'), files: total('files'), bytes: total('bytes'), cost: total('cost') };
  const seconds = totals.cost / rate;
  if (options.json) {
    const { name, numTrain, numValidation } = session.dataset;
    emitJson('dry-run', {
      plan: plan.name,
      data: { name, numTrain, numValidation },
      stages,
      ...totals,
      tasksReused: reused.size,
      imagesPerSecond: rate,
      seconds,
    });
    return;
  }
  process.stdout.write(`${session.dataset.description}\n`);
  for (const { stage, tasks, models, files, bytes, cost } of stages) {
    process.stdout.write(
      `${stage.padEnd(18)} ${String(tasks).padStart(5)} tasks ${String(models).padStart(7)} models ${String(files).padStart(6)} files ` +
        `${formatBytes(bytes).padStart(9)} ${duration(cost / rate).padStart(8)}\n`,
    );
  }
  if (reuse) process.stdout.write(`${reused.size} more tasks are taken over from ${reuse.run.root}\n`);
  process.stdout.write(
    `in all: ${totals.models} models, ${totals.files} files, ${formatBytes(totals.bytes)}, about ${duration(seconds)} ` +
      `at ${compact(rate)} images/s measured here\n`,
  );
}

/** The second measurement takes about so long: the first one, short, also pays for what happens only once. */
const measuredMs = 1500;

/** Images a second of this network on all allowed processors, a training on each. */
async function measureRate({ plan, dataset, engine, net, threads }: Session): Promise<number> {
  const { trainingJob } = await import('../train/jobs.js');
  const lanes = threads || Number(engine.describe()['threads']);
  const indices = Int32Array.from({ length: Math.min(dataset.numTrain, 4 * plan.recipe.batchSize) }, (_, i) => i);
  const measure = async (epochs: number): Promise<{ images: number; elapsedMs: number }> => {
    const recipe = { ...plan.recipe, epochs, schedule: { kind: 'constant' as const, learningRate: 1e-3 } };
    const jobs = Array.from({ length: lanes }, (_, k) => trainingJob(recipe, 0, k, indices));
    const started = performance.now();
    const outputs = { evalPoints: new Int32Array(0), evalEpochs: [], parameters: false };
    const results = await engine.trainMany(net, dataset, jobs, outputs, { threads });
    return { images: results.reduce((sum, result) => sum + result.gradientImages, 0), elapsedMs: performance.now() - started };
  };
  const first = await measure(1);
  if (first.elapsedMs > measuredMs) return (1000 * first.images) / first.elapsedMs;
  const { images, elapsedMs } = await measure(Math.ceil(measuredMs / first.elapsedMs));
  return (1000 * images) / elapsedMs;
}

async function statusVerb(root: string, options: { data?: string; json?: boolean }): Promise<void> {
  const view = await viewRun(root, options.data);
  const stages = await statusOf(view.run, view.stages);
  const sessions = await readSessions(path.resolve(root));
  const done = stages.reduce((sum, stage) => sum + stage.tasksDone, 0);
  const tasks = stages.reduce((sum, stage) => sum + stage.tasks, 0);
  if (options.json) {
    emitJson('status', { run: path.resolve(root), plan: view.plan.name, tasksDone: done, tasks, stages, sessions });
    return;
  }
  for (const { stage, tasksDone, tasks: all } of stages) process.stdout.write(`${stage.padEnd(18)} ${tasksDone}/${all}\n`);
  const last = sessions.at(-1);
  const running = await runningSession(path.resolve(root));
  const outcome = running ? `running (process ${running.pid})` : (last?.outcome ?? 'killed, or running on another machine');
  process.stdout.write(`${done}/${tasks} tasks done${last ? `; last session ${outcome}, begun ${last.startedAt}` : ''}\n`);
}

async function verifyVerb(root: string, options: { repair?: boolean; json?: boolean }): Promise<void> {
  const { openRun } = await import('../store/run.js');
  const run = await openRun(path.resolve(root));
  const health = await verifyRun(run);
  const repaired = options.repair ? await repairRun(run, health) : [];
  if (options.json) emitJson('verify', { run: run.root, ...health, repaired });
  else {
    for (const { path: file, reason } of health.damaged) process.stdout.write(`damaged ${file}: ${reason}\n`);
    for (const file of health.missing) process.stdout.write(`missing ${file}\n`);
    for (const file of health.foreign) process.stdout.write(`foreign ${file}\n`);
    process.stdout.write(
      `${health.checked} files checked, ${formatBytes(health.bytes)}, ${health.damaged.length} damaged, ${health.missing.length} missing\n`,
    );
  }
  if (health.damaged.length + health.missing.length > 0 && !options.repair) {
    throw new LetheError(
      'LETHE_RUN_DAMAGED',
      `${health.damaged.length} damaged and ${health.missing.length} missing files in ${run.root}`,
      {
        action: 'Run: lethe verify RUN --repair, then lethe run with the same plan; only these files are made anew.',
        exitCode: ExitCode.damagedInput,
      },
    );
  }
}

async function workerVerb(root: string, options: SessionOptions): Promise<void> {
  const { session, context } = await reopenSession(root, options);
  await serveWorker(session.stages, context);
}
