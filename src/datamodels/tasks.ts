/** Datamodels of a plan as tasks: blocks of logit targets for DM-Direct and DMM, margin targets for principal components, LDS curves. */
import { attributorsOf, canBeFitted, comparedAttributors, type PlannedAttributor } from '../attributors/planned.js';
import type { Design } from '../attributors/attributor.js';
import { sampleSize } from '../attributors/pooled.js';
import { openDesign } from '../attributors/registry.js';
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
import type { Datamodels, DatasetFacts, LassoOptions, Masks, PenaltyChoice, Plan, RunOptions, TargetGroups } from '../types.js';
import { type BlockedInput, chooseForAll, fitBlocks, planBlocks } from './blocks.js';
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

/** Margins are for principal components: only the first attributor's. */
function fieldsOf({ folder }: PlannedAttributor): OutputField[] {
  return folder === undefined ? ['logits', 'margins'] : ['logits'];
}

/** Targets [first, end) of the first `of` of a field. */
interface Targets {
  field: OutputField;
  first: number;
  end: number;
  of: number;
}

function allOf(field: OutputField, { numTrain, numPoints, numClasses }: FitSizes): Targets {
  const of = field === 'logits' ? numPoints * numClasses : numTrain;
  return { field, first: 0, end: of, of };
}

/** What is chosen for many targets together (lambda, relaxation), for all blocks alike, by the attributors that do so. */
export function penaltyStage(plan: Plan, sizes: FitSizes): Stage {
  const fitted = attributorsOf(plan).filter((planned) => canBeFitted(plan, planned));
  const pooled = fitted.filter(({ attributor, options }) => attributor.isPooled(options));
  const tasks = pooled.flatMap((planned) => fieldsOf(planned).map((field) => penaltyTask(plan, sizes, planned, field)));
  return { name: 'lambda', tasks, share };
}

function penaltyTask(plan: Plan, sizes: FitSizes, planned: PlannedAttributor, field: OutputField): Task {
  const { attributor, options, folder } = planned;
  const artefact = layout.penalties(field, folder);
  const { of } = allOf(field, sizes);
  return {
    id: artefact,
    label: `lambda of the ${field}${ofAttributor(planned)}`,
    artefacts: [artefact],
    cost: 4 * sampleSize * attributor.cost(options, plan.subsetModels.count),
    models: 0,
    bytes: 4096,
    inputs: { targets: layout.penalties(field), datamodels: datamodelInputs(plan, planned) },
    async produce(context) {
      const { outputs, design } = await openFit(context, planned, sizes, { field, of });
      const groups = field === 'logits' ? logitGroups(context.dataset) : undefined;
      const choices = await chooseForAll(design, { outputs }, groups, unitProgress(context, this.cost));
      return [{ path: artefact, content: encodeJson(choices) }];
    },
  };
}

function ofAttributor({ folder }: PlannedAttributor): string {
  return folder === undefined ? '' : `, ${folder}`;
}

/** Of each attributor: a datamodel per point and class (logits), and of the first one per train point's margin for the principal components. */
export function fitStage(plan: Plan, sizes: FitSizes): Stage {
  const fitted = attributorsOf(plan).filter((planned) => canBeFitted(plan, planned));
  return { name: 'datamodels', tasks: fitted.flatMap((planned) => fitTasks(plan, sizes, planned)), share };
}

function fitTasks(plan: Plan, sizes: FitSizes, planned: PlannedAttributor): Task[] {
  const { numClasses } = sizes;
  const logits = allOf('logits', sizes);
  const tasks = logitBlocks(sizes).map(({ block, first, end }) => {
    const place = { artefact: layout.logitDatamodels(block, planned.folder), targets: layout.logitDatamodels(block) };
    const label = `logit datamodels of points ${first}-${end - 1}${ofAttributor(planned)}`;
    return fitTask(plan, sizes, planned, { ...place, label }, { ...logits, first: first * numClasses, end: end * numClasses });
  });
  if (!fieldsOf(planned).includes('margins')) return tasks;
  const place = { artefact: layout.marginDatamodels, targets: layout.marginDatamodels, label: 'margin datamodels of train points' };
  return [...tasks, fitTask(plan, sizes, planned, place, allOf('margins', sizes))];
}

/** Workers read by columns what would else be read by each of them. */
function share({ run, signal }: TaskContext): Promise<void> {
  return shareOutputs(run, signal ? { signal } : {});
}

