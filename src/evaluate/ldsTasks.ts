/** The LDS curve of a plan as a task. */
import { comparedAttributors } from '../attributors/planned.js';
import type { Stage, Task } from '../jobs/task.js';
import { decodeFloats } from '../store/contents/npyArtefact.js';
import { encodeJson } from '../store/disk/json.js';
import { layout } from '../store/folders/layout.js';
import { outputColumns, releaseOutputs, shareOutputs } from '../store/folders/outputColumns.js';
import type { LdsPoint, LdsScores, Plan } from '../types.js';
import { lds } from './lds.js';
import { divergedModels, smallTask } from './outputs.js';

/** Spearman correlation of predictions and truth on held-out masks, for each fit of the curve (Figure G.6). */
export function ldsStage(plan: Plan, split: { firstHeldOut: number; heldOut: number; numModels: number[] }): Stage {
  const artefact = layout.ldsScores;
  const task: Task = {
    ...smallTask(artefact, 'LDS'),
    async produce(context) {
      const { numTrain, numValidation } = context.dataset;
      const numPoints = numTrain + numValidation;
      const columns = await outputColumns(context.run, context);
      const { trained, numModels: all } = columns;
      const values = await columns.read('margins', { first: 0, end: numPoints });
      const heldOut = trained.filter((model) => model >= split.firstHeldOut);
      const actual = values.subarray((trained.length - heldOut.length) * numPoints);
      const points: LdsPoint[] = [];
      for (const { name: estimator } of comparedAttributors(plan)) {
        for (const numModels of split.numModels) {
          const stored = decodeFloats(await context.run.read(layout.ldsPredictions(estimator, numModels)));
          const predicted = selectPredictions(
            stored,
            heldOut.map((model) => model - split.firstHeldOut),
            numPoints,
          );
          const reason = noScore(trained.filter((model) => model < numModels).length, heldOut.length);
          for (const [name, first, end] of [
            ['train', 0, numTrain],
            ['validation', numTrain, numPoints],
          ] as const) {
            const input = { predicted, actual, numModels: heldOut.length, numPoints };
            const score = await lds(input, { first, end, seed: plan.seed }, context);
            const { mean, median, low, high } = score;
            points.push({ estimator, numModels, points: name, mean, median, low, high, ...(reason === undefined ? {} : { reason }) });
          }
        }
      }
      const lost = new Set(trained);
      const diverged = Array.from({ length: all }, (_, model) => model).filter((model) => !lost.has(model));
      const content: LdsScores = { lds: points, ...divergedModels([{ group: 'subset models', count: all, models: diverged }]) };
      return [{ path: artefact, content: encodeJson(content) }];
    },
  };
  return {
    name: 'LDS',
    tasks: [task],
    share: ({ run, signal }) => shareOutputs(run, signal ? { signal } : {}),
    end: ({ run }) => releaseOutputs(run), // the last stage that needs them
  };
}

/** Rows of (held-out models, points). */
function selectPredictions(predicted: Float32Array, rows: Int32Array, numPoints: number): Float32Array {
  if (rows.length * numPoints === predicted.length) return predicted;
  const selected = new Float32Array(rows.length * numPoints);
  rows.forEach((row, k) => {
    selected.set(predicted.subarray(row * numPoints, (row + 1) * numPoints), k * numPoints);
  });
  return selected;
}

function noScore(numFitted: number, numHeldOut: number): string | undefined {
  if (numFitted === 0) return 'every model of the fit diverged';
  return numHeldOut < 2 ? 'fewer than two held-out models trained' : undefined;
}
