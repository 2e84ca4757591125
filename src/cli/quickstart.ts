/** lethe quickstart: the whole method in about a minute, on built-in or real images. */
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { runPlan } from '../commands/runPlan.js';
import { resolveDataDirectory } from '../data/registry.js';
import { createEngine } from '../engines/index.js';
import { loadPlan } from '../jobs/plan.js';
import { renderKlomTable } from '../report/index.js';
import { action, Command, duration, emitJson, jsonHelp, say, shownPath, talk, threadsHelp, processorCount } from './common.js';
import { type EngineFlags, engineOptions } from './engine.js';

const packageRoot = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '..', '..');

interface QuickstartOptions extends EngineFlags {
  data?: string;
  out?: string;
  threads: number;
  json?: boolean;
}

export function registerQuickstart(program: Command): void {
  engineOptions(program.command('quickstart'))
    .description('data, models, datamodels, unlearning, KLOM table and report in about a minute')
    .option('--data <dir>', 'folder with CIFAR-10 (default: LETHE_DATA; without either: built-in synthetic images)')
    .option(
      '--out <dir>',
      'run folder (default: runs/quickstart, runs/quickstart-cifar10; with -ort, -cuda-bf16, -bf16 and so on for other engines)',
    )
    .option('--threads <count>', threadsHelp, processorCount(0), 0)
    .option('--json', jsonHelp)
    .action(action(quickstart));
}

/** Another engine, device or precision gives other numbers and so needs a folder of its own; "" for what the machine does unless told otherwise. */
export function engineSuffix(choice: EngineFlags): string {
  const { engine, device, precision } = createEngine(choice).describe();
  if (engine !== 'native') return device === 'cpu' ? `-${engine}` : `-${engine}-${device}`;
  if (device !== 'cpu') return `-${device}-${precision}`;
  return precision === createEngine({ engine: 'native' }).describe()['precision'] ? '' : `-${precision}`;
}

async function quickstart(options: QuickstartOptions): Promise<void> {
  const started = Date.now();
  const onRealData = resolveDataDirectory(options.data) !== undefined;
  const planFolder = path.join(packageRoot, 'plans');
  const plan = await loadPlan(path.join(planFolder, onRealData ? 'quickstart-cifar10.json' : 'quickstart.json'));
  const out = options.out ?? path.join('runs', plan.name + engineSuffix(options));
  const finished = await runPlan(plan, { ...options, ...talk(), out, planFolder, command: process.argv.slice(2) });
  const { report, page } = finished;
  const seconds = (Date.now() - started) / 1000;
  if (options.json) {
    const { dataDescription, version, scores, floors, choices, lds } = report;
    const facts = { run: finished.root, data: dataDescription, realData: onRealData, seconds };
    emitJson('quickstart', { ...facts, scores, floors, choices, lds, report: page }, version);
    return;
  }
  process.stdout.write(`${report.dataDescription}\n\n${renderKlomTable(report)}\nreport: ${shownPath(page)}\n`);
  say(
    onRealData
      ? `real CIFAR-10 images, ${duration(seconds)}. The full experiment: lethe run plans/cifar10-small.json --data DIR`
      : `synthetic images, ${duration(seconds)}. With real ones: lethe quickstart --data DIR (lethe data fetch cifar10 --to DIR)`,
  );
}
