/** What a run folder holds for unlearning: originals, datamodel shifts, matched oracles. */
import { retainIndices } from '../data/indices.js';
import { ExitCode, LetheError } from '../errors.js';
import { placeInShards, shardRanges } from '../jobs/shards.js';
import type { TaskContext } from '../jobs/task.js';
import { readDatamodels } from '../store/contents/datamodels.js';
import { layout } from '../store/folders/layout.js';
import { isTrained, readOutputs, type StoredOutputs } from '../store/contents/outputs.js';
import { firstTuningOriginal } from '../jobs/planCounts.js';
import type { RunFolder } from '../store/folders/run.js';
import { forgetShift } from './dmDirect.js';
import type { CalibratedScale, ForgetShift, UnlearnInput } from './method.js';

export interface ShiftSizes {
  numPoints: number;
  numClasses: number;
  /** First point of each block of logit datamodels. */
  logitBlocks: { block: number; first: number }[];
}

/** sum_{i in F} beta_i for every logit (Algorithm C.2) from datamodels of a run: (full or diagonal, points, classes). folder: PlannedAttributor. */
export async function computeShift(run: RunFolder, sizes: ShiftSizes, forget: Int32Array, folder?: string): Promise<Float32Array> {
  const size = sizes.numPoints * sizes.numClasses;
  const both = new Float32Array(2 * size);
  for (const { block, first } of sizes.logitBlocks) {
    const datamodels = readDatamodels(await run.read(layout.logitDatamodels(block, folder)));
    const firstTarget = first * sizes.numClasses;
    const shift = forgetShift({ datamodels, firstTarget, numClasses: sizes.numClasses, forget });
    both.set(shift.full, firstTarget);
    both.set(shift.diagonal, size + firstTarget);
  }
  return both;
}

/** The halves of what computeShift gives. */
export function shiftParts(both: Float32Array): ForgetShift {
  return { full: both.subarray(0, both.length / 2), diagonal: both.subarray(both.length / 2) };
}

export interface MatchedOracles {
  /** (points, classes) of each */
  rows: Float32Array[];
  /** (points, classes) */
  mean: Float32Array;
}

/** Fully retrained matched oracles of a forget set of the plan; those that diverged are left out. @throws LETHE_MODELS_DIVERGED (exit code 1) */
export async function readMatchedOracles({ plan, run }: Pick<TaskContext, 'plan' | 'run'>, forgetSet: string): Promise<MatchedOracles> {
  const rows: Float32Array[] = [];
  for (const { shard } of shardRanges(plan.oracles.matched, plan.subsetModels.modelsPerShard)) {
    const outputs = readOutputs(await run.read(layout.oracles(forgetSet, 'matched', shard)));
    outputs.snapshots!.forEach((epoch, row) => {
      if (epoch === plan.recipe.epochs && isTrained(outputs, row)) rows.push(outputs.logits!.row(row));
    });
  }
  if (rows.length === 0) {
    throw new LetheError('LETHE_MODELS_DIVERGED', `all ${plan.oracles.matched} matched oracles of ${forgetSet} diverged`, {
      expected: 'matched oracles that train',
      action: `Lower recipe.schedule.learningRate (${plan.recipe.schedule.learningRate}), and run the changed plan in another folder.`,
      exitCode: ExitCode.taskFailed,
    });
  }
  const mean = new Float32Array(rows[0]!.length);
  for (let i = 0; i < mean.length; i++) mean[i] = rows.reduce((sum, row) => sum + row[i]!, 0) / rows.length;
  return { rows, mean };
}

export interface InputRequest {
  forget: Int32Array;
  /** Originals [first, end), scored or tuning ones. */
  first: number;
  end: number;
  shift?: ForgetShift;
  calibratedScale?: CalibratedScale;
  /** Original k is matched to oracle k modulo their number. */
  oracles?: MatchedOracles;
}

/** One input for each original of the run. */
export async function readInputs(context: Pick<TaskContext, 'plan' | 'run' | 'dataset'>, request: InputRequest): Promise<UnlearnInput[]> {
  const { plan, run, dataset } = context;
  const { forget, shift, calibratedScale, oracles } = request;
  const retain = retainIndices(dataset.numTrain, forget);
  const inputs: UnlearnInput[] = [];
  let path = '';
  let originals: StoredOutputs | undefined;
  for (let model = request.first; model < request.end; model++) {
    const isTuning = model >= firstTuningOriginal;
    const place = isTuning ? model - firstTuningOriginal : model;
    const { shard, row } = placeInShards(place, plan.subsetModels.modelsPerShard);
    const here = isTuning ? layout.tuningOriginals(shard) : layout.originals(shard);
    if (here !== path) originals = readOutputs(await run.read(here));
    path = here;
    inputs.push({
      modelIndex: model,
      seed: plan.seed,
      numTrain: dataset.numTrain,
      numClasses: dataset.numClasses,
      forget,
      retain,
      labels: dataset.labels,
      ...(isTrained(originals!, row) ? {} : { originalDiverged: true }),
      originalParameters: originals!.parameters!.row(row),
      originalLogits: originals!.logits!.row(row),
      recipe: plan.recipe,
      ...(shift ? { shift } : {}),
      ...(calibratedScale ? { calibratedScale } : {}),
      ...(oracles ? { matchedOracleLogits: oracles.rows[model % oracles.rows.length]!, meanOracleLogits: oracles.mean } : {}),
    });
  }
  return inputs;
}
