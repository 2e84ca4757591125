/** What commands that make models share: which models, how they are trained in groups, and the files they become. */
import path from 'node:path';
import { ExitCode, LetheError, requireRunning } from '../errors.js';
import { nativeMargins } from '../native/margins.js';
import { factsMetadata } from '../store/contents/checkpoint.js';
import { fillModelFolder, type MadeModel, type ModelCommand, publishModel, readFinishedModel } from '../store/folders/modelFolder.js';
import { sha256 } from '../store/disk/files.js';
import { modelLayout } from '../store/folders/layout.js';
import { writeNpy } from '../store/formats/npy.js';
import { type Dataset, type Engine, mostModels, type NetSpec, type Progress, type TrainJob } from '../types.js';
import { startProgress, type Talk } from './talk.js';

/** Models of one engine call take about so long, so that an interruption costs little and processors seldom wait for the last one. */
const secondsPerCall = 300;
/** At most so many, whose logits are held twice. */
const maxModelsPerCall = 64;

/**
 * "4" is models 0 to 3, "4-7" is models 4 to 7.
 * @throws LETHE_MODELS_RANGE
 */
export function modelRange(text: string, available = mostModels): { first: number; end: number } {
  const match = /^(\d{1,8})(?:-(\d{1,8}))?$/.exec(text);
  const first = match?.[2] === undefined ? 0 : Number(match[1]);
  const end = match?.[2] === undefined ? Number(match?.[1] ?? 0) : Number(match[2]) + 1;
  if (first < end && end <= available) return { first, end };
  throw new LetheError('LETHE_MODELS_RANGE', 'these models cannot be chosen', {
    expected: `a count or a range such as 4-7, among ${available} models`,
    received: JSON.stringify(text),
  });
}

/** [first, ..., end - 1] */
export function numbers(first: number, end: number): number[] {
  return Array.from({ length: end - first }, (_, i) => first + i);
}

export interface ModelFiles {
  dataset: Dataset;
  out: string;
  /** Point sets whose accuracy is wanted. */
  splits: Record<string, Int32Array>;
}

export interface MakeModels extends ModelFiles {
  engine: Engine;
  net: NetSpec;
  models: { first: number; end: number };
  /** Jobs of models [first, end). */
  jobs: (first: number, end: number) => Promise<TrainJob[]>;
  /** What decides the numbers of a model; only the same resumes it. */
  command: (model: number) => ModelCommand;
  label: string;
  threads: number;
  talk: Talk;
}

export interface ModelSummary extends MadeModel {
  /** Share of right predictions on each split, 0..1. */
  accuracy: Record<string, number>;
}

/**
 * Trains the models that are not in OUT yet, and writes OUT/model-00000.safetensors, ... as they come, at the end OUT/logits.npy (models,
 * points, classes) and OUT/margins.npy (models, points). A diverged model has a status and NaN outputs; its neighbours are as without it.
 *
 * @example
 * const dataset = await loadDataset({ name: 'synthetic' });
 * const net = buildNet({ name: 'smallcnn', width: 2, input: dataset, numClasses: dataset.numClasses });
 * const all = Int32Array.from({ length: dataset.numTrain }, (_, example) => example);
 * const jobs = (first: number, end: number) =>
 *   Promise.resolve(Array.from({ length: end - first }, (_, k) => trainingJob(recipe, 0, first + k, all)));
 * const request = { dataset, net, engine: createEngine({ engine: 'native' }), out: 'models', splits: { train: all }, threads: 0 };
 * await makeModels({ ...request, models: { first: 0, end: 2 }, jobs, command: (model) => ({ recipe, model }), label: 'mine', talk: {} });
 *
 * @throws LETHE_MODELS_CHANGED (exit code 2), LETHE_DISK_FULL, LETHE_FILE_UNWRITABLE (exit code 4), LETHE_TASK_ABORTED (75)
 */
