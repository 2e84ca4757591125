/**
 * Unlearning of a plan as tasks. Three stages meet in the run folder: tuning runs of every grid setting on originals of their own, the
 * choice (made in evaluate/, against matched oracles), and the chosen run on all scored originals. Grids of one setting, methods without
 * training and plans that tune on no originals skip the tuning: every setting is then final.
 */
import { attributorsOf, canBeFitted, type PlannedAttributor, plannedAttributor } from '../attributors/planned.js';
import { didYouMean, LetheError } from '../errors.js';
import { shardRanges } from '../jobs/shards.js';
import type { Artefact, Stage, Task, TaskContext } from '../jobs/task.js';
import { concatenate } from '../native/concatenate.js';
import { nativeMargins } from '../native/margins.js';
import { decodeJson } from '../store/disk/json.js';
import { layout } from '../store/folders/layout.js';
import { encodeNpy } from '../store/formats/npy.js';
import { decodeFloats, decodeIndices } from '../store/contents/npyArtefact.js';
import { encodeOutputs } from '../store/contents/outputs.js';
import { firstTuningOriginal } from '../jobs/planCounts.js';
import { datamodelInputs, forgetSetInputs, trainingInputs } from '../jobs/planInputs.js';
import type { JobStatus, MethodPlan, MethodSetting, Plan, SettingChoice, TrainRecipe } from '../types.js';
import { calibrationInputs, readCalibration } from './calibration.js';
import { isCalibrated } from './dmDirect.js';
import { expandGrid, type GridRun, unlearnedLogits, unlearnJob, unlearnMethod } from './index.js';
import { computeShift, readInputs, readMatchedOracles, shiftParts } from './inputs.js';
import type { DirectMethod, JobMethod, UnlearnInput, UnlearnMethod } from './method.js';

export interface UnlearnPlanSizes {
  numTrain: number;
  numPoints: number;
  numClasses: number;
  /** First point and end of each block of logit datamodels. */
  logitBlocks: { block: number; first: number; end: number }[];
  /** Of each forget set of the plan. */
  forgetSizes: number[];
}

/** What a method's grid means for a plan. */
export interface MethodRuns {
  method: UnlearnMethod;
  runs: GridRun[];
  /** One run is chosen by tuning; otherwise every run is final. */
  tuned: boolean;
}

/** The runs of every method of the plan, in plan order. */
export function methodRuns(plan: Plan): MethodRuns[] {
  return plan.methods.map((entry: MethodPlan) => {
    const method = unlearnMethod(entry.method);
    const runs = expandGrid(method, entry.grid, plan.recipe).map((run) => ({ ...run, setting: withoutFirst(plan, run.setting) }));
    const several = runs.length > 1 || runs[0]!.evalEpochs.length > 1;
    return { method, runs, tuned: method.kind === 'job' && several && plan.tuning.numModels > 0 };
  });
}

/** The first attributor is meant where a setting names none: named or not it is one setting. */
function withoutFirst(plan: Plan, { attributor, ...setting }: MethodSetting): MethodSetting {
  return attributor === undefined || attributor === attributorsOf(plan)[0].name ? setting : { ...setting, attributor };
}

/** @throws LETHE_SETTING_INVALID */
export function attributorOfSetting(plan: Plan, { attributor }: MethodSetting): PlannedAttributor {
  const planned = plannedAttributor(plan, attributor as string | undefined);
  if (planned) return planned;
  const names = attributorsOf(plan).map(({ name }) => name);
  throw new LetheError('LETHE_SETTING_INVALID', `the plan has no attributor "${attributor}"`, {
    expected: names.join(', '),
    received: String(attributor),
    action: didYouMean(String(attributor), names),
  });
}

/** Attributors that some runs, or the calibration, take datamodels of; the first one always. */
function attributorsIn(plan: Plan, runs: readonly GridRun[]): PlannedAttributor[] {
  const used = new Set(runs.map(({ setting }) => attributorOfSetting(plan, setting).name));
  return attributorsOf(plan).filter(({ name, folder }) => folder === undefined || used.has(name));
}

