/** lethe run PLAN. */
import path from 'node:path';
import { Option } from 'commander';
import { openReuse } from '../commands/reuse.js';
import { runPlan, type RunPlanOptions } from '../commands/runPlan.js';
import { planSession, type Session, type SessionOptions } from '../commands/session.js';
import { checkForgetSets } from '../data/forgetSets.js';
import { estimateStages } from '../jobs/estimate.js';
import { executorNames, type ExecutorName } from '../jobs/executor.js';
import { loadPlan } from '../jobs/plan.js';
import { readPlanNet } from '../jobs/planNet.js';
import { renderKlomTable } from '../report/index.js';
import type { Plan } from '../types.js';
import { formatBytes } from '../store/disk/byteSize.js';
import {
  action,
  type Command,
  compact,
  dataHelp,
  duration,
  emitJson,
  jsonHelp,
  say,
  shownPath,
  talk,
  threadsHelp,
  processorCount,
} from './common.js';
import { type EngineFlags, engineOptions } from './engine.js';
import { byteSize } from './memory.js';
import { requestStop } from './signals.js';

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
    .option(
      '--memory <size>',
      'memory for the outputs that datamodels are fitted on, such as 4GiB: more lie in a file (default: half of what is free)',
      byteSize,
    )
    .option('--dry-run', 'print models, files, bytes and estimated time; write nothing')
    .option('--json', jsonHelp)
    .action(action(runVerb));
}

async function runVerb(file: string, given: RunVerbOptions): Promise<void> {
  const options = { ...given, planFolder: path.dirname(path.resolve(file)), note: say };
  const plan = await loadPlan(file);
  const onnx = await readPlanNet(file, plan.net);
  if (options.dryRun) {
    await dryRun(plan, options, onnx);
    return;
  }
  const started = Date.now();
  const { root, report, page, tasksRun, tasksSkipped, tasksReused } = await runPlan(plan, runOptions(options), onnx);
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

function runOptions(options: RunVerbOptions & { planFolder: string }): RunPlanOptions {
  const { planFolder, data } = options;
  const worker = [...process.execArgv, process.argv[1]!, 'worker'];
  const more = ['--plan-folder', planFolder, ...(data === undefined ? [] : ['--data', data])];
  return {
    ...options,
    ...talk(),
    command: process.argv.slice(2),
    workerCommand: (root, threads) => ({ command: process.execPath, args: [...worker, root, '--threads', String(threads), ...more] }),
    onWorkerSignal: requestStop,
  };
}

async function dryRun(plan: Plan, options: RunVerbOptions & { planFolder: string }, onnx: Uint8Array | undefined): Promise<void> {
  const session = await planSession(plan, options, options, onnx);
  await checkForgetSets(plan.forgetSets, { numTrain: session.dataset.numTrain, planFolder: options.planFolder }, () => false);
  const reuse = options.reuse === undefined ? undefined : await openReuse(options.reuse, session, options);
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
async function measureRate({ plan, dataset, engine, net, resources }: Session): Promise<number> {
  const { trainingJob } = await import('../train/jobs.js');
  const { threads = 0 } = resources;
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
