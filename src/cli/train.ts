/** lethe train: models from scratch, as files. */
import path from 'node:path';
import { describeModels, makeModels, modelRange, numbers, requireSomeTrained } from '../commands/models.js';
import { engineOf } from '../commands/session.js';
import { range } from '../data/indices.js';
import { readMaskFile } from '../data/maskFile.js';
import { maskIndices } from '../data/masks.js';
import { listDatasets, loadDataset, resolveDataDirectory } from '../data/registry.js';
import { engineIdentity } from '../engines/index.js';
import { didYouMean, LetheError } from '../errors.js';
import { mistakesOfRecipe } from '../jobs/recipe.js';
import { buildNet, netNames } from '../models/index.js';
import { importOnnx, netForDataset } from '../models/onnxImport.js';
import { readCheckpoint } from '../store/contents/checkpoint.js';
import { readWhole, sha256 } from '../store/disk/files.js';
import { encodeJson } from '../store/disk/json.js';
import { readWholeNumbers } from '../store/formats/npyIntegers.js';
import { publishFile } from '../store/disk/publish.js';
import { trainingJob } from '../train/jobs.js';
import type { Dataset, Engine, NetSpec, Schedule, TrainJob, TrainRecipe } from '../types.js';
import {
  action,
  Command,
  dataHelp,
  emitJson,
  finiteNumber,
  integerAtLeast,
  jsonHelp,
  say,
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
  const recipe = recipeOf(options);
  const models = modelRange(options.models);
  const directory = resolveDataDirectory(options.data);
  const dataset = await loadDataset(
    { name: options.dataset, trainPerClass: options.trainPerClass, validationPerClass: options.validationPerClass },
    { ...(directory === undefined ? {} : { directory }), note: say },
  );
  const { numTrain } = dataset;
  const net = await networkOf(options, dataset);
  const subset = await readSubset(options, numTrain, models.end);
  const engine = engineOf(options, say);
  const initial = await initialOf(options, net, engine);
  const jobOf = (model: number): TrainJob => ({
    ...trainingJob(recipe, options.seed, model, subset(model)),
    ...(initial ? { initialParameters: initial } : {}),
  });
  const initialSha256 = initial ? { initialSha256: sha256(initial) } : {};
  const command = {
    dataset: dataset.sha256,
    net: net.onnx ? sha256(net.onnx) : net.name,
    recipe,
    seed: options.seed,
    ...initialSha256,
    ...engineIdentity(engine),
  };
  const summaries = await makeModels({
    engine,
    net,
    dataset,
    jobs: (first, end) => Promise.resolve(numbers(first, end).map(jobOf)),
    models,
    out: options.out,
    splits: splitsOf(numTrain, dataset.numValidation),
    command: (model) => ({ ...command, subset: sha256(subset(model)) }),
    label: 'train',
    threads: options.threads,
    talk: talk(),
  });
  const document = {
    dataset: { name: dataset.name, description: dataset.description, sha256: dataset.sha256 },
    net: net.name,
    recipe,
    seed: options.seed,
    ...initialSha256,
    engine: engine.describe(),
    models: summaries,
  };
  await publishFile(path.join(options.out, 'train.json'), encodeJson(document));
  const { kind, learningRate } = recipe.schedule;
  requireSomeTrained(
    summaries,
    `The usual cause is a learning rate that is too large: try less than ${learningRate} (--learning-rate, schedule ${kind}), ` +
      `in another --out. What was made is in ${options.out}.`,
  );
  if (options.json) emitJson('train', { ...document, seconds: (Date.now() - started) / 1000 });
  else process.stdout.write(`${describeModels(summaries)}, in ${options.out}\n`);
}

async function networkOf(options: TrainVerbOptions, dataset: Dataset): Promise<NetSpec> {
  const { height, width, channels, numClasses } = dataset;
  if (options.netFile === undefined) {
    return buildNet({ name: options.net, width: options.width, input: { height, width, channels }, numClasses });
  }
  const bytes = await readWhole(options.netFile);
  if (!bytes) throw new LetheError('LETHE_FILE_MISSING', 'there is no such file', { received: options.netFile });
  return netForDataset(bytes, path.basename(options.netFile), dataset, say);
}

/** The parameters every model starts from, if not random ones. */
async function initialOf({ init, netFile }: TrainVerbOptions, net: NetSpec, engine: Engine): Promise<Float32Array | undefined> {
  if (init === undefined) return undefined;
  if (net.onnx && netFile !== undefined && path.resolve(init) === path.resolve(netFile)) return importOnnx(net.onnx, net.name).parameters;
  const { parameters, notes } = await readCheckpoint(init, engine.parameters(net));
  notes.forEach(say);
  return parameters;
}

function splitsOf(numTrain: number, numValidation: number): Record<string, Int32Array> {
  return { train: range(numTrain), ...(numValidation > 0 ? { validation: range(numValidation).map((i) => numTrain + i) } : {}) };
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

/** Train indices of a model. */
async function readSubset(options: TrainVerbOptions, numTrain: number, numModels: number): Promise<(model: number) => Int32Array> {
  if (options.indices !== undefined && options.masks !== undefined) {
    throw new LetheError('LETHE_OPTION_INVALID', '--indices and --masks exclude each other', { action: 'Give one of them.' });
  }
  if (options.masks !== undefined) {
    const masks = await readMaskFile(options.masks);
    if (masks.numModels < numModels || masks.numTrain !== numTrain) {
      throw new LetheError('LETHE_SHAPE_MISMATCH', `${options.masks} does not fit`, {
        expected: `(at least ${numModels} models, ${numTrain} train examples)`,
        received: `(${masks.numModels}, ${masks.numTrain})`,
      });
    }
    return (model) => maskIndices(masks, model);
  }
  const indices = options.indices === undefined ? range(numTrain) : await readIndices(options.indices, numTrain);
  return () => indices;
}

/**
 * Train indices in a .npy file, sorted, each once.
 * @throws LETHE_INDICES_INVALID and the errors of readNpy
 */
async function readIndices(file: string, numTrain: number): Promise<Int32Array> {
  const refused = (received: string, action?: string): LetheError =>
    new LetheError('LETHE_INDICES_INVALID', `${file} holds no set of train indices`, {
      expected: `a vector of different whole numbers below ${numTrain}, at least one`,
      received,
      ...(action === undefined ? {} : { action }),
    });
  const given = await readWholeNumbers(file, numTrain, refused);
  const indices = Int32Array.from(new Set(given)).sort();
  if (indices.length === 0) throw refused('none');
  if (indices.length < given.length) throw refused(`${given.length - indices.length} repeats`);
  return indices;
}
