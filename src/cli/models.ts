/** What verbs that make models share: which models, how they are trained in groups, and the files they become. */
import path from 'node:path';
import { LetheError } from '../errors.js';
import { nativeMargins } from '../native/margins.js';
import { writeCheckpoint } from '../store/checkpoint.js';
import { writeNpy } from '../store/npy.js';
import type { Dataset, Engine, JobStatus, NetSpec, TrainJob } from '../types.js';
import { createProgress } from './common.js';

/** Models of one engine call: enough to keep every core busy, few enough to hold their logits twice. */
const modelsPerCall = 64;

/**
 * "4" is models 0 to 3, "4-7" is models 4 to 7.
 * @throws LETHE_MODELS_RANGE
 */
export function modelRange(text: string, available = 2 ** 24): { first: number; end: number } {
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
  /** Written into every checkpoint. */
  metadata: Record<string, string>;
  label: string;
  threads: number;
  signal: AbortSignal;
}

interface MadeModel {
  model: number;
  status: JobStatus;
  /** Mean loss of the last epoch; absent when nothing was trained. */
  loss?: number;
  gradientImages: number;
}

export interface ModelSummary extends MadeModel {
  /** Share of right predictions on each split, 0..1. */
  accuracy: Record<string, number>;
}

/**
 * Trains the models and writes OUT/model-00000.safetensors, ..., OUT/logits.npy (models, points, classes) and OUT/margins.npy
 * (models, points). A diverged model has a status and NaN outputs; its neighbours are as without it.
 */
export async function makeModels(request: MakeModels): Promise<ModelSummary[]> {
  const { dataset, models } = request;
  const numPoints = dataset.numTrain + dataset.numValidation;
  const logits = new Float32Array((models.end - models.first) * numPoints * dataset.numClasses); // (models, points, classes)
  return writeOutputs(request, await trainInto(logits, request), logits);
}

/** `logits`: (models, points, classes) of `made`, in order. */
export async function writeOutputs({ dataset, out, splits }: ModelFiles, made: MadeModel[], logits: Float32Array): Promise<ModelSummary[]> {
  const { labels, numClasses } = dataset;
  const { margins, predicted } = await nativeMargins({ logits, labels, numClasses });
  await writeNpy(path.join(out, 'logits.npy'), [made.length, labels.length, numClasses], logits);
  await writeNpy(path.join(out, 'margins.npy'), [made.length, labels.length], margins);
  return made.map((model, row) => ({
    ...model,
    accuracy: accuracies(predicted.subarray(row * labels.length, (row + 1) * labels.length), labels, splits),
  }));
}

async function trainInto(logits: Float32Array, request: MakeModels): Promise<MadeModel[]> {
  const { engine, net, dataset, models, out, metadata, threads, signal } = request;
  const numPoints = dataset.numTrain + dataset.numValidation;
  const evalPoints = Int32Array.from({ length: numPoints }, (_, point) => point);
  const layout = engine.parameters(net);
  const made: MadeModel[] = [];
  for (let at = models.first; at < models.end; at += modelsPerCall) {
    const end = Math.min(at + modelsPerCall, models.end);
    const jobs = await request.jobs(at, end);
    const progress = createProgress(`${request.label} ${at}-${end - 1}`, 'images');
    const onProgress = ({ done, total }: { done: number; total: number }) => {
      progress.update(done, total);
    };
    const evalEpochs = [jobs[0]!.epochs];
    const results = await engine
      .trainMany(net, dataset, jobs, { evalPoints, evalEpochs, parameters: true }, { onProgress, signal, threads })
      .finally(() => {
        progress.stop();
      });
    for (const [i, { status, loss, gradientImages, logits: rows, parameters }] of results.entries()) {
      const model = at + i;
      logits.set(rows, (model - models.first) * numPoints * dataset.numClasses);
      await writeCheckpoint(checkpointFile(out, model), layout, parameters!, { ...metadata, model: String(model), status });
      made.push({ model, status, loss, gradientImages });
    }
  }
  return made;
}

function checkpointFile(out: string, model: number): string {
  return path.join(out, `model-${String(model).padStart(5, '0')}.safetensors`);
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
