/** Training stages of a plan as tasks: subset models, originals, oracles. One shard of models is one task. */
import { range, retainIndices } from '../data/indices.js';
import { maskIndices } from '../data/masks.js';
import { type Shard, shardRanges } from '../jobs/shards.js';
import type { Artefact, Stage, Task, TaskContext } from '../jobs/task.js';
import { concatenate } from '../native/concatenate.js';
import { nativeMargins } from '../native/margins.js';
import { layout } from '../store/folders/layout.js';
import { readMasks } from '../store/contents/masksFile.js';
import { decodeIndices } from '../store/contents/npyArtefact.js';
import { encodeOutputs } from '../store/contents/outputs.js';
import { ldsSplit } from '../jobs/ldsSplit.js';
import { comparedModels, firstTuningOriginal } from '../jobs/planCounts.js';
import { forgetSetInputs, trainingInputs } from '../jobs/planInputs.js';
import type { Plan, TrainJob, TrainRecipe } from '../types.js';
import { modelKey, type ModelGroup, trainingJob } from './jobs.js';

/** What the stages need to know about sizes before anything has run. */
export interface PlanSizes {
  numTrain: number;
  numPoints: number;
  numClasses: number;
  numParameters: number;
}

interface GroupTask {
  label: string;
  artefact: string;
  group: ModelGroup;
  shard: Pick<Shard, 'first' | 'end'>;
  /** Absent: the plan's. */
  recipe?: TrainRecipe;
  /** Examples a model trains on, for the cost estimate. */
  trainSize: number;
  evalEpochs: number[];
  keepParameters: boolean;
  /** Of the plan, beside what every training needs: what decides `indices`. */
  subset: object;
  /** Train indices of each model of the shard. */
  indices(context: TaskContext, shard: Pick<Shard, 'first' | 'end'>): Promise<Int32Array[]>;
}

/** m models on random subsets: logits and margins of every point (docs/method-notes.md: 10 regressions a point). */
export function subsetStage(plan: Plan, sizes: PlanSizes): Stage {
  const { count, subsetFraction, modelsPerShard } = plan.subsetModels;
  return {
    name: 'subset models',
    tasks: shardRanges(count, modelsPerShard).map(({ shard, first, end }) =>
      groupTask(plan, sizes, {
        label: `subset models ${first}-${end - 1}`,
        artefact: layout.subsetOutputs(shard),
        group: { kind: 'subset' },
        shard: { first, end },
        trainSize: Math.round(subsetFraction * sizes.numTrain),
        evalEpochs: [plan.recipe.epochs],
        keepParameters: false,
        subset: { subsetFraction },
        async indices(context, rows) {
          const masks = readMasks(await context.run.read(layout.masks));
          return Array.from({ length: rows.end - rows.first }, (_, i) => maskIndices(masks, rows.first + i));
        },
      }),
    ),
  };
}

/** The masks that the LDS curve holds out once more (lds.ceiling): what two models of one mask have in common is all that can be predicted. */
export function repeatStage(plan: Plan, sizes: PlanSizes): Stage {
  const { subsetFraction, modelsPerShard } = plan.subsetModels;
  const { firstHeldOut, heldOut } = ldsSplit(plan);
  const repeated = plan.lds.ceiling ? shardRanges(heldOut, modelsPerShard) : [];
  return {
    name: 'held-out masks again',
    tasks: repeated.map(({ shard, first, end }) =>
      groupTask(plan, sizes, {
        label: `held-out masks ${firstHeldOut + first}-${firstHeldOut + end - 1} again`,
        artefact: layout.repeatedOutputs(shard),
        group: { kind: 'repeat' },
        shard: { first, end },
        trainSize: Math.round(subsetFraction * sizes.numTrain),
        evalEpochs: [plan.recipe.epochs],
        keepParameters: false,
        subset: { subsetFraction, firstHeldOut },
        async indices(context, rows) {
          const masks = readMasks(await context.run.read(layout.masks));
          return Array.from({ length: rows.end - rows.first }, (_, i) => maskIndices(masks, firstHeldOut + rows.first + i));
        },
      }),
    ),
  };
}

/** Models trained on all data: the starting points of unlearning. `numTuning` of them, apart from the scored ones, are for tuning. */
export function originalStage(plan: Plan, sizes: PlanSizes, numTuning: number): Stage {
  const { count } = plan.originals;
  const { modelsPerShard } = plan.subsetModels;
  const task = (label: string, artefact: string, first: number, end: number): Task =>
    groupTask(plan, sizes, {
      label,
      artefact,
      group: { kind: 'original' },
      shard: { first, end },
      trainSize: sizes.numTrain,
      evalEpochs: [plan.recipe.epochs],
      keepParameters: true,
      subset: {},
      indices: (_context, rows) => Promise.resolve(Array.from({ length: rows.end - rows.first }, () => range(sizes.numTrain))),
    });
  return {
    name: 'originals',
    tasks: [
      ...shardRanges(count, modelsPerShard).map(({ shard, first, end }) =>
        task(`originals ${first}-${end - 1}`, layout.originals(shard), first, end),
      ),
      ...shardRanges(numTuning, modelsPerShard).map(({ shard, first, end }) =>
        task(`tuning originals ${first}-${end - 1}`, layout.tuningOriginals(shard), firstTuningOriginal + first, firstTuningOriginal + end),
      ),
    ],
  };
}

