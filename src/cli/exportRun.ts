/** What a run folder holds, as NumPy files and CSV tables. */
import path from 'node:path';
import { unpackMasks } from '../data/masks.js';
import { logitBlocks } from '../datamodels/tasks.js';
import { collectReport } from '../report/collect.js';
import { csv, type CsvCell } from '../report/csv.js';
import { accuracyCsv, klomCsv } from '../report/tables.js';
import { fillFolder } from '../store/claim.js';
import { readDatamodels } from '../store/datamodels.js';
import { sha256 } from '../store/files.js';
import { layout } from '../store/layout.js';
import { readMasks } from '../store/masksFile.js';
import { writeNpy, writeNpyParts } from '../store/npy.js';
import { readOutputs } from '../store/outputs.js';
import { publishFile } from '../store/publish.js';
import { shardRanges } from '../train/jobs.js';
import type { Datamodels } from '../types.js';
import { emitJson, interruptSignal } from './common.js';
import { writeDenseDatamodels } from './denseDatamodels.js';
import { type RunView, viewRun } from './session.js';

interface RunVerbOptions {
  run: string;
  out: string;
  data?: string;
  json?: boolean;
}

export interface NpyVerbOptions extends RunVerbOptions {
  part: (typeof npyParts)[number][];
}

export const npyParts = ['masks', 'outputs', 'originals', 'oracles', 'unlearned', 'datamodels'] as const;

/** Models that lie in shards of their own; `folder` is where they go. */
interface ModelGroup {
  folder: string;
  shards: string[];
}

export async function exportNpyVerb(options: NpyVerbOptions): Promise<void> {
  const context = await viewRun(options.run, options.data);
  await fillFromRun(context, options.out, () => exportNpy(context, options));
}

async function exportNpy(context: RunView, options: NpyVerbOptions): Promise<void> {
  const { out, part } = options;
  const written: string[] = [];
  const groups = await modelGroups(context, part);
  if (part.includes('masks')) {
    const masks = readMasks(await context.run.read(layout.masks));
    await writeNpy(path.join(out, 'masks.npy'), [masks.numModels, masks.numTrain], unpackMasks(masks), { bool: true });
    written.push('masks.npy');
  }
  await writeNpy(path.join(out, 'labels.npy'), [context.dataset.labels.length], context.dataset.labels);
  written.push('labels.npy');
  for (const group of groups) written.push(...(await writeGroup(context, group, out)));
  if (part.includes('datamodels')) {
    const { numTrain, numClasses, labels } = context.dataset;
    const dense = { batches: datamodels(context), numTargets: labels.length * numClasses, numTrain, signal: interruptSignal() };
    await writeDenseDatamodels(path.join(out, 'datamodels'), dense);
    written.push(...['weights', 'bias', 'lambda', 'gap'].map((name) => path.posix.join('datamodels', `${name}.npy`)));
  }
  report(options, written);
}

export async function exportCsvVerb(options: RunVerbOptions): Promise<void> {
  const context = await viewRun(options.run, options.data);
  await fillFromRun(context, options.out, () => exportCsv(context, options));
}

async function exportCsv(context: RunView, options: RunVerbOptions): Promise<void> {
  const { run, plan, dataset, engine } = context;
  const data = await collectReport(run, plan, dataset, engine);
  const ldsColumns = ['estimator', 'numModels', 'points', 'mean', 'median', 'low', 'high'] as const;
  const lds = data.lds.map((point) => ldsColumns.map((column): CsvCell => point[column]));
  const tables: Record<string, string> = {
    'klom.csv': klomCsv(data),
    'accuracy.csv': accuracyCsv(data),
    'lds.csv': csv(ldsColumns, lds),
    ...(plan.subsetModels.count > 0 ? { 'datamodels.csv': await datamodelsCsv(context) } : {}),
  };
  for (const [name, text] of Object.entries(tables)) await publishFile(path.join(options.out, name), Buffer.from(text));
  report(options, Object.keys(tables));
}

/** All files of a folder are of one run. @throws LETHE_OUT_TAKEN (exit code 2) */
async function fillFromRun({ run }: RunView, out: string, work: () => Promise<void>): Promise<void> {
  const identity = (await run.isDone(layout.identity)) ? sha256(await run.read(layout.identity)) : undefined;
  await fillFolder(out, { planHash: run.planHash, run: identity }, work);
}

function report({ out, json }: RunVerbOptions, files: string[]): void {
  if (json) emitJson('export', { folder: out, files });
  else process.stdout.write(`${out}: ${files.join(', ')}\n`);
}

