/** What a run folder holds, as NumPy files and CSV tables. */
import { writeDenseDatamodels } from '../datamodels/denseDatamodels.js';
import path from 'node:path';
import { unpackMasks } from '../data/masks.js';
import { logitBlocks } from '../datamodels/tasks.js';
import { collectReport } from '../report/collect.js';
import { csv, type CsvCell } from '../report/csv.js';
import { accuracyCsv, klomCsv } from '../report/tables.js';
import { fillFolder } from '../store/folders/claim.js';
import { readDatamodels } from '../store/contents/datamodels.js';
import { sha256 } from '../store/disk/files.js';
import { layout } from '../store/folders/layout.js';
import { writeMaskRows } from '../store/folders/maskRows.js';
import { readMasks } from '../store/contents/masksFile.js';
import { writeNpy, writeNpyParts } from '../store/formats/npy.js';
import { isTrained, readOutputs } from '../store/contents/outputs.js';
import { publishFile } from '../store/disk/publish.js';
import type { Datamodels } from '../types.js';
import { emitJson, interruptSignal, say } from './common.js';
import { type ModelGroup, modelGroups } from './exportGroups.js';
import { type RunView, viewRun } from '../commands/session.js';

interface RunVerbOptions {
  run: string;
  out: string;
  data?: string;
  json?: boolean;
}

export interface NpyVerbOptions extends RunVerbOptions {
  part: (typeof npyParts)[number][];
  allSettings?: boolean;
}

export const npyParts = ['masks', 'outputs', 'originals', 'oracles', 'unlearned', 'datamodels'] as const;

export async function exportNpyVerb(options: NpyVerbOptions): Promise<void> {
  const context = await viewRun(options.run, { ...options, note: say });
  await fillFromRun(context, options.out, () => exportNpy(context, options));
}

async function exportNpy(context: RunView, options: NpyVerbOptions): Promise<void> {
  const { out, part } = options;
  const written: string[] = [];
  const { groups, unchosen } = await modelGroups(context, { parts: part, allSettings: options.allSettings ?? false });
  if (unchosen.length > 0) {
    say(`export: nothing is chosen yet of ${unchosen.join(', ')}: finish the run, or take every setting with --all-settings`);
  }
  if (part.includes('masks')) {
    const masks = readMasks(await context.run.read(layout.masks));
    await writeNpy(path.join(out, 'masks.npy'), [masks.numModels, masks.numTrain], unpackMasks(masks), { bool: true });
    written.push('masks.npy');
  }
  await writeNpy(path.join(out, 'labels.npy'), [context.dataset.labels.length], context.dataset.labels);
  written.push('labels.npy');
  for (const group of groups) for (const file of await writeGroup(context, group, out)) written.push(file);
  if (part.includes('datamodels')) {
    const { numTrain, numClasses, labels } = context.dataset;
    const dense = { batches: datamodels(context), numTargets: labels.length * numClasses, numTrain, signal: interruptSignal() };
    await writeDenseDatamodels(path.join(out, 'datamodels'), dense);
    const masks = readMasks(await context.run.read(layout.masks));
    const rows = await writeMaskRows(path.join(out, 'datamodels'), masks);
    for (const name of ['weights.npy', 'bias.npy', 'lambda.npy', 'gap.npy', rows]) written.push(path.posix.join('datamodels', name));
  }
  const settings = groups.flatMap(({ folder, setting }) => (setting ? [{ folder, setting }] : []));
  for (const { folder, setting } of settings) {
    const values = Object.entries(setting).map(([name, value]) => `${name} ${value}`);
    if (values.length > 0) say(`${folder}: ${values.join(', ')}`);
  }
  report(options, written, { settings });
}

export async function exportCsvVerb(options: RunVerbOptions): Promise<void> {
  const context = await viewRun(options.run, { ...options, note: say });
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

function report({ out, json }: RunVerbOptions, files: string[], facts: object = {}): void {
  if (json) emitJson('export', { folder: out, files, ...facts });
  else process.stdout.write(`${out}: ${files.join(', ')}\n`);
}

/**
 * Writes models.npy (rows), margins.npy (rows, points), where some models diverged diverged.npy (rows, bool) and, where the run keeps
 * them, logits.npy (rows, points, classes); one shard in memory at a time.
 */
async function writeGroup({ run }: RunView, { folder, shards, epoch }: ModelGroup, out: string): Promise<string[]> {
  const read = async (shard: string) => {
    const outputs = readOutputs(await run.read(shard), shard);
    const all = Array.from(outputs.models.keys());
    const { snapshots } = outputs;
    return { outputs, rows: epoch === undefined || !snapshots ? all : all.filter((row) => snapshots[row] === epoch) };
  };
  const models: number[] = [];
  const diverged: number[] = [];
  let sizes = { numPoints: 0, numClasses: 0, hasLogits: false };
  for (const shard of shards) {
    const { outputs, rows } = await read(shard);
    for (const row of rows) {
      models.push(outputs.models[row]!);
      diverged.push(isTrained(outputs, row) ? 0 : 1);
    }
    sizes = { numPoints: outputs.numPoints, numClasses: outputs.numClasses, hasLogits: outputs.logits !== undefined };
  }
  const { numPoints, numClasses, hasLogits } = sizes;
  async function* matrix(name: 'logits' | 'margins'): AsyncGenerator<Float32Array> {
    for (const shard of shards) {
      const { outputs, rows } = await read(shard);
      for (const row of rows) yield outputs[name]!.row(row);
    }
  }
  const file = (name: string) => path.join(out, folder, `${name}.npy`);
  await writeNpy(file('models'), [models.length], Int32Array.from(models));
  const some = diverged.includes(1);
  if (some) {
    await writeNpy(file('diverged'), [models.length], Uint8Array.from(diverged), { bool: true });
    const of = `${diverged.reduce((sum, flag) => sum + flag, 0)} of ${models.length}`;
    say(`${folder}: ${of} rows are of models that diverged, and NaN; diverged.npy tells which`);
  }
  if (hasLogits) await writeNpyParts(file('logits'), [models.length, numPoints, numClasses], matrix('logits'));
  await writeNpyParts(file('margins'), [models.length, numPoints], matrix('margins'));
  return ['models', ...(some ? ['diverged'] : []), ...(hasLogits ? ['logits'] : []), 'margins'].map((name) => `${folder}/${name}.npy`);
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