/** Partial retraining (D.4 I): matched oracles are also evaluated at `cut`; recipes of models of their own are the plan's, compressed. */
export interface PartialLengths {
  cut: number[];
  own: TrainRecipe[];
}

/** Models retrained on the retain set, and shorter retrainings with the random numbers of the matched ones. */
export function oracleStage(plan: Plan, sizes: PlanSizes, forgetSizes: number[], partial: PartialLengths): Stage {
  const tasks: Task[] = [];
  const { recipe, oracles } = plan;
  const groups = [
    { name: 'scored', role: 'scored' as const, count: oracles.scored, recipe, evalEpochs: [recipe.epochs] },
    { name: 'matched', role: 'matched' as const, count: oracles.matched, recipe, evalEpochs: [...partial.cut, recipe.epochs] },
    ...partial.own.map((compressed) => {
      const [name, evalEpochs] = [`compressed ${compressed.epochs}-epoch`, [compressed.epochs]];
      return { name, role: 'matched' as const, count: comparedModels(plan), recipe: compressed, evalEpochs };
    }),
  ];
  plan.forgetSets.forEach((forgetSet, forgetSetIndex) => {
    for (const { name, role, count, recipe: own, evalEpochs } of groups) {
      for (const { shard, first, end } of shardRanges(count, plan.subsetModels.modelsPerShard)) {
        tasks.push(
          groupTask(plan, sizes, {
            label: `${name} oracles of ${forgetSet.name} ${first}-${end - 1}`,
            artefact: own === recipe ? layout.oracles(forgetSet.name, role, shard) : layout.compressed(forgetSet.name, own.epochs, shard),
            group: { kind: 'oracle', forgetSetIndex, role },
            shard: { first, end },
            recipe: own,
            trainSize: sizes.numTrain - forgetSizes[forgetSetIndex]!,
            evalEpochs,
            keepParameters: false,
            subset: forgetSetInputs(plan, forgetSetIndex),
            async indices(context, rows) {
              const forget = decodeIndices(await context.run.read(layout.forgetSet(forgetSet.name)));
              const retain = retainIndices(sizes.numTrain, forget);
              return Array.from({ length: rows.end - rows.first }, () => retain);
            },
          }),
        );
      }
    }
  });
  return { name: 'oracles', tasks };
}

function groupTask(plan: Plan, sizes: PlanSizes, spec: GroupTask): Task {
  const models = spec.shard.end - spec.shard.first;
  const recipe = spec.recipe ?? plan.recipe;
  const rowFloats = spec.evalEpochs.length * sizes.numPoints * (sizes.numClasses + 1);
  // a forward pass is about a third of a gradient step
  const evalCost = (spec.evalEpochs.length * sizes.numPoints) / 3;
  return {
    id: spec.artefact,
    label: spec.label,
    artefacts: [spec.artefact],
    cost: models * (recipe.epochs * spec.trainSize + evalCost),
    models,
    bytes: models * 4 * (rowFloats + (spec.keepParameters ? sizes.numParameters : 0)),
    inputs: {
      training: trainingInputs({ ...plan, recipe }),
      group: spec.group,
      shard: spec.shard,
      evalEpochs: spec.evalEpochs,
      subset: spec.subset,
    },
    async produce(context) {
      const indices = await spec.indices(context, spec.shard);
      const jobs = indices.map((subset, i) => trainingJob(recipe, plan.seed, modelKey(spec.group, spec.shard.first + i), subset));
      return [await trainShard(context, spec, jobs)];
    },
  };
}

async function trainShard(context: TaskContext, spec: GroupTask, jobs: TrainJob[]): Promise<Artefact> {
  const { dataset, engine, net } = context;
  const evalPoints = range(dataset.numTrain + dataset.numValidation);
  const results = await engine.trainMany(
    net,
    dataset,
    jobs,
    { evalPoints, evalEpochs: spec.evalEpochs, parameters: spec.keepParameters },
    context,
  );
  const snapshots = spec.evalEpochs.length;
  const rowSize = evalPoints.length * dataset.numClasses;
  const logits = new Float32Array(results.length * snapshots * rowSize); // (models * snapshots, points, classes)
  results.forEach((result, i) => {
    logits.set(result.logits, i * snapshots * rowSize);
  });
  const { margins, predicted } = await nativeMargins({ logits, labels: dataset.labels, numClasses: dataset.numClasses });
  const content = encodeOutputs({
    models: Int32Array.from({ length: results.length * snapshots }, (_, row) => spec.shard.first + Math.floor(row / snapshots)),
    snapshots: Int32Array.from({ length: results.length * snapshots }, (_, row) => spec.evalEpochs[row % snapshots]!),
    status: results.flatMap((result) => spec.evalEpochs.map(() => result.status)),
    numPoints: evalPoints.length,
    numClasses: dataset.numClasses,
    logits,
    margins,
    predicted,
    ...(spec.keepParameters
      ? {
          parameters: concatenate(
            Float32Array,
            results.map((result) => result.parameters!),
          ),
        }
      : {}),
  });
  return { path: spec.artefact, content, rows: results.length, firstRow: spec.shard.first };
}
