/** Datamodels of a plan as tasks: blocks of logit targets for DM-Direct and DMM, margin targets for principal components, LDS curves. */
import { selectRows } from '../data/masks.js';
import type { Stage, Task, TaskContext } from '../jobs/task.js';
import { encodeDatamodels } from '../store/datamodels.js';
import { decodeJson, encodeJson } from '../store/json.js';
import { layout } from '../store/layout.js';
import { readMasks } from '../store/masksFile.js';
import { encodeNpy } from '../store/npy.js';
import { datamodelInputs } from '../store/planInputs.js';
import { readOutputColumns } from '../store/outputColumns.js';
import type { DatasetFacts, FitOptions, PenaltyChoice, Plan, RunOptions, TargetGroups } from '../types.js';
import { choosePenalties, sampleSize, sampleTargets } from './choice.js';
import { openDesign } from './design.js';
import { fitDatamodels, type FitInput } from './fit.js';
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
        const { run, dataset } = context;
        const masks = readMasks(await run.read(layout.masks));
        const groups = field === 'logits' ? logitGroups(dataset, 0, sizes.numPoints) : undefined;
        const sample = sampleTargets(numTargets, groups, plan.fit.seed);
        const outputs = await readOutputColumns(run, allShards(plan), field, sample);
        const design = openDesign(masks, plan.fit, { numTargets: sample.length, ...quiet(context) });
        const block = { outputs, numTargets: sample.length, targetsPerRowWeight: 1, sample };
        const choices = await choosePenalties(design, block, groups, unitProgress(context, this.cost));
        return [{ path: artefact, content: encodeJson(choices) }];
      },
    };
  });
  return { name: 'lambda', tasks: plan.fit.select === 'pooled' ? tasks : [] };
}

/** One datamodel per point and class (logits), and one per train point's margin for the principal components. */
export function fitStage(plan: Plan, sizes: FitSizes): Stage {
  const tasks: Task[] = logitBlocks(sizes).map(({ block, first, end }) => {
    const columns = { first: first * sizes.numClasses, end: end * sizes.numClasses };
    const label = `logit datamodels of points ${first}-${end - 1}`;
    return fitTask(plan, layout.logitDatamodels(block), label, columns.end - columns.first, async (context) => ({
      outputs: await readOutputColumns(context.run, allShards(plan), 'logits', columns),
      groups: logitGroups(context.dataset, first, end),
      ...(await chosen(context, 'logits')),
    }));
  });
  tasks.push(
    fitTask(plan, layout.marginDatamodels, 'margin datamodels of train points', sizes.numTrain, async (context) => ({
      outputs: await readOutputColumns(context.run, allShards(plan), 'margins', { first: 0, end: sizes.numTrain }),
      ...(await chosen(context, 'margins')),
    })),
  );
  return { name: 'datamodels', tasks };
}

async function chosen({ plan, run }: TaskContext, field: 'logits' | 'margins'): Promise<{ choices?: PenaltyChoice[] }> {
  if (plan.fit.select !== 'pooled') return {};
  return { choices: decodeJson(await run.read(layout.penalties(field)), layout.penalties(field)) as PenaltyChoice[] };
}

/** A point's own class and the others, train and validation: weights of the same kind. Of points [first, end). */
function logitGroups({ labels, numTrain, numClasses }: DatasetFacts, first: number, end: number): TargetGroups {
  const of = new Uint8Array((end - first) * numClasses);
  for (let point = first; point < end; point++) {
    const split = point < numTrain ? 0 : 2;
    for (let c = 0; c < numClasses; c++) of[(point - first) * numClasses + c] = split + (labels[point] === c ? 0 : 1);
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
          const masks = readMasks(await context.run.read(layout.masks));
          const margins = await readOutputColumns(context.run, allShards(plan), 'margins', { first: 0, end: sizes.numPoints });
          const fitted = await fitDatamodels(
            {
              masks: selectRows(masks, span(0, numModels)),
              outputs: margins.subarray(0, numModels * sizes.numPoints),
              numTargets: sizes.numPoints,
              groups: marginGroups(sizes),
            },
            options,
            unitProgress(context, this.cost),
          );
          const heldOut = selectRows(masks, span(split.firstHeldOut, masks.numModels));
          const predicted = await predict(fitted, heldOut, quiet(context));
          return [{ path: artefact, content: encodeNpy([split.heldOut, sizes.numPoints], predicted), rows: split.heldOut }];
        },
      };
    }),
  );
  return { name: 'LDS fits', tasks };
}

/** The same rules for another estimator; only the Lasso has a relaxation. */
function variantOf({ relaxation, ...fit }: FitOptions, estimator: FitOptions['estimator']): FitOptions {
  return { ...fit, estimator, ...(relaxation === undefined || estimator === 'marginal' ? {} : { relaxation }) };
}

/** The last subset models are held out; curve points larger than what is left are capped to it. */
export function ldsSplit(plan: Plan): { firstHeldOut: number; heldOut: number; numModels: number[] } {
  const heldOut = Math.max(2, Math.round(plan.lds.heldOutFraction * plan.subsetModels.count));
  const firstHeldOut = plan.subsetModels.count - heldOut;
  const numModels = [...new Set([...plan.lds.numModels.map((count) => Math.min(count, firstHeldOut)), firstHeldOut])];
  return { firstHeldOut, heldOut, numModels: numModels.sort((a, b) => a - b) };
}

/** What a block is fitted on, its masks apart. outputs: (numModels, numTargets) */
type Targets = Pick<FitInput, 'outputs' | 'groups' | 'choices'>;

function fitTask(
  plan: Plan,
  artefact: string,
  label: string,
  numTargets: number,
  targets: (context: TaskContext) => Promise<Targets>,
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
      const fitted = await fitDatamodels({ masks, numTargets, ...(await targets(context)) }, plan.fit, unitProgress(context, this.cost));
      return [{ path: artefact, content: encodeDatamodels(fitted), rows: numTargets }];
    },
  };
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