/** Every group of the wanted parts; of unlearned models those that the run has made. */
async function modelGroups({ plan, run }: RunView, parts: readonly string[]): Promise<ModelGroup[]> {
  const { modelsPerShard, count } = plan.subsetModels;
  const shardsOf = (models: number, place: (shard: number) => string) =>
    shardRanges(models, modelsPerShard).map(({ shard }) => place(shard));
  const groups: ModelGroup[] = [];
  if (parts.includes('outputs')) groups.push({ folder: 'outputs', shards: shardsOf(count, layout.subsetOutputs) });
  if (parts.includes('originals')) groups.push({ folder: 'originals', shards: shardsOf(plan.originals.count, layout.originals) });
  for (const { name } of plan.forgetSets) {
    for (const role of parts.includes('oracles') ? (['scored', 'matched'] as const) : []) {
      const shards = shardsOf(plan.oracles[role], (shard) => layout.oracles(name, role, shard));
      groups.push({ folder: `oracles-${name}-${role}`, shards });
    }
    for (const { method } of parts.includes('unlearned') ? plan.methods : []) {
      for (const which of await unlearnedRuns({ run }, name, method)) {
        const shards = shardsOf(plan.originals.count, (shard) => layout.unlearned(name, method, which, shard));
        groups.push({ folder: `unlearned-${name}-${method}-${which}`, shards });
      }
    }
  }
  return groups.filter(({ shards }) => shards.length > 0);
}

/** A tuned grid has one chosen run, another grid a run for each setting. */
async function unlearnedRuns({ run }: Pick<RunView, 'run'>, forgetSet: string, method: string): Promise<(number | 'chosen')[]> {
  if (await run.isDone(layout.unlearned(forgetSet, method, 'chosen', 0))) return ['chosen'];
  const runs: number[] = [];
  while (await run.isDone(layout.unlearned(forgetSet, method, runs.length, 0))) runs.push(runs.length);
  return runs;
}

/**
 * Writes models.npy (rows) and, where models were looked at several times, snapshots.npy (rows); margins.npy (rows, points) and, where
 * the run keeps them, logits.npy (rows, points, classes); one shard in memory at a time.
 */
async function writeGroup({ run }: RunView, { folder, shards }: ModelGroup, out: string): Promise<string[]> {
  const models: number[] = [];
  const snapshots: number[] = [];
  let sizes = { numPoints: 0, numClasses: 0, hasLogits: false };
  for (const shard of shards) {
    const outputs = readOutputs(await run.read(shard), shard);
    models.push(...outputs.models);
    snapshots.push(...(outputs.snapshots ?? []));
    sizes = { numPoints: outputs.numPoints, numClasses: outputs.numClasses, hasLogits: outputs.logits !== undefined };
  }
  const { numPoints, numClasses, hasLogits } = sizes;
  async function* rows(name: 'logits' | 'margins'): AsyncGenerator<Float32Array> {
    for (const shard of shards) yield* readOutputs(await run.read(shard), shard)[name]?.blocks ?? [];
  }
  const file = (name: string) => path.join(out, folder, `${name}.npy`);
  await writeNpy(file('models'), [models.length], Int32Array.from(models));
  const several = snapshots.length === models.length && new Set(snapshots).size > 1;
  if (several) await writeNpy(file('snapshots'), [models.length], Int32Array.from(snapshots));
  if (hasLogits) await writeNpyParts(file('logits'), [models.length, numPoints, numClasses], rows('logits'));
  await writeNpyParts(file('margins'), [models.length, numPoints], rows('margins'));
  return ['models', ...(several ? ['snapshots'] : []), ...(hasLogits ? ['logits'] : []), 'margins'].map((name) => `${folder}/${name}.npy`);
}

/** Datamodels of all logits, in the order of targets: point * classes + class. */
async function* datamodels({ run, dataset }: RunView): AsyncGenerator<Datamodels> {
  const sizes = { numTrain: dataset.numTrain, numPoints: dataset.labels.length, numClasses: dataset.numClasses };
  for (const { block } of logitBlocks(sizes)) yield readDatamodels(await run.read(layout.logitDatamodels(block)));
}

async function datamodelsCsv(context: RunView): Promise<string> {
  const { numClasses } = context.dataset;
  const rows: CsvCell[][] = [];
  for await (const { numTargets, bias, lambda, gap, status, rowStart } of datamodels(context)) {
    for (let k = 0; k < numTargets; k++) {
      const target = rows.length;
      const place = [target, Math.floor(target / numClasses), target % numClasses];
      rows.push([...place, bias[k]!, lambda[k]!, gap[k]!, status[k]!, rowStart[k + 1]! - rowStart[k]!]);
    }
  }
  return csv(['target', 'point', 'class', 'bias', 'lambda', 'gap', 'status', 'numNonzero'], rows);
}