export async function makeModels(request: MakeModels): Promise<ModelSummary[]> {
  const { models, out } = request;
  return fillModelFolder(out, { models, command: commandOfAll(request), checkpoints: true }, () => makeMissing(request));
}

async function makeMissing(request: MakeModels): Promise<ModelSummary[]> {
  const { dataset, models } = request;
  const rowSize = (dataset.numTrain + dataset.numValidation) * dataset.numClasses;
  const logits = new Float32Array((models.end - models.first) * rowSize); // (models, points, classes)
  const rowsOf = (model: number, rows: Float32Array): void => {
    logits.set(rows, (model - models.first) * rowSize);
  };
  const made = await findFinished(request, rowsOf);
  if (made.size > 0) request.talk.note?.(`${request.label}: resuming, ${made.size} of ${models.end - models.first} models are finished`);
  await trainMissing(request, made, rowsOf);
  const inOrder = numbers(models.first, models.end).map((model) => made.get(model)!);
  return writeOutputs(request, inOrder, logits);
}

/** Commands differ by model where each is trained on examples of its own. */
function commandOfAll({ models, command }: MakeModels): ModelCommand {
  const [first, ...others] = numbers(models.first, models.end).map((model) => JSON.stringify(command(model)));
  const differ = others.some((other) => other !== first);
  return { ...command(models.first), ...(differ ? { commands: sha256([first, ...others].join('\n')) } : {}) };
}

/** `logits`: (models, points, classes) of `made`, in order. */
export async function writeOutputs({ dataset, out, splits }: ModelFiles, made: MadeModel[], logits: Float32Array): Promise<ModelSummary[]> {
  const { labels, numClasses } = dataset;
  const { margins, predicted } = await nativeMargins({ logits, labels, numClasses });
  await writeNpy(path.join(out, modelLayout.logits), [made.length, labels.length, numClasses], logits);
  await writeNpy(path.join(out, 'margins.npy'), [made.length, labels.length], margins);
  return made.map((model, row) => ({
    ...model,
    accuracy: accuracies(predicted.subarray(row * labels.length, (row + 1) * labels.length), labels, splits),
  }));
}

type TakeRows = (model: number, rows: Float32Array) => void;

/** Models that an earlier session has finished; their logits are computed again from their checkpoints. */
async function findFinished(request: MakeModels, takeRows: TakeRows): Promise<Map<number, MadeModel>> {
  const { engine, net, dataset, models, out, command, threads, talk } = request;
  const options = { threads, ...(talk.signal ? { signal: talk.signal } : {}) };
  const layout = engine.parameters(net);
  const points = allPoints(dataset);
  const rowSize = points.length * dataset.numClasses;
  const lanes = Number(engine.describe()['threads']);
  const found = new Map<number, MadeModel>();
  for (let at = models.first; at < models.end; at += lanes) {
    if (talk.signal) requireRunning(talk.signal);
    const several = numbers(at, Math.min(at + lanes, models.end));
    const finished = (await Promise.all(several.map((model) => readFinishedModel(out, model, layout, command(model))))).filter(isDefined);
    const trained = finished.filter(({ made }) => made.status === 'trained');
    const parameters = trained.map((model) => model.parameters);
    const rows = trained.length > 0 ? await engine.forwardMany(net, dataset, parameters, points, options) : undefined;
    for (const [i, { made }] of trained.entries()) takeRows(made.model, rows!.subarray(i * rowSize, (i + 1) * rowSize));
    for (const { made } of finished) {
      found.set(made.model, made);
      if (made.status === 'diverged') takeRows(made.model, new Float32Array(rowSize).fill(NaN));
    }
  }
  return found;
}

function isDefined<T>(value: T | undefined): value is T {
  return value !== undefined;
}