/** Shorter retrainings of the plan: epochs at which matched oracles are looked at on their way, and recipes of models of their own. */
export function partialLengths(plan: Plan): { cut: number[]; own: TrainRecipe[] } {
  const partial: { cut: number[]; own: TrainRecipe[] } = { cut: [], own: [] };
  for (const { method, runs } of methodRuns(plan)) {
    if (method.kind !== 'reference') continue;
    for (const { setting, evalEpochs } of runs) {
      const own = method.ownRecipe?.(plan.recipe, setting);
      if (own) partial.own.push(own);
      else partial.cut = partial.cut.concat(evalEpochs.filter((epochs) => epochs < plan.recipe.epochs));
    }
  }
  return partial;
}

/** Originals beyond the scored ones that the plan tunes on. */
export function numTuningOriginals(plan: Plan, methods: readonly MethodRuns[]): number {
  return plan.forgetSets.length > 0 && methods.some(({ tuned }) => tuned) ? plan.tuning.numModels : 0;
}

/** sum_{i in F} beta_i for every logit, once per forget set (Algorithm C.2). */
export function shiftStage(plan: Plan, sizes: UnlearnPlanSizes): Stage {
  const runs = methodRuns(plan).flatMap((method) => method.runs);
  const used = plan.calibration ? attributorsOf(plan) : attributorsIn(plan, runs);
  const shifted = used.filter((planned) => canBeFitted(plan, planned)); // without datamodels there is no shift
  return {
    name: 'datamodel shifts',
    tasks: plan.forgetSets.flatMap(({ name }, index) => shifted.map((planned) => shiftTask(plan, sizes, { name, index }, planned))),
  };
}

function shiftTask(
  plan: Plan,
  sizes: UnlearnPlanSizes,
  { name, index }: { name: string; index: number },
  planned: PlannedAttributor,
): Task {
  const artefact = layout.forgetShift(name, planned.folder);
  return {
    id: artefact,
    label: `datamodel shift of ${name}${planned.folder === undefined ? '' : `, ${planned.name}`}`,
    artefacts: [artefact],
    cost: sizes.numPoints / 10,
    models: 0,
    bytes: 8 * sizes.numPoints * sizes.numClasses,
    inputs: { shift: forgetSetInputs(plan, index), datamodels: datamodelInputs(plan, planned) },
    async produce(context) {
      const forget = decodeIndices(await context.run.read(layout.forgetSet(name)));
      const both = await computeShift(context.run, sizes, forget, planned.folder);
      return [{ path: artefact, content: encodeNpy([2, sizes.numPoints, sizes.numClasses], both) }];
    },
  };
}

/** Every setting of tuned grids on the tuning originals. */
export function tuningStage(plan: Plan, sizes: UnlearnPlanSizes): Stage {
  const tasks: Task[] = [];
  forEachMethod(plan, ({ method, runs, tuned }, forgetSetIndex) => {
    if (!tuned || method.kind !== 'job') return;
    runs.forEach((_, run) => {
      const artefact = layout.tuningRun(plan.forgetSets[forgetSetIndex]!.name, method.name, run);
      tasks.push(
        unlearnTask(plan, sizes, {
          label: `tuning ${method.name} ${run + 1}/${runs.length}`,
          artefact,
          method,
          forgetSetIndex,
          first: firstTuningOriginal,
          end: firstTuningOriginal + plan.tuning.numModels,
          costRun: runs[run]!,
          runs: [runs[run]!],
          setting: { run: runs[run]! },
          chooseRun: () => Promise.resolve(runs[run]!),
        }),
      );
    });
  });
  return { name: 'tuning runs', tasks };
}

