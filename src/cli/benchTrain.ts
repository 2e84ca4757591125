/** lethe bench train: whole training steps, checked against PyTorch before they are timed beside it. */
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { Option } from 'commander';
import { torchPeer } from '../bench/peers.js';
import { precisions } from '../bench/train/engines.js';
import { benchTrain, type TrainBenchOptions } from '../bench/train/suite.js';
import { renderTrainReport } from '../bench/train/table.js';
import { engineNames } from '../engines/index.js';
import { ExitCode, LetheError } from '../errors.js';
import { loadPlan } from '../jobs/plan.js';
import { encodeJson } from '../store/disk/json.js';
import { publishResult, requireFree } from '../store/folders/claim.js';
import type { Plan } from '../types.js';
import { addSuiteOptions, instructionSets, parseThreads, split, type SuiteOptions } from './benchOptions.js';
import {
  action,
  type Command,
  emitJson,
  finiteNumber,
  integerAtLeast,
  interruptSignal,
  jsonHelp,
  optionWithDefault,
  say,
  oneOf,
} from './common.js';

interface TrainBenchVerbOptions extends SuiteOptions {
  widths: number[];
  batches: number[];
  engines: string[];
  isa?: string[];
  precisions: string[];
  threads: number[];
  repeats: number;
  seconds: number;
  peers?: boolean;
  perLayer?: boolean;
  recipe: string | false;
  out?: string;
  json?: boolean;
}

const defaultPlan = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '..', '..', 'plans', 'cifar10-small.json');

export function registerBenchTrain(bench: Command): void {
  addSuiteOptions(bench.command('train'))
    .description('training: images a second of whole steps of ResNet-9, beside PyTorch on the same core')
    .addOption(optionWithDefault('--widths <list>', 'divisors of the channel counts: 1 is the published network', parseNumbers, '8,4,1'))
    .addOption(optionWithDefault('--batches <list>', 'images a step', parseCounts, '128'))
    .addOption(optionWithDefault('--engines <list>', 'engines to time', split, engineNames.join()))
    .option('--isa <list>', 'instruction sets to use (default: the best)', split)
    .addOption(optionWithDefault('--precisions <list>', 'precisions to time', split, precisions.join()))
    .addOption(
      optionWithDefault(
        '--threads <list>',
        'models trained at the same time, each on a core, or all; peers run beside 1',
        parseThreads,
        '1',
      ),
    )
    .option('--repeats <count>', 'timed runs of each', integerAtLeast(1), 5)
    .option('--seconds <count>', 'about so many seconds of steps a run', finiteNumber, 1)
    .option('--peers', 'also time PyTorch, where it is installed, and check against it')
    .option('--per-layer', 'also measure every layer of the native engine')
    .addOption(new Option('--recipe <plan>', 'the plan whose models an hour are counted').default(defaultPlan, 'plans/cifar10-small.json'))
    .option('--no-recipe', 'count no models an hour')
    .option('--out <file>', 'also write the JSON document here')
    .option('--json', jsonHelp)
    .action(action(trainVerb));
}

async function trainVerb(verb: TrainBenchVerbOptions): Promise<void> {
  await requireFree(verb.out);
  const options: TrainBenchOptions = {
    widths: verb.widths,
    batches: verb.batches,
    engines: verb.engines.map((name) => oneOf('--engines', name, engineNames)),
    isas: instructionSets(verb.isa),
    precisions: verb.precisions.map((name) => oneOf('--precisions', name, precisions)),
    threads: verb.threads,
    repeats: verb.repeats,
    seconds: verb.seconds,
    peers: verb.peers ? [torchPeer(verb.python)] : [],
    perLayer: verb.perLayer === true,
    budgetSeconds: verb.budget,
    ...(verb.recipe === false ? {} : { plan: workOf(await loadPlan(verb.recipe)) }),
    say,
    signal: interruptSignal(),
  };
  const report = await benchTrain(options);
  if (verb.out !== undefined) await publishResult(verb.out, encodeJson({ document: 'lethe.bench-train', version: 1, ...report }));
  if (verb.json) emitJson('bench-train', report);
  else process.stdout.write(renderTrainReport(report));
  if (report.results.some(({ check }) => !check.passed)) process.exitCode = ExitCode.taskFailed;
  // a rival that was asked for is missing: the rest of the comparison stands, but it is not whole
  else if (report.peerProblems.length > 0) process.exitCode = ExitCode.environment;
}

/** Images that one subset model of the plan sees. */
function workOf({ name, data, net, recipe, subsetModels }: Plan): NonNullable<TrainBenchOptions['plan']> {
  if (data.name !== 'cifar10' || 'file' in net || net.name !== 'resnet9') {
    throw new LetheError('LETHE_OPTION_INVALID', `plan ${name} cannot be counted`, {
      expected: 'a plan for resnet9 on cifar10, as is measured here',
      received: `${'file' in net ? net.file : net.name} on ${data.name}`,
    });
  }
  const numTrain = data.trainPerClass === 0 ? 50000 : 10 * data.trainPerClass;
  const imagesPerModel = recipe.epochs * Math.round(subsetModels.subsetFraction * numTrain);
  return { name, width: net.width, batchSize: recipe.batchSize, epochs: recipe.epochs, imagesPerModel };
}

function parseNumbers(text: string): number[] {
  return split(text).map(finiteNumber);
}

function parseCounts(text: string): number[] {
  return split(text).map(integerAtLeast(1));
}