async function trainMissing(request: MakeModels, made: Map<number, MadeModel>, takeRows: TakeRows): Promise<void> {
  const { engine, net, dataset, models, out, threads, talk, label } = request;
  const layout = engine.parameters(net);
  const metadata = factsMetadata(net, dataset);
  const evalPoints = allPoints(dataset);
  const missing = numbers(models.first, models.end).filter((model) => !made.has(model));
  const lanes = Number(engine.describe()['threads']);
  const progress = startProgress(talk, label, 'images');
  let [size, images, trained] = [lanes, 0, 0];
  try {
    while (trained < missing.length) {
      const first = missing[trained]!;
      const wanted = missing.slice(trained, trained + size);
      const count = wanted.findIndex((model, i) => model !== first + i);
      const end = first + (count < 0 ? wanted.length : count);
      const left = missing.length - trained;
      const onProgress = ({ done, total }: Progress): void => {
        const all = images + (total * left) / (end - first); // models cost about the same
        progress.update(images + done, all, `${made.size} of ${models.end - models.first} models`);
      };
      const started = performance.now();
      const jobs = await request.jobs(first, end);
      const results = await engine.trainMany(
        net,
        dataset,
        jobs,
        { evalPoints, evalEpochs: [jobs[0]!.epochs], parameters: true },
        { onProgress, threads, ...(talk.signal ? { signal: talk.signal } : {}) },
      );
      for (const [i, { status, loss, gradientImages, logits, parameters }] of results.entries()) {
        const model = first + i;
        takeRows(model, logits);
        const finished = { made: { model, status, loss, gradientImages }, parameters: parameters! };
        await publishModel(out, finished, layout, request.command(model), metadata);
        made.set(model, finished.made);
        images += gradientImages;
      }
      trained += results.length;
      size = callSize((performance.now() - started) / 1000 / Math.ceil((end - first) / lanes), lanes);
    }
  } finally {
    progress.stop();
  }
}

/** `waveSeconds`: what a model on every lane took. */
function callSize(waveSeconds: number, lanes: number): number {
  const waves = Math.max(1, Math.floor(secondsPerCall / Math.max(waveSeconds, 1e-3)));
  return Math.max(lanes, Math.min(waves * lanes, maxModelsPerCall));
}

function allPoints({ numTrain, numValidation }: Dataset): Int32Array {
  return Int32Array.from({ length: numTrain + numValidation }, (_, point) => point);
}

/** `predicted`: (points) */
function accuracies(predicted: Uint8Array, labels: Int32Array, splits: Record<string, Int32Array>): Record<string, number> {
  return Object.fromEntries(
    Object.entries(splits).map(([name, points]) => [
      name,
      points.reduce((right, point) => right + (predicted[point] === labels[point] ? 1 : 0), 0) / points.length,
    ]),
  );
}

/** What is on disk stays: the outputs of a diverged model are NaN. @throws LETHE_MODELS_DIVERGED (exit code 1) when none has trained */
export function requireSomeTrained(summaries: ModelSummary[], action: string): void {
  if (summaries.some(({ status }) => status === 'trained')) return;
  throw new LetheError('LETHE_MODELS_DIVERGED', summaries.length === 1 ? 'the model diverged' : `all ${summaries.length} models diverged`, {
    expected: 'a finite loss',
    received: 'a loss, logits or parameters that became infinite or NaN in training',
    action,
    exitCode: ExitCode.taskFailed,
  });
}

/** For people: one line a model would be too much, so means over the models that trained. */
export function describeModels(summaries: ModelSummary[]): string {
  const trained = summaries.filter(({ status }) => status === 'trained');
  const names = Object.keys(summaries[0]?.accuracy ?? {});
  const means = names.map((name) => {
    const mean = trained.reduce((sum, { accuracy }) => sum + accuracy[name]!, 0) / trained.length;
    return `${name} accuracy ${(100 * mean).toFixed(1)} %`;
  });
  const diverged = summaries.length - trained.length;
  return [`${trained.length} models`, ...(trained.length > 0 ? means : []), ...(diverged > 0 ? [`${diverged} diverged`] : [])].join(', ');
}
