/** Models from scratch, as files. */
import path from 'node:path';
import { range } from '../data/indices.js';
import { readMaskFile } from '../data/maskFile.js';
import { maskIndices } from '../data/masks.js';
import { loadDataset, resolveDataDirectory } from '../data/registry.js';
import type { DataSelection } from '../data/source.js';
import { type EngineChoice, engineIdentity } from '../engines/index.js';
import { LetheError } from '../errors.js';
import { buildNet } from '../models/index.js';
import { importOnnx, netForDataset } from '../models/onnxImport.js';
import { readCheckpoint } from '../store/contents/checkpoint.js';
import { readWhole, sha256 } from '../store/disk/files.js';
import { encodeJson } from '../store/disk/json.js';
import { publishFile } from '../store/disk/publish.js';
import { readWholeNumbers } from '../store/formats/npyIntegers.js';
import { trainingJob } from '../train/jobs.js';
import type { Dataset, Engine, NetSpec, TrainJob, TrainRecipe } from '../types.js';
import { makeModels, type ModelSummary, numbers } from './models.js';
import { engineOf } from './session.js';
import type { Note, Talk } from './talk.js';

export interface TrainModels {
  data: { name: string } & Partial<DataSelection>;
  /** A network by name, its channel counts divided by `width`, or an ONNX file (engine ort). */
  net: { name: string; width: number } | { file: string };
  recipe: TrainRecipe;
  seed: number;
  /** Which models: each has its own random numbers. */
  models: { first: number; end: number };
  /** What every model is trained on: .npy of train indices, or .npy (models, train) whose row i is of model i; absent: everything. */
  on?: { indices: string } | { masks: string };
  /** What every model starts from instead of random weights: .safetensors, or the network's own ONNX file. */
  init?: string;
  engine: EngineChoice;
  /** Folder for model-*.safetensors, logits.npy, margins.npy, train.json. */
  out: string;
}

export interface TrainModelsOptions extends Talk {
  /** Folder of the data set; default: LETHE_DATA. */
  directory?: string;
  threads?: number;
}

/** What train.json holds. */
export interface TrainedModels {
  dataset: { name: string; description: string; sha256: string };
  net: string;
  recipe: TrainRecipe;
  seed: number;
  initialSha256?: string;
  engine: ReturnType<Engine['describe']>;
  models: ModelSummary[];
}

/**
 * Trains models and writes OUT/model-00000.safetensors, ..., OUT/logits.npy (models, points, classes) and OUT/margins.npy (models, points).
 * The same call goes on where an earlier one was interrupted; a diverged model has a status and NaN outputs.
 *
 * @example
 * const { models } = await trainModels({
 *   data: { name: 'synthetic' },
 *   net: { name: 'smallcnn', width: 2 },
 *   recipe: {
 *     epochs: 4, batchSize: 32, labelSmoothing: 0,
 *     optimizer: { kind: 'sgd', momentum: 0.9, weightDecay: 5e-4 },
 *     schedule: { kind: 'constant', learningRate: 0.05 },
 *   },
 *   seed: 0,
 *   models: { first: 0, end: 2 },
 *   engine: { engine: 'native' },
 *   out: 'models',
 * });
 * console.log(models.map(({ accuracy }) => accuracy.validation));
 *
 * @throws LETHE_MODELS_CHANGED, LETHE_SHAPE_MISMATCH, LETHE_INDICES_INVALID (exit code 2), LETHE_DISK_FULL (4), LETHE_TASK_ABORTED (75)
 */
export async function trainModels(
  request: TrainModels,
  { directory, threads = 0, ...talk }: TrainModelsOptions = {},
): Promise<TrainedModels> {
  const { recipe, seed, models, out } = request;
  const { note } = talk;
  const found = resolveDataDirectory(directory);
  const where = { ...(found === undefined ? {} : { directory: found }), ...(note ? { note } : {}) };
  const dataset = await loadDataset({ trainPerClass: 0, validationPerClass: 0, ...request.data }, where);
  const net = await networkOf(request.net, dataset, note);
  const subset = await subsetsOf(request.on, dataset.numTrain, models.end);
  const engine = engineOf({ ...request.engine, threads }, note);
  const initial = await initialOf(request, net, engine, note);
  const initialSha256 = initial ? { initialSha256: sha256(initial) } : {};
  const jobOf = (model: number): TrainJob => ({
    ...trainingJob(recipe, seed, model, subset(model)),
    ...(initial ? { initialParameters: initial } : {}),
  });
  const command = {
    dataset: dataset.sha256,
    net: net.onnx ? sha256(net.onnx) : net.name,
    recipe,
    seed,
    ...initialSha256,
    ...engineIdentity(engine),
  };
  const summaries = await makeModels({
    engine,
    net,
    dataset,
    jobs: (first, end) => Promise.resolve(numbers(first, end).map(jobOf)),
    models,
    out,
    splits: splitsOf(dataset.numTrain, dataset.numValidation),
    command: (model) => ({ ...command, subset: sha256(subset(model)) }),
    label: 'train',
    threads,
    talk,
  });
  const trained: TrainedModels = {
    dataset: { name: dataset.name, description: dataset.description, sha256: dataset.sha256 },
    net: net.name,
    recipe,
    seed,
    ...initialSha256,
    engine: engine.describe(),
    models: summaries,
  };
  await publishFile(path.join(out, 'train.json'), encodeJson(trained));
  return trained;
}

async function networkOf(given: TrainModels['net'], dataset: Dataset, note?: Note): Promise<NetSpec> {
  const { height, width, channels, numClasses } = dataset;
  if ('name' in given) return buildNet({ ...given, input: { height, width, channels }, numClasses });
  const bytes = await readWhole(given.file);
  if (!bytes) throw new LetheError('LETHE_FILE_MISSING', 'there is no such file', { received: given.file });
  return netForDataset(bytes, path.basename(given.file), dataset, note);
}

/** The parameters every model starts from, if not random ones. */
async function initialOf(
  { init, net: given }: Pick<TrainModels, 'init' | 'net'>,
  net: NetSpec,
  engine: Engine,
  note?: Note,
): Promise<Float32Array | undefined> {
  if (init === undefined) return undefined;
  if (net.onnx && 'file' in given && path.resolve(init) === path.resolve(given.file)) return importOnnx(net.onnx, net.name).parameters;
  const { parameters, notes } = await readCheckpoint(init, engine.parameters(net));
  for (const line of notes) note?.(line);
  return parameters;
}

function splitsOf(numTrain: number, numValidation: number): Record<string, Int32Array> {
  return { train: range(numTrain), ...(numValidation > 0 ? { validation: range(numValidation).map((i) => numTrain + i) } : {}) };
}

/** Train indices of a model. */
async function subsetsOf(on: TrainModels['on'], numTrain: number, numModels: number): Promise<(model: number) => Int32Array> {
  if (on && 'masks' in on) {
    const masks = await readMaskFile(on.masks);
    if (masks.numModels < numModels || masks.numTrain !== numTrain) {
      throw new LetheError('LETHE_SHAPE_MISMATCH', `${on.masks} does not fit`, {
        expected: `(at least ${numModels} models, ${numTrain} train examples)`,
        received: `(${masks.numModels}, ${masks.numTrain})`,
      });
    }
    return (model) => maskIndices(masks, model);
  }
  const indices = on ? await readIndices(on.indices, numTrain) : range(numTrain);
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
