/** Datamodels of a plan as tasks: blocks of logit targets for DM-Direct and DMM, margin targets for principal components, LDS curves. */
import { selectRows } from '../data/masks.js';
import { ExitCode, LetheError } from '../errors.js';
import type { Stage, Task, TaskContext } from '../jobs/task.js';
import { joinTargets } from '../store/contents/datamodelRows.js';
import { encodeDatamodels } from '../store/contents/datamodels.js';
import { decodeJson, encodeJson } from '../store/disk/json.js';
import { chooseDevice } from '../native/device.js';
import { layout } from '../store/folders/layout.js';
import { ldsSplit } from '../jobs/ldsSplit.js';
import { readMasks } from '../store/contents/masksFile.js';
import { encodeNpy } from '../store/formats/npy.js';
import { datamodelInputs } from '../jobs/planInputs.js';
import { type OutputColumns, outputColumns, type OutputField, pointsOfBand, shareOutputs } from '../store/folders/outputColumns.js';
import type { Datamodels, DatasetFacts, FitOptions, Masks, PenaltyChoice, Plan, RunOptions, TargetGroups } from '../types.js';
import { type BlockedInput, chooseForAll, fitBlocks, planBlocks } from './blocks.js';
import { sampleSize } from './choice.js';
import { type Design, openDesign } from './design.js';
import { predict } from './predict.js';

export interface FitSizes {
  numTrain: number;
  numPoints: number;
  numClasses: number;
}

/** Points [first, end) of each logit block: bounds memory and is the unit of resuming. */
export function logitBlocks(sizes: FitSizes): { block: number; first: number; end: number }[] {
  const pointsPerBlock = pointsOfBand(sizes.numClasses);
  const blocks = [];
  for (let first = 0; first < sizes.numPoints; first += pointsPerBlock) {
    blocks.push({ block: blocks.length, first, end: Math.min(first + pointsPerBlock, sizes.numPoints) });
  }
  return blocks;
}

/** What lambda and relaxation are chosen for together, for all blocks alike (`fit.select` "pooled"; otherwise there is nothing to do). */
export function penaltyStage(plan: Plan, sizes: FitSizes): Stage {
  const tasks = (['logits', 'margins'] as const).map((field): Task => {
    const artefact = layout.penalties(field);
    const numTargets = field === 'logits' ? sizes.numPoints * sizes.numClasses : sizes.numTrain;
    return {
      id: artefact,
      label: `lambda of the ${field}`,
      artefacts: [artefact],
      cost: 4 * sampleSize * fitCostPerTarget(plan.fit, plan.subsetModels.count),
      models: 0,
      bytes: 4096,
      inputs: { targets: artefact, datamodels: datamodelInputs(plan) },
      async produce(context) {
        const { columns, design } = await openFit(context, plan.fit, sizes);
        const groups = field === 'logits' ? logitGroups(context.dataset) : undefined;
        const outputs = blocksOf(columns, field, numTargets);
        const choices = await chooseForAll(design, { outputs }, groups, unitProgress(context, this.cost));
        return [{ path: artefact, content: encodeJson(choices) }];
      },
    };
  });
  return { name: 'lambda', tasks: plan.fit.select === 'pooled' && plan.subsetModels.count > 0 ? tasks : [], share };
}

/** One datamodel per point and class (logits), and one per train point's margin for the principal components. */
export function fitStage(plan: Plan, sizes: FitSizes): Stage {
  if (plan.subsetModels.count === 0) return { name: 'datamodels', tasks: [] };
  const { numTrain, numPoints, numClasses } = sizes;
  const tasks = logitBlocks(sizes).map(({ block, first, end }) => {
    const targets = { field: 'logits' as const, first: first * numClasses, end: end * numClasses, of: numPoints * numClasses };
    return fitTask(plan, sizes, layout.logitDatamodels(block), `logit datamodels of points ${first}-${end - 1}`, targets);
  });
  const margins = { field: 'margins' as const, first: 0, end: numTrain, of: numTrain };
  tasks.push(fitTask(plan, sizes, layout.marginDatamodels, 'margin datamodels of train points', margins));
  return { name: 'datamodels', tasks, share };
}

/** Workers read by columns what would else be read by each of them. */
function share({ run, signal }: TaskContext): Promise<void> {
  return shareOutputs(run, signal ? { signal } : {});
}

async function chosen({ plan, run }: TaskContext, field: OutputField): Promise<{ choices?: PenaltyChoice[] }> {
  if (plan.fit.select !== 'pooled') return {};
  return { choices: decodeJson(await run.read(layout.penalties(field)), layout.penalties(field)) as PenaltyChoice[] };
}

/** A point's own class and the others, train and validation: weights of the same kind. */
function logitGroups({ labels, numTrain, numValidation, numClasses }: DatasetFacts): TargetGroups {
  const of = new Uint8Array((numTrain + numValidation) * numClasses);
  for (let target = 0; target < of.length; target++) {
    const point = Math.floor(target / numClasses);
    of[target] = (point < numTrain ? 0 : 2) + (labels[point] === target % numClasses ? 0 : 1);
  }
  return { names: ['train, own class', 'train, other classes', 'validation, own class', 'validation, other classes'], of };
}

