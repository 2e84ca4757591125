/** lethe study ridge: the linear experiments of Section 5 and Appendix E. */
import path from 'node:path';
import { LetheError } from '../errors.js';
import { checkRidgeSettings, defaultRidgeSettings } from '../ridge/settings.js';
import { ridgeStudy } from '../ridge/study.js';
import { nativeAddon } from '../native/addon.js';
import { buildRidgeReport, renderRidgeClaims } from '../report/ridge.js';
import { fillFolder } from '../store/folders/claim.js';
import { publishFile } from '../store/disk/publish.js';
import type { RidgeSettings, RidgeStudy } from '../types.js';
import {
  action,
  type Command,
  createProgress,
  duration,
  emitJson,
  finiteNumber,
  interruptSignal,
  jsonHelp,
  say,
  threadsHelp,
  processorCount,
} from './common.js';

interface StudyVerbOptions {
  example?: number;
  out: string;
  seeds?: number;
  seed?: number;
  dimension?: number;
  train?: number;
  forget?: number;
  lambda?: [number, number];
  noiseVariance?: number;
  batch?: number;
  iterations?: number;
  stochasticIterations?: number;
  threads: number;
  json?: boolean;
}

export function registerStudy(program: Command): void {
  const study = program.command('study').description('experiments of the paper outside of networks');
  study
    .command('ridge')
    .description('unlearning ridge regression: all methods, both theorems, every claim answered (Section 5, Appendix E)')
    .option('--example <number>', '1: Section 5; 2: Appendix E.4 (default: both)', finiteNumber)
    .option('--out <dir>', 'folder for the page, figures and tables', 'runs/study-ridge')
    .option('--seeds <count>', 'repetitions, each with its own data and batches (default: 20)', finiteNumber)
    .option('--seed <number>', 'seed of all random numbers (default: 0)', finiteNumber)
    .option('--dimension <d>', 'coordinates of a point (default: 400)', finiteNumber)
    .option('--train <n>', 'train points (default: 100)', finiteNumber)
    .option('--forget <count>', 'forget points (default: 5)', finiteNumber)
    .option('--lambda <small,large>', 'the two penalties (default: 4,400 and 0.25,5)', twoNumbers)
    .option('--noise-variance <value>', 'of the labels (default: 4 and 0.25)', finiteNumber)
    .option('--batch <count>', 'points of a stochastic step (default: 5)', finiteNumber)
    .option('--iterations <count>', 'full-batch iterations (default: 2000)', finiteNumber)
    .option('--stochastic-iterations <count>', 'stochastic iterations (default: 10000)', finiteNumber)
    .option('--threads <count>', threadsHelp, processorCount(0), 0)
    .option('--json', jsonHelp)
    .action(action(ridgeVerb));
}

async function ridgeVerb(options: StudyVerbOptions): Promise<void> {
  const wanted = examples(options.example).map((example) => settingsOf(example, options));
  for (const settings of wanted) checkRidgeSettings(settings); // all before the first minute is spent
  await fillFolder(options.out, { study: 'ridge', examples: wanted }, () => study(options, wanted));
}

async function study(options: StudyVerbOptions, wanted: readonly RidgeSettings[]): Promise<void> {
  const started = performance.now();
  const signal = interruptSignal();
  const studies: RidgeStudy[] = [];
  for (const settings of wanted) {
    const progress = createProgress(`example ${settings.example}`, 'gradients');
    const onProgress = ({ done, total }: { done: number; total: number }): void => {
      progress.update(done, total);
    };
    studies.push(
      await ridgeStudy(settings, { threads: options.threads, signal, onProgress }).finally(() => {
        progress.stop();
      }),
    );
  }
  const page = await writeReport(options.out, studies);
  const seconds = (performance.now() - started) / 1000;
  if (options.json) emitJson('study-ridge', documentOf(studies, seconds, options.threads));
  else process.stdout.write(`${renderRidgeClaims(studies)}\nreport: ${page}\n`);
  say(`linear study in ${duration(seconds)}: ${page}`);
}

function examples(given: number | undefined): (1 | 2)[] {
  if (given === undefined) return [1, 2];
  if (given === 1 || given === 2) return [given];
  throw new LetheError('LETHE_EXAMPLE_UNKNOWN', 'there is no such example', {
    expected: '1 (Section 5) or 2 (Appendix E.4)',
    received: String(given),
    action: 'Leave --example out to run both.',
  });
}

function settingsOf(example: 1 | 2, options: StudyVerbOptions): RidgeSettings {
  const defaults = defaultRidgeSettings(example);
  return {
    example,
    dimension: options.dimension ?? defaults.dimension,
    numTrain: options.train ?? defaults.numTrain,
    numForget: options.forget ?? defaults.numForget,
    noiseVariance: options.noiseVariance ?? defaults.noiseVariance,
    lambdas: options.lambda ?? defaults.lambdas,
    batchSize: options.batch ?? defaults.batchSize,
    iterations: {
      full: options.iterations ?? defaults.iterations.full,
      stochastic: options.stochasticIterations ?? defaults.iterations.stochastic,
    },
    seeds: options.seeds ?? defaults.seeds,
    seed: options.seed ?? defaults.seed,
  };
}

function twoNumbers(text: string): [number, number] {
  const parts = text.split(',').map(finiteNumber);
  if (parts.length === 2) return parts as [number, number];
  throw new LetheError('LETHE_LAMBDA_PAIR', '--lambda takes two numbers', {
    expected: 'the small and the large lambda, e.g. --lambda 4,400',
    received: `"${text}"`,
  });
}

/** The page last: where it is, what it links to is there too. */
async function writeReport(folder: string, studies: readonly RidgeStudy[]): Promise<string> {
  const { files } = await buildRidgeReport(studies);
  for (const file of [...files.slice(1), files[0]!]) await publishFile(path.join(folder, file.path), Buffer.from(file.content));
  return path.join(folder, files[0]!.path);
}

/** Everything but the curves, which are in the CSV files of the figures. */
function documentOf(studies: readonly RidgeStudy[], seconds: number, threads: number): object {
  const { isa, threads: allowed } = nativeAddon().systemInfo();
  const withoutCurves = studies.map(({ entries, spanCurves, ...rest }) => ({
    ...rest,
    entries: entries.map((entry) => ({ ...entry, curve: undefined })),
    spanSteps: spanCurves.map(({ lambda, factor, step }) => ({ lambda, factor, step })),
  }));
  return { seconds, isa, threads: threads || allowed, studies: withoutCurves };
}
