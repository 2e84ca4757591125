/** What a run folder holds, as NumPy files and CSV tables. */
import { writeDenseDatamodels } from '../datamodels/denseDatamodels.js';
import path from 'node:path';
import { requireRunning } from '../errors.js';
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
import type { Datamodels, MethodSetting } from '../types.js';
import { type ModelGroup, modelGroups } from './exportGroups.js';
import { type RunView, viewRun } from './session.js';
import type { Talk } from './talk.js';

export const npyParts = ['masks', 'outputs', 'originals', 'oracles', 'unlearned', 'datamodels'] as const;
export type NpyPart = (typeof npyParts)[number];

export interface ExportOptions extends Omit<Talk, 'progress'> {
  /** Where the data set lies, for a run of an earlier version only. */
  data?: string;
}

export interface ExportNpyOptions extends ExportOptions {
  /** Default: masks and outputs. */
  parts?: readonly NpyPart[];
  /** Of unlearned models and oracles also the settings and lengths that were not chosen, a folder each. */
  allSettings?: boolean;
}

export interface ExportedNpy {
  /** In `out`. */
  files: string[];
  /** Of folders of unlearned models. */
  settings: { folder: string; setting: MethodSetting }[];
}

/**
 * What a run folder holds as NumPy files: masks.npy (models, train) bool, labels.npy (points), and a folder a group of models with models.npy
 * (rows), margins.npy (rows, points) and, where the run keeps them, logits.npy (rows, points, classes).
 *
 * @example
 * const { files } = await exportNpy('runs/quickstart', 'arrays', { parts: ['masks', 'originals'] });
 * console.log(files.join('\n'));
 *
 * @throws LETHE_OUT_TAKEN (exit code 2), LETHE_ARTEFACT_MISSING, LETHE_ARTEFACT_DAMAGED (3), LETHE_DISK_FULL (4), LETHE_TASK_ABORTED (75)
 */
export async function exportNpy(root: string, out: string, options: ExportNpyOptions = {}): Promise<ExportedNpy> {
  const view = await viewRun(root, options);
  return fillFromRun(view, out, () => writeNpyFiles(view, out, options));
}

async function writeNpyFiles(
  view: RunView,
  out: string,
  { parts = ['masks', 'outputs'], allSettings = false, ...talk }: ExportNpyOptions,
): Promise<ExportedNpy> {
  const files: string[] = [];
  const { groups, unchosen } = await modelGroups(view, { parts, allSettings });
  if (unchosen.length > 0) {
    talk.note?.(`export: nothing is chosen yet of ${unchosen.join(', ')}: finish the run, or take every setting with --all-settings`);
  }
  if (parts.includes('masks')) {
    const masks = readMasks(await view.run.read(layout.masks));
    await writeNpy(path.join(out, 'masks.npy'), [masks.numModels, masks.numTrain], unpackMasks(masks), { bool: true });
    files.push('masks.npy');
  }
  const { labels, numTrain, numClasses } = view.dataset;
  await writeNpy(path.join(out, 'labels.npy'), [labels.length], labels);
  files.push('labels.npy');
  for (const group of groups) for (const file of await writeGroup(view, group, out, talk)) files.push(file);
  if (parts.includes('datamodels')) {
    const folder = path.join(out, 'datamodels');
    await writeDenseDatamodels(folder, { batches: datamodels(view), numTargets: labels.length * numClasses, numTrain, ...talk });
    const rows = await writeMaskRows(folder, readMasks(await view.run.read(layout.masks)));
    for (const name of ['weights.npy', 'bias.npy', 'lambda.npy', 'gap.npy', rows]) files.push(path.posix.join('datamodels', name));
  }
  return { files, settings: groups.flatMap(({ folder, setting }) => (setting ? [{ folder, setting }] : [])) };
}

/**
 * Scores and summaries of datamodels of a finished run as CSV tables: klom.csv, accuracy.csv, lds.csv, datamodels.csv. The names of the files.
 *
 * @example
 * console.log(await exportCsv('runs/quickstart', 'tables'));
 *
 * @throws as exportNpy()
 */
export async function exportCsv(root: string, out: string, options: ExportOptions = {}): Promise<string[]> {
  const view = await viewRun(root, options);
  return fillFromRun(view, out, () => writeCsvFiles(view, out));
}

async function writeCsvFiles(view: RunView, out: string): Promise<string[]> {
  const { run, plan, dataset, engine } = view;
  const data = await collectReport(run, plan, dataset, engine);
  const ldsColumns = ['estimator', 'numModels', 'points', 'mean', 'median', 'low', 'high'] as const;
  const lds = data.lds.map((point) => ldsColumns.map((column): CsvCell => point[column]));
  const tables: Record<string, string> = {
    'klom.csv': klomCsv(data),
    'accuracy.csv': accuracyCsv(data),
    'lds.csv': csv(ldsColumns, lds),
    ...(plan.subsetModels.count > 0 ? { 'datamodels.csv': await datamodelsCsv(view) } : {}),
  };
  for (const [name, text] of Object.entries(tables)) await publishFile(path.join(out, name), Buffer.from(text));
  return Object.keys(tables);
}

/** All files of a folder are of one run. @throws LETHE_OUT_TAKEN (exit code 2) */
async function fillFromRun<Made>({ run }: RunView, out: string, work: () => Promise<Made>): Promise<Made> {
  const identity = (await run.isDone(layout.identity)) ? sha256(await run.read(layout.identity)) : undefined;
  return fillFolder(out, { planHash: run.planHash, run: identity }, work);
}

/**
 * Writes models.npy (rows), margins.npy (rows, points), where some models diverged diverged.npy (rows, bool) and, where the run keeps
 * them, logits.npy (rows, points, classes); one shard in memory at a time.
 */
async function writeGroup(
  { run }: RunView,
  { folder, shards, epoch }: ModelGroup,
  out: string,
  { note, signal }: Pick<ExportOptions, 'note' | 'signal'>,
): Promise<string[]> {
  const read = async (shard: string) => {
    requireRunning(signal);
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
    note?.(`${folder}: ${of} rows are of models that diverged, and NaN; diverged.npy tells which`);
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
