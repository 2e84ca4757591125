/** The LDS curve of a plan as a task. */
import { comparedAttributors } from '../attributors/planned.js';
import type { Stage, Task, TaskContext } from '../jobs/task.js';
import { decodeFloats } from '../store/contents/npyArtefact.js';
import { encodeJson } from '../store/disk/json.js';
import { layout } from '../store/folders/layout.js';
import { outputColumns, releaseOutputs, shareOutputs } from '../store/folders/outputColumns.js';
import type { DivergedModels, LdsCeiling, LdsPoint, LdsScores, Plan } from '../types.js';
import { lds } from './lds.js';
import { ldsCeiling } from './ldsCeiling.js';
import { divergedModels, groupOutputs, numPointsOf, smallTask } from './outputs.js';

type Split = { firstHeldOut: number; heldOut: number; numModels: number[] };

/** Of models that no fit has seen. */
interface HeldOut {
  /** (models) numbers among the held-out ones, ascending */
  models: Int32Array;
  /** (models, points) */
  margins: Float32Array;
}

/** Spearman correlation of predictions and truth on held-out masks, for each fit of the curve (Figure G.6). */
export function ldsStage(plan: Plan, split: Split): Stage {
  const artefact = layout.ldsScores;
  const task: Task = {
    ...smallTask(artefact, 'LDS'),
    async produce(context) {
      const numPoints = numPointsOf(context);
      const columns = await outputColumns(context.run, context);
      const { trained, numModels: all } = columns;
      const values = await columns.read('margins', { first: 0, end: numPoints });
      const heldOut = trained.filter((model) => model >= split.firstHeldOut);
      const actual = values.subarray((trained.length - heldOut.length) * numPoints);
      const models = heldOut.map((model) => model - split.firstHeldOut);
      const points: LdsPoint[] = [];
      for (const { name: estimator } of comparedAttributors(plan)) {
        for (const numModels of split.numModels) {
          const stored = decodeFloats(await context.run.read(layout.ldsPredictions(estimator, numModels)));
          const predicted = selectRows(stored, models, numPoints);
          const reason = noScore(trained.filter((model) => model < numModels).length, heldOut.length);
          for (const { name, first, end } of pointKinds(context)) {
            const input = { predicted, actual, numModels: heldOut.length, numPoints };
            const score = await lds(input, { first, end, seed: plan.seed }, context);
            const { mean, median, low, high } = score;
            points.push({ estimator, numModels, points: name, mean, median, low, high, ...(reason === undefined ? {} : { reason }) });
          }
        }
      }
      const lost = new Set(trained);
      const diverged = Array.from({ length: all }, (_, model) => model).filter((model) => !lost.has(model));
      const again = plan.lds.ceiling ? await ceilings(context, split, { models, margins: actual }) : undefined;
      const content: LdsScores = {
        lds: points,
        ...(again ? { ceilings: again.ceilings } : {}),
        ...divergedModels([{ group: 'subset models', count: all, models: diverged }, ...(again ? [again.diverged] : [])]),
      };
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

/** From the second models of the held-out masks, where both trained. */
async function ceilings(
  context: TaskContext,
  { heldOut }: Split,
  first: HeldOut,
): Promise<{ ceilings: LdsCeiling[]; diverged: DivergedModels }> {
  const { plan } = context;
  const numPoints = numPointsOf(context);
  const second = await groupOutputs(context, { path: layout.repeatedOutputs, count: heldOut, epoch: plan.recipe.epochs });
  const both = [...first.models].filter((model) => second.models.includes(model));
  const rows = (models: { indexOf: (model: number) => number }): Int32Array => Int32Array.from(both, (model) => models.indexOf(model));
  const input = {
    predicted: selectRows(second.margins, rows(second.models), numPoints),
    actual: selectRows(first.margins, rows(first.models), numPoints),
    numModels: both.length,
    numPoints,
  };
  const found: LdsCeiling[] = [];
  for (const { name, ...points } of pointKinds(context)) {
    found.push({ points: name, ...(await ldsCeiling(input, { ...points, seed: plan.seed }, context)) });
  }
  return { ceilings: found, diverged: { group: 'second models of held-out masks', count: heldOut, models: second.diverged } };
}

function pointKinds({ dataset }: TaskContext): { name: LdsPoint['points']; first: number; end: number }[] {
  const { numTrain, numValidation } = dataset;
  return [
    { name: 'train', first: 0, end: numTrain },
    { name: 'validation', first: numTrain, end: numTrain + numValidation },
  ];
}

/** Rows of (models, points). */
function selectRows(values: Float32Array, rows: Int32Array, numPoints: number): Float32Array {
  if (rows.length * numPoints === values.length) return values;
  const selected = new Float32Array(rows.length * numPoints);
  rows.forEach((row, k) => {
    selected.set(values.subarray(row * numPoints, (row + 1) * numPoints), k * numPoints);
  });
  return selected;
}

function noScore(numFitted: number, numHeldOut: number): string | undefined {
  if (numFitted === 0) return 'every model of the fit diverged';
  return numHeldOut < 2 ? 'fewer than two held-out models trained' : undefined;
}