/** Final runs on all scored originals. */
export function unlearnStage(plan: Plan, sizes: UnlearnPlanSizes): Stage {
  const tasks: Task[] = [];
  forEachMethod(plan, ({ method, runs, tuned }, forgetSetIndex) => {
    if (method.kind === 'reference') return;
    const forgetSet = plan.forgetSets[forgetSetIndex]!.name;
    (tuned ? ['chosen' as const] : runs.map((_, run) => run)).forEach((which) => {
      for (const { shard, first, end } of shardRanges(plan.originals.count, plan.subsetModels.modelsPerShard)) {
        tasks.push(
          unlearnTask(plan, sizes, {
            label: `${method.name} ${which === 'chosen' || runs.length === 1 ? '' : `setting ${which + 1} `}${first}-${end - 1}`,
            artefact: layout.unlearned(forgetSet, method.name, which, shard),
            method,
            forgetSetIndex,
            first,
            end,
            costRun: which === 'chosen' ? runs[0]! : runs[which]!,
            runs: which === 'chosen' ? runs : [runs[which]!],
            setting:
              which === 'chosen' ? { runs, tuning: plan.tuning, oracles: oracleInputs(plan, forgetSetIndex) } : { run: runs[which]! },
            async chooseRun(context) {
              if (which !== 'chosen') return runs[which]!;
              const choice = decodeJson(
                await context.run.read(layout.tuningChoice(forgetSet, method.name)),
                'tuning choice',
              ) as SettingChoice;
              return runs[choice.run]!;
            },
          }),
        );
      }
    });
  });
  return { name: 'unlearning', tasks };
}

function forEachMethod(plan: Plan, visit: (runs: MethodRuns, forgetSetIndex: number) => void): void {
  const methods = methodRuns(plan);
  plan.forgetSets.forEach((_, forgetSetIndex) => {
    for (const runs of methods) visit(runs, forgetSetIndex);
  });
}

interface UnlearnTaskSpec {
  label: string;
  artefact: string;
  method: JobMethod | DirectMethod;
  forgetSetIndex: number;
  /** Originals [first, end). */
  first: number;
  end: number;
  /** For the estimate: the run, or one like it. */
  costRun: GridRun;
  /** Among which chooseRun chooses. */
  runs: GridRun[];
  /** What decides the run. */
  setting: object;
  chooseRun(context: TaskContext): Promise<GridRun>;
}

function unlearnTask(plan: Plan, sizes: UnlearnPlanSizes, spec: UnlearnTaskSpec): Task {
  const models = spec.end - spec.first;
  const numForget = sizes.forgetSizes[spec.forgetSetIndex]!;
  const jobSizes = { numForget, numRetain: sizes.numTrain - numForget, recipeEpochs: plan.recipe.epochs };
  const snapshots = Math.max(1, spec.costRun.evalEpochs.length);
  const fraction = spec.method.computeFraction(jobSizes, spec.costRun.setting, spec.costRun.evalEpochs.at(-1) ?? 0);
  const forgetSet = plan.forgetSets[spec.forgetSetIndex]!.name;
  return {
    id: spec.artefact,
    label: `${forgetSet}: ${spec.label}`,
    artefacts: [spec.artefact],
    cost: models * (fraction * jobSizes.numRetain * plan.recipe.epochs + (snapshots * sizes.numPoints) / 3),
    models,
    bytes: models * snapshots * sizes.numPoints * 5,
    inputs: unlearnInputs(plan, spec),
    async produce(context) {
      const run = await spec.chooseRun(context);
      const inputs = await taskInputs(context, spec, forgetSet, run.setting);
      const logits =
        spec.method.kind === 'direct' ? directLogits(spec.method, inputs, run) : await trainedLogits(context, spec.method, inputs, run);
      return [await encodeRun(context, spec, run, logits)];
    },
  };
}

/** Originals are trained with the plan's recipe; their number decides nothing. */
function unlearnInputs(plan: Plan, { method, setting, runs, forgetSetIndex, first, end }: UnlearnTaskSpec): object {
  return {
    method: method.name,
    setting,
    forgetSet: forgetSetInputs(plan, forgetSetIndex),
    originals: { first, end, training: trainingInputs(plan) },
    ...(method.needs.datamodels ? shiftInputs(plan, runs) : {}),
    ...(method.needs.matchedOracles ? { oracles: oracleInputs(plan, forgetSetIndex) } : {}),
  };
}