async function chosen(
  { run }: TaskContext,
  { attributor, options, folder }: PlannedAttributor,
  field: OutputField,
): Promise<{ choices?: PenaltyChoice[] }> {
  if (!attributor.isPooled(options)) return {};
  const artefact = layout.penalties(field, folder);
  return { choices: decodeJson(await run.read(artefact), artefact) as PenaltyChoice[] };
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
  const tasks = comparedAttributors(plan).flatMap((planned) =>
    split.numModels.map((numModels): Task => {
      const { name, attributor, options } = planned;
      const artefact = layout.ldsPredictions(name, numModels);
      return {
        id: artefact,
        label: `${name} on ${numModels} models for LDS`,
        artefacts: [artefact],
        cost: sizes.numPoints * attributor.cost(options, numModels),
        models: 0,
        bytes: 4 * split.heldOut * sizes.numPoints,
        inputs: { lds: { numModels, firstHeldOut: split.firstHeldOut }, datamodels: datamodelInputs(plan, { options }) },
        async produce(context) {
          const columns = await outputColumns(context.run, context);
          const trained = columns.trained.filter((model) => model < numModels);
          const predicted = new Float32Array(split.heldOut * sizes.numPoints).fill(NaN); // where there is nothing to learn from
          if (trained.length > 0) {
            const masks = readMasks(await context.run.read(layout.masks));
            const heldOut = selectRows(masks, span(split.firstHeldOut, masks.numModels));
            const design = designOf(context, planned, { columns, field: 'margins', masks, trained, numTargets: sizes.numPoints });
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

interface FitPlace {
  artefact: string;
  /** Names what is fitted, whoever fits it. */
  targets: string;
  label: string;
}

function fitTask(
  plan: Plan,
  sizes: FitSizes,
  planned: PlannedAttributor,
  { artefact, targets, label }: FitPlace,
  { field, first, end, of }: Targets,
): Task {
  const { attributor, options } = planned;
  const numTargets = end - first;
  return {
    id: artefact,
    label,
    artefacts: [artefact],
    cost: numTargets * attributor.cost(options, plan.subsetModels.count),
    models: 0,
    bytes: numTargets * 8 * (attributor.isDense(options) ? sizes.numTrain : 64),
    inputs: { targets, datamodels: datamodelInputs(plan, planned) },
    async produce(context) {
      const { outputs, design } = await openFit(context, planned, sizes, { field, of });
      const input: BlockedInput = {
        outputs,
        blocks: field === 'logits' ? [{ first, end }] : marginBlocks(end),
        ...(field === 'logits' ? { groups: logitGroups(context.dataset) } : {}),
        ...(await chosen(context, planned, field)),
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
function blocksOf(columns: OutputColumns, field: OutputField, numTargets: number, numModels: number): BlockedInput['outputs'] {
  return {
    numModels,
    numTargets,
    read: async (first, end) => (await columns.read(field, { first, end })).subarray(0, numModels * (end - first)),
    pick: async (targets) => (await columns.read(field, targets)).subarray(0, numModels * targets.length),
  };
}

/** The design that all blocks of an attributor share: kept for the next task of this process. */
const designs = new WeakMap<OutputColumns, { key: string; design: Design }>();

/** @throws LETHE_MODELS_DIVERGED (exit code 1) */
async function openFit(
  context: TaskContext,
  planned: PlannedAttributor,
  sizes: FitSizes,
  { field, of }: Pick<Targets, 'field' | 'of'>,
): Promise<{ outputs: BlockedInput['outputs']; design: Design }> {
  const { plan, run } = context;
  const { models = Infinity } = planned;
  const columns = await outputColumns(run, context);
  const trained = columns.trained.filter((model) => model < models);
  requireSomeTrained({ trained, numModels: Math.min(columns.numModels, models) }, plan);
  const outputs = blocksOf(columns, field, of, trained.length);
  const isByPoint = planned.attributor.needs(planned.options).includes('train-margins');
  const key = isByPoint ? `${planned.name} ${field}` : planned.name;
  const known = designs.get(columns);
  if (known?.key === key) return { outputs, design: known.design };
  const masks = readMasks(await run.read(layout.masks));
  const numTargets = sizes.numPoints * sizes.numClasses + sizes.numTrain;
  const design = designOf(context, planned, { columns, field, masks, trained, numTargets });
  designs.set(columns, { key, design });
  return { outputs, design };
}

interface FitOn {
  columns: OutputColumns;
  field: OutputField;
  masks: Masks;
  /** The first ones of columns.trained. */
  trained: Int32Array;
  numTargets: number;
}

/** On the models that trained; what fits on processors only does so in a run on GPUs too. */
function designOf(
  { threads = 0, device = 'cpu', dataset }: TaskContext,
  { attributor, options }: Pick<PlannedAttributor, 'attributor' | 'options'>,
  { columns, field, masks, trained, numTargets }: FitOn,
): Design {
  const { folds: wanted } = options as Partial<LassoOptions>;
  const folds = wanted === undefined ? {} : { folds: Math.max(2, Math.min(wanted, trained.length)) };
  const rows = trained.length === masks.numModels ? masks : selectRows(masks, trained);
  const where = attributor.devices.includes('cuda') ? chooseDevice(device) : 'cpu';
  const { labels, numTrain, numClasses } = dataset;
  const points = {
    labels,
    targetsPerPoint: field === 'logits' ? numClasses : 1,
    trainMargins: async () => (await columns.read('margins', { first: 0, end: numTrain })).subarray(0, trained.length * numTrain),
  };
  return openDesign(rows, { ...options, ...folds }, { numTargets, threads, device: where, points });
}

/** @throws LETHE_MODELS_DIVERGED (exit code 1) */
function requireSomeTrained({ trained, numModels }: Pick<OutputColumns, 'trained' | 'numModels'>, { recipe }: Plan): void {
  if (trained.length > 0) return;
  throw new LetheError('LETHE_MODELS_DIVERGED', `all ${numModels} subset models diverged`, {
    expected: 'subset models that train',
    received: 'losses, logits or parameters that became infinite or NaN',
    action: `Lower recipe.schedule.learningRate (${recipe.schedule.learningRate}), and run the changed plan in another folder.`,
    exitCode: ExitCode.taskFailed,
  });
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
