/** Outputs of groups of models, read from the run folder; models that diverged are left out and named. */
import { splitPoints } from '../data/indices.js';
import { ExitCode, LetheError } from '../errors.js';
import { shardRanges } from '../jobs/shards.js';
import type { Task, TaskContext } from '../jobs/task.js';
import { decodeIndices } from '../store/contents/npyArtefact.js';
import { layout } from '../store/folders/layout.js';
import { isTrained, readOutputs, type StoredOutputs } from '../store/contents/outputs.js';
import type { DivergedModels, Plan, SplitName } from '../types.js';

/** Of the models of a group that trained. */
export interface Outputs {
  /** (models) places in the group, ascending */
  models: number[];
  /** (models, points) */
  margins: Float32Array;
  /** (models, points) */
  predicted: Uint8Array;
  /** Places of the others, ascending: they have no outputs. */
  diverged: number[];
}

export interface OutputGroup {
  path: (shard: number) => string;
  /** Models of the group. */
  count: number;
  epoch: number;
  /** Outputs of the first `used` only; absent: of all. */
  used?: number;
}

export function numPointsOf({ dataset }: Pick<TaskContext, 'dataset'>): number {
  return dataset.numTrain + dataset.numValidation;
}

export async function groupOutputs(context: TaskContext, { path, count, epoch, used = count }: OutputGroup): Promise<Outputs> {
  const { modelsPerShard } = context.plan.subsetModels;
  const numPoints = numPointsOf(context);
  const all = emptyOutputs(used, numPoints);
  for (const { shard, first } of shardRanges(count, modelsPerShard)) {
    addRows(all, readOutputs(await context.run.read(path(shard))), { epoch, first, count, used });
  }
  return fitted(all, numPoints);
}

/** Of a file that holds the whole group. */
export function outputsAt(outputs: StoredOutputs, epoch: number): Outputs {
  const all = emptyOutputs(outputs.numRows, outputs.numPoints);
  addRows(all, outputs, { epoch, first: 0, count: outputs.numRows, used: outputs.numRows });
  return fitted(all, outputs.numPoints);
}

/** Fully retrained models: of all that the plan trains, or outputs of the first `used` only. */
export function oracleOutputs(context: TaskContext, forgetSet: string, role: 'scored' | 'matched', used?: number): Promise<Outputs> {
  const { oracles, recipe } = context.plan;
  const path = (shard: number): string => layout.oracles(forgetSet, role, shard);
  return groupOutputs(context, { path, count: oracles[role], epoch: recipe.epochs, ...(used === undefined ? {} : { used }) });
}

/** Models of these rows; those that diverged stay named. */
export function takeRows({ models, margins, predicted, diverged }: Outputs, rows: readonly number[], numPoints: number): Outputs {
  const taken = { ...emptyOutputs(rows.length, numPoints), models: rows.map((row) => models[row]!), diverged };
  rows.forEach((row, i) => {
    taken.margins.set(margins.subarray(row * numPoints, (row + 1) * numPoints), i * numPoints);
    taken.predicted.set(predicted.subarray(row * numPoints, (row + 1) * numPoints), i * numPoints);
  });
  return taken;
}

/** Only those groups of which some diverged; empty where none has. */
export function divergedModels(groups: readonly DivergedModels[]): { diverged?: DivergedModels[] } {
  const diverged = groups.filter(({ models }) => models.length > 0);
  return diverged.length > 0 ? { diverged } : {};
}

export function allDiverged({ recipe }: Plan, what: string): LetheError {
  return new LetheError('LETHE_MODELS_DIVERGED', `all ${what} diverged`, {
    expected: 'models that train',
    action: `Lower recipe.schedule.learningRate (${recipe.schedule.learningRate}), and run the changed plan in another folder.`,
    exitCode: ExitCode.taskFailed,
  });
}

function emptyOutputs(count: number, numPoints: number): Outputs {
  return { models: [], margins: new Float32Array(count * numPoints), predicted: new Uint8Array(count * numPoints), diverged: [] };
}

/** `first`: place of the file's first model in the group. */
function addRows(all: Outputs, outputs: StoredOutputs, group: { epoch: number; first: number; count: number; used: number }): void {
  const { snapshots, models, numPoints, numRows } = outputs;
  for (let row = 0; row < numRows; row++) {
    const place = group.first + models[row]! - models[0]!;
    if (snapshots![row] !== group.epoch || place >= group.count) continue;
    if (!isTrained(outputs, row)) {
      all.diverged.push(place);
    } else if (place < group.used) {
      all.margins.set(outputs.margins!.row(row), all.models.length * numPoints);
      all.predicted.set(outputs.predicted!.row(row), all.models.length * numPoints);
      all.models.push(place);
    }
  }
}

function fitted(all: Outputs, numPoints: number): Outputs {
  const filled = all.models.length * numPoints;
  return { ...all, margins: all.margins.subarray(0, filled), predicted: all.predicted.subarray(0, filled) };
}

export async function pointSplits(context: TaskContext, forgetSet: string): Promise<Record<SplitName, Int32Array>> {
  return splitPoints(context.dataset, decodeIndices(await context.run.read(layout.forgetSet(forgetSet))));
}

export function smallTask(artefact: string, label: string): Pick<Task, 'id' | 'label' | 'artefacts' | 'cost' | 'models' | 'bytes'> {
  return { id: artefact, label, artefacts: [artefact], cost: 100, models: 0, bytes: 100_000 };
}
