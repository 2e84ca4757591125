/** lethe train: models from scratch, as files. */
import { describeModels, modelRange, requireSomeTrained } from '../commands/models.js';
import { type TrainModels, trainModels } from '../commands/train.js';
import { listDatasets } from '../data/registry.js';
import { didYouMean, LetheError } from '../errors.js';
import { mistakesOfRecipe } from '../jobs/recipe.js';
import { netNames } from '../models/index.js';
import type { Schedule, TrainRecipe } from '../types.js';
import {
  action,
  Command,
  dataHelp,
  emitJson,
  finiteNumber,
  integerAtLeast,
  jsonHelp,
  talk,
  threadsHelp,
  processorCount,
} from './common.js';
import { type EngineFlags, engineOptions } from './engine.js';

interface TrainVerbOptions extends EngineFlags {
  dataset: string;
  data?: string;
  trainPerClass: number;
  validationPerClass: number;
  net: string;
  width: number;
  netFile?: string;
  epochs: number;
  batchSize: number;
  learningRate: number;
  momentum: number;
  weightDecay: number;
  schedule: string;
  peakEpoch?: number;
  labelSmoothing: number;
  cropPadding: number;
  flip?: boolean;
  models: string;
  seed: number;
  init?: string;
  indices?: string;
  masks?: string;
  out: string;
  threads: number;
  json?: boolean;
}

/** Defaults are the paper's CIFAR-10 recipe (D.1). */
export function registerTrain(program: Command): void {
  engineOptions(program.command('train'))
    .description('train models from scratch and write checkpoints, logits and margins; the same command resumes after an interruption')
    .option(
      '--dataset <name>',
      listDatasets()
        .map(({ name }) => name)
        .join(', '),
      'cifar10',
    )
    .option('--data <dir>', dataHelp)
    .option('--train-per-class <count>', 'train examples per class, 0 for all', integerAtLeast(0), 0)
    .option('--validation-per-class <count>', 'validation examples per class, 0 for all', integerAtLeast(0), 0)
    .option('--net <name>', netNames.join(', '), 'resnet9')
    .option('--width <divisor>', 'divides the channel counts: 4 and 8 are CPU sizes', finiteNumber, 1)
    .option('--net-file <file>', 'a network as ONNX file, instead of --net and --width (needs --engine ort)')
    .option('--epochs <count>', 'passes over the examples', integerAtLeast(1), 24)
    .option('--batch-size <count>', 'images per step', integerAtLeast(1), 512)
    .option('--learning-rate <rate>', 'peak learning rate', finiteNumber, 0.4)
    .option('--momentum <factor>', 'SGD momentum', finiteNumber, 0.9)
    .option('--weight-decay <factor>', 'SGD weight decay', finiteNumber, 5e-4)
    .option('--schedule <kind>', 'triangle, cosine or constant', 'triangle')
    .option('--peak-epoch <epoch>', 'where the learning rate peaks (default: 5/24 of the epochs)', finiteNumber)
    .option('--label-smoothing <share>', 'label smoothing', finiteNumber, 0)
    .option('--crop-padding <pixels>', 'augmentation: random crops of images padded by so many pixels', integerAtLeast(0), 0)
    .option('--flip', 'augmentation: random horizontal flips')
    .option('--models <range>', 'how many models, or which: 4-7; each has its own random numbers', '1')
    .option('--seed <number>', 'seed of all random numbers', integerAtLeast(0), 0)
    .option('--init <file>', 'what every model starts from instead of random weights: .safetensors, or the file of --net-file')
    .option('--indices <file>', '.npy of train indices: every model is trained on these')
    .option('--masks <file>', '.npy (models, train examples) of 0 and 1: model i is trained on row i')
    .requiredOption('--out <dir>', 'folder for model-*.safetensors, logits.npy, margins.npy, train.json')
    .option('--threads <count>', threadsHelp, processorCount(0), 0)
    .option('--json', jsonHelp)
    .action(action(trainVerb));
}

async function trainVerb(options: TrainVerbOptions): Promise<void> {
  const started = Date.now();
  const { dataset: name, trainPerClass, validationPerClass, net, width, netFile, data, seed, init, out, threads } = options;
  const recipe = recipeOf(options);
  const on = trainedOn(options);
  const request: TrainModels = {
    data: { name, trainPerClass, validationPerClass },
    net: netFile === undefined ? { name: net, width } : { file: netFile },
    recipe,
    seed,
    models: modelRange(options.models),
    ...(on ? { on } : {}),
    ...(init === undefined ? {} : { init }),
    engine: options,
    out,
  };
  const trained = await trainModels(request, { ...(data === undefined ? {} : { directory: data }), threads, ...talk() });
  const { kind, learningRate } = recipe.schedule;
  requireSomeTrained(
    trained.models,
    `The usual cause is a learning rate that is too large: try less than ${learningRate} (--learning-rate, schedule ${kind}), ` +
      `in another --out. What was made is in ${out}.`,
  );
  if (options.json) emitJson('train', { ...trained, seconds: (Date.now() - started) / 1000 });
  else process.stdout.write(`${describeModels(trained.models)}, in ${out}\n`);
}

function trainedOn({ indices, masks }: TrainVerbOptions): TrainModels['on'] {
  if (indices !== undefined && masks !== undefined) {
    throw new LetheError('LETHE_OPTION_INVALID', '--indices and --masks exclude each other', { action: 'Give one of them.' });
  }
  if (indices !== undefined) return { indices };
  return masks === undefined ? undefined : { masks };
}

function recipeOf(options: TrainVerbOptions): TrainRecipe {
  const { epochs, batchSize, learningRate, momentum, weightDecay, labelSmoothing } = options;
  const peakEpoch = options.peakEpoch ?? (5 * epochs) / 24;
  const schedules: Record<string, Schedule> = {
    triangle: { kind: 'triangle', learningRate, peakEpoch },
    cosine: { kind: 'cosine', learningRate, peakEpoch },
    constant: { kind: 'constant', learningRate },
  };
  const schedule = Object.hasOwn(schedules, options.schedule) ? schedules[options.schedule] : undefined;
  const { cropPadding, flip = false } = options;
  const augment = cropPadding > 0 || flip ? { augment: { cropPadding, flip } } : {};
  if (schedule)
    return checked({ epochs, batchSize, optimizer: { kind: 'sgd', momentum, weightDecay }, schedule, labelSmoothing, ...augment });
  throw new LetheError('LETHE_OPTION_INVALID', 'there is no such schedule', {
    expected: Object.keys(schedules).join(', '),
    received: JSON.stringify(options.schedule),
    action: didYouMean(options.schedule, Object.keys(schedules)),
  });
}

/**
 * The rules of plans, but for a learning rate of 0: it leaves the parameters of --init as they are, to look at a model, which no plan needs.
 * Every value of a recipe has an option, named like its key.
 * @throws LETHE_OPTION_INVALID (exit code 2)
 */
function checked(recipe: TrainRecipe): TrainRecipe {
  const { schedule } = recipe;
  const [mistake] = mistakesOfRecipe(schedule.learningRate === 0 ? { ...recipe, schedule: { ...schedule, learningRate: 1 } } : recipe);
  if (!mistake) return recipe;
  const option = String(mistake.keys.at(-1)).replaceAll(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
  const { expected, received, action: advice } = mistake;
  throw new LetheError('LETHE_OPTION_INVALID', `--${option} is out of range`, {
    expected,
    received,
    ...(advice === undefined ? {} : { action: advice }),
  });
}