/** What the datamodels of some runs come from. */
function shiftInputs(plan: Plan, runs: readonly GridRun[]): object {
  const [first, ...others] = attributorsIn(plan, runs);
  const calibrated = runs.filter(({ setting }) => isCalibrated(setting)).map(({ setting }) => attributorOfSetting(plan, setting));
  return {
    datamodels: datamodelInputs(plan, first),
    ...(others.length > 0
      ? { others: others.map(({ name, options, models }) => ({ name, options, ...(models === undefined ? {} : { models }) })) }
      : {}),
    ...(calibrated.length > 0 ? { scales: calibrated.map((planned) => calibrationInputs(plan, planned)) } : {}),
  };
}

/** Fully retrained matched oracles of a forget set; their random numbers hang on its place in the plan. */
function oracleInputs(plan: Plan, forgetSetIndex: number): object {
  return { matched: plan.oracles.matched, forgetSetIndex };
}

interface RunLogits {
  /** (models * snapshots, points, classes) */
  logits: Float32Array;
  statuses: JobStatus[];
}

function directLogits(method: DirectMethod, inputs: UnlearnInput[], run: GridRun): RunLogits {
  const rows = inputs.map((input) => unlearnedLogits(method, input, run.setting));
  return {
    logits: concatenate(Float32Array, rows),
    statuses: inputs.map(({ originalDiverged }) => (originalDiverged ? 'diverged' : 'trained')),
  };
}

async function trainedLogits(context: TaskContext, method: JobMethod, inputs: UnlearnInput[], run: GridRun): Promise<RunLogits> {
  const { dataset } = context;
  const evalPoints = Int32Array.from({ length: dataset.numTrain + dataset.numValidation }, (_, p) => p);
  const jobs = inputs.filter(({ originalDiverged }) => !originalDiverged).map((input) => unlearnJob(method, input, run.setting));
  const trained = await context.engine.trainMany(
    context.net,
    dataset,
    jobs,
    { evalPoints, evalEpochs: run.evalEpochs, parameters: false },
    context,
  );
  const nothing = {
    status: 'diverged',
    logits: new Float32Array(run.evalEpochs.length * evalPoints.length * dataset.numClasses).fill(NaN),
  } as const;
  let next = 0;
  const results = inputs.map(({ originalDiverged }) => (originalDiverged ? nothing : trained[next++]!));
  return {
    logits: concatenate(
      Float32Array,
      results.map((result) => result.logits),
    ),
    statuses: results.flatMap((result) => run.evalEpochs.map(() => result.status)),
  };
}

async function encodeRun(context: TaskContext, spec: UnlearnTaskSpec, run: GridRun, { logits, statuses }: RunLogits): Promise<Artefact> {
  const { dataset } = context;
  const epochs = run.evalEpochs.length > 0 ? run.evalEpochs : [0];
  const { margins, predicted } = await nativeMargins({ logits, labels: dataset.labels, numClasses: dataset.numClasses });
  const content = encodeOutputs({
    models: Int32Array.from(statuses, (_, row) => spec.first + Math.floor(row / epochs.length)),
    snapshots: Int32Array.from(statuses, (_, row) => epochs[row % epochs.length]!),
    status: statuses,
    numPoints: dataset.numTrain + dataset.numValidation,
    numClasses: dataset.numClasses,
    margins,
    predicted,
  });
  return { path: spec.artefact, content, rows: spec.end - spec.first, firstRow: spec.first };
}

async function taskInputs(context: TaskContext, spec: UnlearnTaskSpec, forgetSet: string, setting: MethodSetting): Promise<UnlearnInput[]> {
  const { plan, run } = context;
  const { method, first, end } = spec;
  const forget = decodeIndices(await run.read(layout.forgetSet(forgetSet)));
  const readShift = async () => {
    const { folder } = attributorOfSetting(plan, setting);
    const shift = shiftParts(decodeFloats(await run.read(layout.forgetShift(forgetSet, folder))));
    return { shift, ...(await readCalibration(context, setting, folder)) };
  };
  return readInputs(context, {
    forget,
    first,
    end,
    ...(method.needs.datamodels ? await readShift() : {}),
    ...(method.needs.matchedOracles ? { oracles: await readMatchedOracles(context, forgetSet) } : {}),
  });
}