/** Of margins: train and validation points. */
function marginGroups({ numTrain, numPoints }: FitSizes): TargetGroups {
  return { names: ['train', 'validation'], of: new Uint8Array(numPoints).fill(1, numTrain) };
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
      const options = variantOf(plan.fit, estimator);
      return {
        id: artefact,
        label: `${estimator} on ${numModels} models for LDS`,
        artefacts: [artefact],
        cost: sizes.numPoints * fitCostPerTarget(options, numModels),
        models: 0,
        bytes: 4 * split.heldOut * sizes.numPoints,
        inputs: { lds: { numModels, firstHeldOut: split.firstHeldOut }, datamodels: datamodelInputs(plan, options) },
        async produce(context) {
          const columns = await outputColumns(context.run, context);
          const trained = columns.trained.filter((model) => model < numModels);
          const predicted = new Float32Array(split.heldOut * sizes.numPoints).fill(NaN); // where there is nothing to learn from
          if (trained.length > 0) {
            const masks = readMasks(await context.run.read(layout.masks));
            const heldOut = selectRows(masks, span(split.firstHeldOut, masks.numModels));
            const design = designOf(context, masks, trained, options, sizes.numPoints);
            const input = { outputs: blocksOf(columns, 'margins', sizes.numPoints, trained.length), groups: marginGroups(sizes) };
            const choices = await chooseForAll(design, input, input.groups, quiet(context));
            await fitBlocks(
              design,
              { ...input, blocks: marginBlocks(sizes.numPoints), ...(choices ? { choices } : {}) },
              {
                ...unitProgress(context, this.cost),
                async onBlock({ first, end, datamodels }) {
                  const part = await predict(datamodels, heldOut, quiet(context));
                  for (let model = 0; model < split.heldOut; model++) {
                    predicted.set(part.subarray(model * (end - first), (model + 1) * (end - first)), model * sizes.numPoints + first);
                  }
                },
              },
            );
          }
          return [{ path: artefact, content: encodeNpy([split.heldOut, sizes.numPoints], predicted), rows: split.heldOut }];
        },
      };
    }),
  );
  return { name: 'LDS fits', tasks, share };
}

/** The same rules for another estimator; only the Lasso has a relaxation. */
function variantOf({ relaxation, ...fit }: FitOptions, estimator: FitOptions['estimator']): FitOptions {
  return { ...fit, estimator, ...(relaxation === undefined || estimator === 'marginal' ? {} : { relaxation }) };
}

/** Targets [first, end) of the first `of` of a field. */
interface Targets {
  field: OutputField;
  first: number;
  end: number;
  of: number;
}

function fitTask(plan: Plan, sizes: FitSizes, artefact: string, label: string, { field, first, end, of }: Targets): Task {
  const numTargets = end - first;
  return {
    id: artefact,
    label,
    artefacts: [artefact],
    cost: numTargets * fitCostPerTarget(plan.fit, plan.subsetModels.count),
    models: 0,
    bytes: numTargets * 8 * 64,
    inputs: { targets: artefact, datamodels: datamodelInputs(plan) },
    async produce(context) {
      const { columns, design } = await openFit(context, plan.fit, sizes);
      const input: BlockedInput = {
        outputs: blocksOf(columns, field, of),
        blocks: field === 'logits' ? [{ first, end }] : marginBlocks(end),
        ...(field === 'logits' ? { groups: logitGroups(context.dataset) } : {}),
        ...(await chosen(context, field)),
      };
      const parts: Datamodels[] = [];
      const onBlock = async ({ datamodels }: { datamodels: Datamodels }): Promise<void> => {
        await Promise.resolve(parts.push(datamodels));
      };
      await fitBlocks(design, input, { ...unitProgress(context, this.cost), onBlock });
      return [{ path: artefact, content: encodeDatamodels(joinTargets(sizes.numTrain, parts)), rows: numTargets }];
    },
  };
}

/** Of the same size as those of logits: margins are fitted within one task. */
function marginBlocks(numTargets: number): BlockedInput['blocks'] {
  return planBlocks(numTargets, pointsOfBand(1));
}

/** Of the first `numModels` that trained. */
function blocksOf(
  columns: OutputColumns,
  field: OutputField,
  numTargets: number,
  numModels = columns.trained.length,
): BlockedInput['outputs'] {
  return {
    numModels,
    numTargets,
    read: async (first, end) => (await columns.read(field, { first, end })).subarray(0, numModels * (end - first)),
    pick: async (targets) => (await columns.read(field, targets)).subarray(0, numModels * targets.length),
  };
}

/** The design that all blocks share: kept for the next task of this process. */
const designs = new WeakMap<OutputColumns, { fit: FitOptions; design: Design }>();

/** @throws LETHE_MODELS_DIVERGED (exit code 1) */
async function openFit(context: TaskContext, fit: FitOptions, sizes: FitSizes): Promise<{ columns: OutputColumns; design: Design }> {
  const { plan, run } = context;
  const columns = await outputColumns(run, context);
  requireSomeTrained(columns, plan);
  const known = designs.get(columns);
  if (known?.fit === fit) return { columns, design: known.design };
  const masks = readMasks(await run.read(layout.masks));
  const design = designOf(context, masks, columns.trained, fit, sizes.numPoints * sizes.numClasses + sizes.numTrain);
  designs.set(columns, { fit, design });
  return { columns, design };
}

/** On the models that trained. */
function designOf(context: TaskContext, masks: Masks, trained: Int32Array, fit: FitOptions, numTargets: number): Design {
  const folds = fit.folds === undefined ? {} : { folds: Math.max(2, Math.min(fit.folds, trained.length)) };
  const { threads = 0, device = 'cpu' } = context;
  const rows = trained.length === masks.numModels ? masks : selectRows(masks, trained);
  return openDesign(rows, { ...fit, ...folds }, { numTargets, threads, device: chooseDevice(device) });
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
