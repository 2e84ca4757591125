/** Datamodels of a plan as tasks: blocks of logit targets for DM-Direct and DMM, margin targets for principal components, LDS curves. */
import { attributorsOf, canBeFitted, comparedAttributors, type PlannedAttributor } from '../attributors/planned.js';
import { sampleSize, sampleTargets } from '../attributors/pooled.js';
import { openDesign } from '../attributors/registry.js';
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
import type { Datamodels, DatasetFacts, FitOptions, LassoOptions, Masks, PenaltyChoice, Plan, RunOptions, TargetGroups } from '../types.js';
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

type Field = 'logits' | 'margins';

/** Margins are for principal components: only the first attributor's. */
function fieldsOf({ folder }: PlannedAttributor): Field[] {
  return folder === undefined ? ['logits', 'margins'] : ['logits'];
}

/** What is chosen for many targets together (lambda, relaxation), for all blocks alike, by the attributors that do so. */
export function penaltyStage(plan: Plan, sizes: FitSizes): Stage {
  const fitted = attributorsOf(plan).filter((planned) => canBeFitted(plan, planned));
  const pooled = fitted.filter(({ attributor, options }) => attributor.isPooled(options));
  const tasks = pooled.flatMap((planned) => fieldsOf(planned).map((field) => penaltyTask(plan, sizes, planned, field)));
  return { name: 'lambda', tasks };
}

function penaltyTask(plan: Plan, sizes: FitSizes, { attributor, options: given, folder }: PlannedAttributor, field: Field): Task {
  const artefact = layout.penalties(field, folder);
  const numTargets = field === 'logits' ? sizes.numPoints * sizes.numClasses : sizes.numTrain;
  return {
    id: artefact,
    label: `lambda of the ${field}${folder === undefined ? '' : `, ${folder}`}`,
    artefacts: [artefact],
    cost: 4 * sampleSize * attributor.cost(given, plan.subsetModels.count),
    models: 0,
    bytes: 4096,
    inputs: { targets: layout.penalties(field), datamodels: datamodelInputs(plan, given) },
    async produce(context) {
      const { run, dataset } = context;
      const masks = readMasks(await run.read(layout.masks));
      const groups = field === 'logits' ? logitGroups(dataset, 0, sizes.numPoints) : undefined;
      const sample = sampleTargets(numTargets, groups, given.seed);
      const columns = await readOutputColumns(run, allShards(plan), field, sample);
      requireSomeTrained(columns, plan);
      const { masks: trained, options } = withoutDiverged(masks, columns, given);
      const design = openDesign(trained, options, { numTargets: sample.length, ...quiet(context) });
      const block = { outputs: columns.values, numTargets: sample.length, targetsPerRowWeight: 1, sample };
      const choices = await design.choose(block, groups, unitProgress(context, this.cost));
      return [{ path: artefact, content: encodeJson(choices) }];
    },
  };
}

/** Of each attributor: a datamodel per point and class (logits), and of the first one per train point's margin for the principal components. */
export function fitStage(plan: Plan, sizes: FitSizes): Stage {
  const fitted = attributorsOf(plan).filter((planned) => canBeFitted(plan, planned));
  return { name: 'datamodels', tasks: fitted.flatMap((planned) => fitTasks(plan, sizes, planned)) };
}

function fitTasks(plan: Plan, sizes: FitSizes, planned: PlannedAttributor): Task[] {
  const { folder } = planned;
  const tasks = logitBlocks(sizes).map(({ block, first, end }) => {
    const columns = { first: first * sizes.numClasses, end: end * sizes.numClasses };
    const label = `logit datamodels of points ${first}-${end - 1}${folder === undefined ? '' : `, ${folder}`}`;
    const place = { artefact: layout.logitDatamodels(block, folder), targets: layout.logitDatamodels(block) };
    return fitTask(
      plan,
      planned,
      { ...place, label, numTargets: columns.end - columns.first, numTrain: sizes.numTrain },
      async (context) => ({
        columns: await readOutputColumns(context.run, allShards(plan), 'logits', columns),
        groups: logitGroups(context.dataset, first, end),
        ...(await chosen(context, planned, 'logits')),
      }),
    );
  });
  if (!fieldsOf(planned).includes('margins')) return tasks;
  const place = { artefact: layout.marginDatamodels, targets: layout.marginDatamodels };
  const margins = fitTask(
    plan,
    planned,
    { ...place, label: 'margin datamodels of train points', numTargets: sizes.numTrain, numTrain: sizes.numTrain },
    async (context) => ({
      columns: await readOutputColumns(context.run, allShards(plan), 'margins', { first: 0, end: sizes.numTrain }),
      ...(await chosen(context, planned, 'margins')),
    }),
  );
  return [...tasks, margins];
}

async function chosen(
  { run }: TaskContext,
  { attributor, options, folder }: PlannedAttributor,
  field: Field,
): Promise<{ choices?: PenaltyChoice[] }> {
  if (!attributor.isPooled(options)) return {};
  const artefact = layout.penalties(field, folder);
  return { choices: decodeJson(await run.read(artefact), artefact) as PenaltyChoice[] };
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
  const tasks = comparedAttributors(plan).flatMap(({ name, attributor, options }) =>
    split.numModels.map((numModels): Task => {
      const artefact = layout.ldsPredictions(name, numModels);
      return {
        id: artefact,
        label: `${name} on ${numModels} models for LDS`,
        artefacts: [artefact],
        cost: sizes.numPoints * attributor.cost(options, numModels),
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

/** What a block is fitted on, its masks apart. */
type Targets = Pick<FitInput, 'groups' | 'choices'> & { columns: OutputColumns };

interface FitPlace {
  artefact: string;
  /** Names what is fitted, whoever fits it. */
  targets: string;
  label: string;
  numTargets: number;
  numTrain: number;
}

function fitTask(
  plan: Plan,
  { attributor, options }: PlannedAttributor,
  { artefact, targets, label, numTargets, numTrain }: FitPlace,
  read: (context: TaskContext) => Promise<Targets>,
): Task {
  return {
    id: artefact,
    label,
    artefacts: [artefact],
    cost: numTargets * attributor.cost(options, plan.subsetModels.count),
    models: 0,
    bytes: numTargets * 8 * (attributor.isDense ? numTrain : 64),
    inputs: { targets, datamodels: datamodelInputs(plan, options) },
    async produce(context) {
      const masks = readMasks(await context.run.read(layout.masks));
      const given = await read(context);
      requireSomeTrained(given.columns, plan);
      const fitted = await fitTrained(masks, given, numTargets, options, unitProgress(context, this.cost));
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
  const { folds: wanted } = options as Partial<LassoOptions>;
  const folds = wanted === undefined ? {} : { folds: Math.max(2, Math.min(wanted, trained.length)) };
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
