/** Datamodels of a plan as tasks: blocks of logit targets for DM-Direct and DMM, margin targets for principal components, LDS curves. */
import { selectRows } from '../data/masks.js';
import { ExitCode, LetheError } from '../errors.js';
import type { Stage, Task, TaskContext } from '../jobs/task.js';
import { encodeDatamodels } from '../store/datamodels.js';
import { layout } from '../store/layout.js';
import { ldsSplit } from '../store/ldsSplit.js';
import { readMasks } from '../store/masksFile.js';
import { encodeNpy } from '../store/npy.js';
import { datamodelInputs } from '../store/planInputs.js';
import { type OutputColumns, readOutputColumns } from '../store/outputColumns.js';
import type { FitOptions, Masks, Plan, RunOptions } from '../types.js';
import { fitDatamodels } from './fit.js';
import { predict } from './predict.js';

/** Targets of one fit task: bounds memory and is the unit of resuming. */
const targetsPerBlock = 2560;

export interface FitSizes {
  numTrain: number;
  numPoints: number;
  numClasses: number;
}

/** Points [first, end) of each logit block. */
export function logitBlocks(sizes: FitSizes): { block: number; first: number; end: number }[] {
  const pointsPerBlock = Math.max(1, Math.floor(targetsPerBlock / sizes.numClasses));
  const blocks = [];
  for (let first = 0; first < sizes.numPoints; first += pointsPerBlock) {
    blocks.push({ block: blocks.length, first, end: Math.min(first + pointsPerBlock, sizes.numPoints) });
  }
  return blocks;
}

/** One datamodel per point and class (logits), and one per train point's margin for the principal components. */
export function fitStage(plan: Plan, sizes: FitSizes): Stage {
  if (plan.subsetModels.count === 0) return { name: 'datamodels', tasks: [] };
  const tasks: Task[] = logitBlocks(sizes).map(({ block, first, end }) => {
    const artefact = layout.logitDatamodels(block);
    const label = `logit datamodels of points ${first}-${end - 1}`;
    return fitTask(plan, artefact, label, (end - first) * sizes.numClasses, ({ run }) =>
      readOutputColumns(run, allShards(plan), 'logits', first * sizes.numClasses, end * sizes.numClasses),
    );
  });
  tasks.push(
    fitTask(plan, layout.marginDatamodels, 'margin datamodels of train points', sizes.numTrain, ({ run }) =>
      readOutputColumns(run, allShards(plan), 'margins', 0, sizes.numTrain),
    ),
  );
  return { name: 'datamodels', tasks };
}

/**
 * Fits of every point's margin on the first k models, as predictions for held-out masks (LDS, Section 4.3 and Figure G.6).
 * The last models are held out: no fit of this stage sees them.
 */
export function ldsFitStage(plan: Plan, sizes: FitSizes): Stage {
  const split = ldsSplit(plan);
  const tasks = (['lasso', 'marginal'] as const).flatMap((estimator) =>
    split.numModels.map((numModels): Task => {
      const artefact = layout.ldsPredictions(estimator, numModels);
      const options: FitOptions = { ...plan.fit, estimator };
      return {
        id: artefact,
        label: `${estimator} on ${numModels} models for LDS`,
        artefacts: [artefact],
        cost: sizes.numPoints * fitCostPerTarget(options, numModels),
        models: 0,
        bytes: 4 * split.heldOut * sizes.numPoints,
        inputs: { lds: { numModels, firstHeldOut: split.firstHeldOut }, datamodels: datamodelInputs(plan, options) },
        async produce(context) {
          const masks = readMasks(await context.run.read(layout.masks));
          const margins = await readOutputColumns(context.run, allShards(plan), 'margins', 0, sizes.numPoints);
          const trained = margins.trained.filter((model) => model < numModels);
          const columns = { ...margins, trained, values: margins.values.subarray(0, trained.length * sizes.numPoints) };
          const heldOut = selectRows(masks, span(split.firstHeldOut, masks.numModels));
          const predicted =
            trained.length === 0
              ? new Float32Array(split.heldOut * sizes.numPoints).fill(NaN) // nothing to learn from
              : await predict(
                  await fitTrained(masks, columns, sizes.numPoints, options, unitProgress(context, this.cost)),
                  heldOut,
                  quiet(context),
                );
          return [{ path: artefact, content: encodeNpy([split.heldOut, sizes.numPoints], predicted), rows: split.heldOut }];
        },
      };
    }),
  );
  return { name: 'LDS fits', tasks };
}

function fitTask(
  plan: Plan,
  artefact: string,
  label: string,
  numTargets: number,
  targets: (context: TaskContext) => Promise<OutputColumns>,
): Task {
  return {
    id: artefact,
    label,
    artefacts: [artefact],
    cost: numTargets * fitCostPerTarget(plan.fit, plan.subsetModels.count),
    models: 0,
    bytes: numTargets * 8 * 64,
    inputs: { targets: artefact, datamodels: datamodelInputs(plan) },
    async produce(context) {
      const masks = readMasks(await context.run.read(layout.masks));
      const columns = await targets(context);
      requireSomeTrained(columns, plan);
      const fitted = await fitTrained(masks, columns, numTargets, plan.fit, unitProgress(context, this.cost));
      return [{ path: artefact, content: encodeDatamodels(fitted), rows: numTargets }];
    },
  };
}

/** Diverged models are left out of the design; where none has, this is the fit on all. `values`: (trained, numTargets). */
function fitTrained(masks: Masks, { trained, values }: OutputColumns, numTargets: number, options: FitOptions, run: RunOptions) {
  const all = trained.length === masks.numModels;
  const folds = options.folds === undefined ? {} : { folds: Math.max(2, Math.min(options.folds, trained.length)) };
  return fitDatamodels({ masks: all ? masks : selectRows(masks, trained), outputs: values, numTargets }, { ...options, ...folds }, run);
}

/** @throws LETHE_MODELS_DIVERGED (exit code 1) */
function requireSomeTrained({ trained, numModels }: OutputColumns, { recipe }: Plan): void {
  if (trained.length > 0) return;
  throw new LetheError('LETHE_MODELS_DIVERGED', `all ${numModels} subset models diverged`, {
    expected: 'subset models that train',
    received: 'losses, logits or parameters that became infinite or NaN',
    action: `Lower recipe.schedule.learningRate (${recipe.schedule.learningRate}), and run the changed plan in another folder.`,
    exitCode: ExitCode.taskFailed,
  });
}

/** Shard indices of the subset models. */
function allShards(plan: Plan): number[] {
  return Array.from({ length: Math.ceil(plan.subsetModels.count / plan.subsetModels.modelsPerShard) }, (_, shard) => shard);
}

/** In gradient images, so that one progress bar serves all stages: measured at width/8, a Lasso target costs about as much as this. */
function fitCostPerTarget(fit: FitOptions, numModels: number): number {
  return fit.estimator === 'lasso' ? (6 * numModels) / 1000 : numModels / 10000;
}

/** Fits report targets; a task reports in its own cost unit. */
function unitProgress(context: TaskContext, cost: number): TaskContext {
  const { onProgress } = context;
  if (!onProgress) return context;
  return {
    ...context,
    onProgress: ({ done, total }) => {
      onProgress({ done: (done / total) * cost, total: cost });
    },
  };
}

/** Predictions are instant beside their fit, whose progress must not begin anew. */
function quiet({ signal, threads = 0 }: TaskContext): RunOptions {
  return signal ? { signal, threads } : { threads };
}

/** [first, ..., end - 1] */
function span(first: number, end: number): number[] {
  return Array.from({ length: end - first }, (_, i) => first + i);
}
