/** Datamodels of a plan as tasks: blocks of logit targets for DM-Direct and DMM, margin targets for principal components, LDS curves. */
import { selectRows } from '../data/masks.js';
import { ExitCode, LetheError } from '../errors.js';
import { shardRanges } from '../jobs/shards.js';
import type { Stage, Task, TaskContext } from '../jobs/task.js';
import { encodeDatamodels } from '../store/contents/datamodels.js';
import { decodeJson, encodeJson } from '../store/disk/json.js';
import { layout } from '../store/folders/layout.js';
import { ldsSplit } from '../jobs/ldsSplit.js';
import { readMasks } from '../store/contents/masksFile.js';
import { encodeNpy } from '../store/formats/npy.js';
import { datamodelInputs } from '../jobs/planInputs.js';
import { type OutputColumns, readOutputColumns } from '../store/folders/outputColumns.js';
import type { Datamodels, DatasetFacts, FitOptions, Masks, PenaltyChoice, Plan, RunOptions, TargetGroups } from '../types.js';
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
        const columns = await readOutputColumns(run, allShards(plan), field, sample);
        requireSomeTrained(columns, plan);
        const { masks: trained, options } = withoutDiverged(masks, columns, plan.fit);
        const design = openDesign(trained, options, { numTargets: sample.length, ...quiet(context) });
        const block = { outputs: columns.values, numTargets: sample.length, targetsPerRowWeight: 1, sample };
        const choices = await choosePenalties(design, block, groups, unitProgress(context, this.cost));
        return [{ path: artefact, content: encodeJson(choices) }];
      },
    };
  });
  return { name: 'lambda', tasks: plan.fit.select === 'pooled' && plan.subsetModels.count > 0 ? tasks : [] };
}

/** One datamodel per point and class (logits), and one per train point's margin for the principal components. */
export function fitStage(plan: Plan, sizes: FitSizes): Stage {
  if (plan.subsetModels.count === 0) return { name: 'datamodels', tasks: [] };
  const tasks: Task[] = logitBlocks(sizes).map(({ block, first, end }) => {
    const columns = { first: first * sizes.numClasses, end: end * sizes.numClasses };
    const label = `logit datamodels of points ${first}-${end - 1}`;
    return fitTask(plan, layout.logitDatamodels(block), label, columns.end - columns.first, async (context) => ({
      columns: await readOutputColumns(context.run, allShards(plan), 'logits', columns),
      groups: logitGroups(context.dataset, first, end),
      ...(await chosen(context, 'logits')),
    }));
  });
  tasks.push(
    fitTask(plan, layout.marginDatamodels, 'margin datamodels of train points', sizes.numTrain, async (context) => ({
      columns: await readOutputColumns(context.run, allShards(plan), 'margins', { first: 0, end: sizes.numTrain }),
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
          const trained = margins.trained.filter((model) => model < numModels);
          const columns = { ...margins, trained, values: margins.values.subarray(0, trained.length * sizes.numPoints) };
          const heldOut = selectRows(masks, span(split.firstHeldOut, masks.numModels));
          const predicted =
            trained.length === 0
              ? new Float32Array(split.heldOut * sizes.numPoints).fill(NaN) // nothing to learn from
              : await predict(
                  await fitTrained(
                    masks,
                    { columns, groups: marginGroups(sizes) },
                    sizes.numPoints,
                    options,
                    unitProgress(context, this.cost),
                  ),
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

/** The same rules for another estimator; only the Lasso has a relaxation. */
function variantOf({ relaxation, ...fit }: FitOptions, estimator: FitOptions['estimator']): FitOptions {
  return { ...fit, estimator, ...(relaxation === undefined || estimator === 'marginal' ? {} : { relaxation }) };
}

/** What a block is fitted on, its masks apart. */
type Targets = Pick<FitInput, 'groups' | 'choices'> & { columns: OutputColumns };

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
      const given = await targets(context);
      requireSomeTrained(given.columns, plan);
      const fitted = await fitTrained(masks, given, numTargets, plan.fit, unitProgress(context, this.cost));
      return [{ path: artefact, content: encodeDatamodels(fitted), rows: numTargets }];
    },
  };
}

/** Diverged models are left out of the design; where none has, this is the fit on all. */
function fitTrained(
  masks: Masks,
  { columns, ...choice }: Targets,
  numTargets: number,
  fit: FitOptions,
  run: RunOptions,
): Promise<Datamodels> {
  const { masks: trained, options } = withoutDiverged(masks, columns, fit);
  return fitDatamodels({ masks: trained, outputs: columns.values, numTargets, ...choice }, options, run);
}

function withoutDiverged(masks: Masks, { trained }: OutputColumns, options: FitOptions): { masks: Masks; options: FitOptions } {
  const folds = options.folds === undefined ? {} : { folds: Math.max(2, Math.min(options.folds, trained.length)) };
  return { masks: trained.length === masks.numModels ? masks : selectRows(masks, trained), options: { ...options, ...folds } };
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
  return shardRanges(plan.subsetModels.count, plan.subsetModels.modelsPerShard).map(({ shard }) => shard);
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
