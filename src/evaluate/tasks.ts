/** Evaluation of a plan as tasks: the choice of tuned settings, KLOM of every method on every forget set, the LDS curve. */
import { comparedModels, firstTuningOriginal } from '../store/planCounts.js';
import type { Stage, Task, TaskContext } from '../jobs/task.js';
import { decodeJson, encodeJson } from '../store/json.js';
import { layout } from '../store/layout.js';
import { decodeFloats, decodeIndices } from '../store/npyArtefact.js';
import { readOutputColumns } from '../store/outputColumns.js';
import { readOutputs, type StoredOutputs } from '../store/outputs.js';
import type {
  ForgetSetScores,
  KlomFloor,
  LdsPoint,
  LdsScores,
  MethodScore,
  MethodSetting,
  Plan,
  SettingChoice,
  SplitName,
} from '../types.js';
import { splitAccuracy } from './accuracy.js';
import {
  choose,
  type Comparison,
  halves,
  judge,
  type JudgedCandidate,
  type Margins,
  numPointsOf,
  type ScoredMethod,
  takeRows,
  unmatchedOracles,
} from './choice.js';
import { klomFloor } from './floor.js';
import { klom } from './klom.js';
import { lds } from './lds.js';
import { sampleMargins } from './marginSamples.js';
import { summariseSplits } from './percentile.js';

/** Picks the setting of a tuned grid, on originals that are not scored and against matched oracles only: scored oracles stay unseen. */
export function choiceStage(plan: Plan, methods: ScoredMethod[]): Stage {
  const tasks = plan.forgetSets.flatMap(({ name }) =>
    methods
      .filter((method) => method.tuned)
      .map((method): Task => {
        const artefact = layout.tuningChoice(name, method.method);
        return {
          ...smallTask(artefact, `choice of ${method.method} for ${name}`),
          async produce(context) {
            return [{ path: artefact, content: encodeJson(await tunedChoice(context, name, method)) }];
          },
        };
      }),
  );
  return { name: 'tuning choices', tasks };
}

async function tunedChoice(context: TaskContext, forgetSet: string, method: ScoredMethod): Promise<SettingChoice> {
  const { plan } = context;
  const { numModels } = plan.tuning;
  const splits = await pointSplits(context, forgetSet);
  const nothing = await groupOutputs(context, layout.tuningOriginals, numModels, plan.recipe.epochs);
  const matched = await oracleOutputs(context, forgetSet, 'matched', plan.oracles.matched);
  const oracles = method.trainsOnOracles
    ? unmatchedOracles(matched, { first: firstTuningOriginal, end: firstTuningOriginal + numModels }, numPointsOf(context))
    : matched;
  const comparison = { context, splits, oracles, nothing };
  const candidates: JudgedCandidate[] = [];
  for (let run = 0; run < method.runs.length; run++) {
    const outputs = readOutputs(await context.run.read(layout.tuningRun(forgetSet, method.method, run)));
    const settings = method.snapshotSettings(run);
    for (const [snapshot, epoch] of snapshotEpochs(method.runs[run]!.evalEpochs).entries()) {
      candidates.push({ run, ...(await judge(comparison, method, settings[snapshot]!, rowsAt(outputs, epoch))) });
    }
  }
  return choose(comparison, method, candidates, { models: 'tuning-originals', numModels });
}

/** KLOM of every method and setting on every split, the floor, accuracies and sampled margins (Sections 3 and 4, Figures 1, 3, 4). */
export function scoreStage(plan: Plan, methods: ScoredMethod[]): Stage {
  const tasks = plan.forgetSets.map(({ name }): Task => {
    const artefact = layout.scores(name);
    return {
      ...smallTask(artefact, `KLOM on ${name}`),
      async produce(context) {
        return [{ path: artefact, content: encodeJson(await scoreForgetSet(context, name, methods)) }];
      },
    };
  });
  return { name: 'scores', tasks };
}

async function scoreForgetSet(context: TaskContext, forgetSet: string, methods: ScoredMethod[]): Promise<ForgetSetScores> {
  const { plan, dataset } = context;
  const splits = await pointSplits(context, forgetSet);
  const numModels = comparedModels(plan);
  const scored = await oracleOutputs(context, forgetSet, 'scored', numModels);
  const matched = await oracleOutputs(context, forgetSet, 'matched', numModels);
  const originals = await groupOutputs(context, layout.originals, numModels, plan.recipe.epochs);
  const scores: MethodScore[] = [];
  const choices: SettingChoice[] = [];
  let dmDirect: Float32Array | undefined;
  for (const method of methods) {
    const { rows, choice, margins } = await scoreMethod(
      { context, splits, oracles: matched, nothing: originals },
      forgetSet,
      method,
      scored,
    );
    scores.push(...rows);
    if (choice) choices.push(choice);
    if (method.method === 'dm-direct') dmDirect = margins;
  }
  const margins = dmDirect && { original: originals.margins, oracle: scored.margins, dmDirect };
  return {
    forgetSet,
    size: splits.forget.length,
    scores,
    choices,
    floor: await floorOf(context, forgetSet, scored.margins, matched.margins, splits),
    originalAccuracy: splitAccuracy({ predicted: originals.predicted, labels: dataset.labels }, splits),
    marginSamples: margins ? sampleMargins({ forgetSet, seed: plan.seed, dataset, splits, margins }) : [],
  };
}

/** Every setting against the scored oracles; the one that stands for the method is chosen without them. `margins`: of that one, where it needs no training. */
async function scoreMethod(
  comparison: Comparison,
  forgetSet: string,
  method: ScoredMethod,
  scored: Margins,
): Promise<{ rows: MethodScore[]; choice: SettingChoice | undefined; margins: Float32Array | undefined }> {
  const { context, splits } = comparison;
  const { plan, dataset } = context;
  const numModels = comparedModels(plan);
  const numPoints = numPointsOf(context);
  const given = method.tuned ? await readChoice(context, forgetSet, method) : undefined;
  const several = !method.tuned && method.runs.reduce((sum, { evalEpochs }) => sum + snapshotEpochs(evalEpochs).length, 0) > 1;
  const untuned = method.kind === 'reference' ? halves(comparison, numPoints) : { ...comparison, rows: undefined };
  const rows: MethodScore[] = [];
  const judged: JudgedCandidate[] = [];
  const direct: Float32Array[] = [];
  for await (const { run, epoch, setting, ...outputs } of methodOutputs(context, forgetSet, method, given)) {
    const sides = { oracleMargins: scored.margins, unlearnedMargins: outputs.margins, numOracles: numModels, numUnlearned: numModels };
    const result = await klom({ ...sides, numPoints }, plan.klom, context);
    const variant = method.variant(setting);
    rows.push({
      forgetSet,
      method: method.method,
      setting,
      ...(variant === undefined ? {} : { variant }),
      computeFraction: method.computeFraction(run, epoch, splits.forget.length),
      numUnlearned: numModels,
      numOracles: numModels,
      splits: summariseSplits(result.scores, splits),
      accuracy: splitAccuracy({ predicted: outputs.predicted, labels: dataset.labels }, splits),
      numNonFinite: result.numNonFinite,
      best: false,
    });
    if (method.kind === 'direct') direct.push(outputs.margins);
    const compared = untuned.rows ? takeRows(outputs, untuned.rows, numPoints) : outputs;
    if (several) judged.push({ run, ...(await judge(untuned, method, setting, compared)) });
  }
  const numCompared = untuned.rows?.length ?? numModels;
  const models = method.kind === 'reference' ? ('matched-oracles' as const) : ('scored-originals' as const);
  const choice = given ?? (several ? choose(untuned, method, judged, { models, numModels: numCompared }) : undefined);
  markBest(rows, choice);
  return { rows, choice, margins: direct[rows.findIndex((row) => row.best && row.variant === undefined)] };
}

/** What was chosen, with a score that can be shown; a method with one setting is that setting. */
function markBest(rows: MethodScore[], choice: SettingChoice | undefined): void {
  const same = (a: MethodSetting, b: MethodSetting): boolean => Object.keys(a).every((key) => a[key] === b[key]);
  for (const row of rows) {
    const chosen = choice === undefined || choice.settings.some((each) => each.chosen && same(row.setting, each.setting));
    row.best = chosen && Number.isFinite(row.splits.average.p95);
  }
}

interface ScoredOutputs extends Margins {
  run: number;
  epoch: number;
  setting: MethodSetting;
}

/** All outputs that stand for a method, one setting at a time: each run, of a tuned grid the chosen one, and each snapshot. */
async function* methodOutputs(
  context: TaskContext,
  forgetSet: string,
  method: ScoredMethod,
  choice: SettingChoice | undefined,
): AsyncGenerator<ScoredOutputs> {
  for (const run of choice ? [choice.run] : method.runs.keys()) {
    const settings = method.snapshotSettings(run);
    const compressed = method.compressedTo(run);
    const shardOf = (shard: number): string => {
      if (method.kind !== 'reference') return layout.unlearned(forgetSet, method.method, choice ? 'chosen' : run, shard);
      return compressed === undefined ? layout.oracles(forgetSet, 'matched', shard) : layout.compressed(forgetSet, compressed, shard);
    };
    for (const [snapshot, epoch] of snapshotEpochs(method.runs[run]!.evalEpochs).entries()) {
      yield { run, epoch, setting: settings[snapshot]!, ...(await groupOutputs(context, shardOf, comparedModels(context.plan), epoch)) };
    }
  }
}

async function readChoice({ run }: TaskContext, forgetSet: string, { method }: ScoredMethod): Promise<SettingChoice> {
  const artefact = layout.tuningChoice(forgetSet, method);
  return decodeJson(await run.read(artefact), artefact) as SettingChoice;
}

/** Methods without epochs store their one result as epoch 0. */
function snapshotEpochs(evalEpochs: number[]): number[] {
  return evalEpochs.length > 0 ? evalEpochs : [0];
}

/** The first `count` models of a group. */
async function groupOutputs(context: TaskContext, path: (shard: number) => string, count: number, epoch: number): Promise<Margins> {
  const { modelsPerShard } = context.plan.subsetModels;
  const numPoints = numPointsOf(context);
  const margins = new Float32Array(count * numPoints);
  const predicted = new Uint8Array(count * numPoints);
  let offset = 0;
  for (let shard = 0; shard * modelsPerShard < count; shard++) {
    const part = rowsAt(readOutputs(await context.run.read(path(shard))), epoch);
    const wanted = Math.min(part.margins.length, margins.length - offset);
    margins.set(part.margins.subarray(0, wanted), offset);
    predicted.set(part.predicted.subarray(0, wanted), offset);
    offset += wanted;
  }
  return { margins, predicted };
}

function rowsAt(outputs: StoredOutputs, epoch: number): Margins {
  const rows = [...outputs.snapshots!.keys()].filter((row) => outputs.snapshots![row] === epoch);
  const { numPoints } = outputs;
  const margins = new Float32Array(rows.length * numPoints);
  const predicted = new Uint8Array(rows.length * numPoints);
  rows.forEach((row, i) => {
    margins.set(outputs.margins!.row(row), i * numPoints);
    predicted.set(outputs.predicted!.row(row), i * numPoints);
  });
  return { margins, predicted };
}

function oracleOutputs(context: TaskContext, forgetSet: string, role: 'scored' | 'matched', count: number): Promise<Margins> {
  return groupOutputs(context, (shard) => layout.oracles(forgetSet, role, shard), count, context.plan.recipe.epochs);
}

async function pointSplits(context: TaskContext, forgetSet: string): Promise<Record<SplitName, Int32Array>> {
  const { numTrain, numValidation } = context.dataset;
  const forget = decodeIndices(await context.run.read(layout.forgetSet(forgetSet)));
  const inForget = new Set(forget);
  return {
    forget,
    retain: Int32Array.from({ length: numTrain }, (_, i) => i).filter((i) => !inForget.has(i)),
    validation: Int32Array.from({ length: numValidation }, (_, i) => numTrain + i),
  };
}

/** Matched oracles scored as if they were unlearned models: what perfection looks like with these numbers of models. */
async function floorOf(
  context: TaskContext,
  forgetSet: string,
  oracleMargins: Float32Array,
  unlearnedMargins: Float32Array,
  splits: Record<SplitName, Int32Array>,
): Promise<KlomFloor> {
  const { plan } = context;
  const numModels = comparedModels(plan);
  const counts = { numOracles: numModels, numUnlearned: numModels };
  const result = await klom({ oracleMargins, unlearnedMargins, ...counts, numPoints: numPointsOf(context) }, plan.klom, context);
  const tabulated = await klomFloor(counts, plan.klom);
  return {
    forgetSet,
    numOracles: numModels,
    numHeldOut: numModels,
    measured: summariseSplits(result.scores, splits),
    tabulatedMean: tabulated.mean,
    tabulatedP95: tabulated.p95,
    ...(await copiesFloor(plan)),
  };
}

/** What oracle matching would score at best, were all models of the plan scored. */
async function copiesFloor({ methods, originals, oracles, klom: options }: Plan): Promise<Pick<KlomFloor, 'copies'>> {
  const [numUnlearned, numDistinct] = [Math.min(originals.count, oracles.scored), oracles.matched];
  if (numDistinct >= numUnlearned || !methods.some(({ method }) => method === 'oracle-matching')) return {};
  const floor = await klomFloor({ numOracles: numUnlearned, numUnlearned, numDistinct }, options);
  return { copies: { numUnlearned, numDistinct, ...floor } };
}

/** Spearman correlation of predictions and truth on held-out masks, for each fit of the curve (Figure G.6). */
export function ldsStage(plan: Plan, split: { firstHeldOut: number; heldOut: number; numModels: number[] }): Stage {
  const artefact = layout.ldsScores;
  const task: Task = {
    ...smallTask(artefact, 'LDS'),
    async produce(context) {
      const { numTrain, numValidation } = context.dataset;
      const numPoints = numTrain + numValidation;
      const shards = Array.from({ length: Math.ceil(plan.subsetModels.count / plan.subsetModels.modelsPerShard) }, (_, shard) => shard);
      const all = await readOutputColumns(context.run, shards, 'margins', 0, numPoints);
      const actual = all.subarray(split.firstHeldOut * numPoints, (split.firstHeldOut + split.heldOut) * numPoints);
      const points: LdsPoint[] = [];
      for (const estimator of ['lasso', 'marginal'] as const) {
        for (const numModels of split.numModels) {
          const predicted = decodeFloats(await context.run.read(layout.ldsPredictions(estimator, numModels)));
          for (const [name, first, end] of [
            ['train', 0, numTrain],
            ['validation', numTrain, numPoints],
          ] as const) {
            const score = await lds({ predicted, actual, numModels: split.heldOut, numPoints }, { first, end, seed: plan.seed });
            points.push({ estimator, numModels, points: name, mean: score.mean, median: score.median, low: score.low, high: score.high });
          }
        }
      }
      const content: LdsScores = { lds: points };
      return [{ path: artefact, content: encodeJson(content) }];
    },
  };
  return { name: 'LDS', tasks: [task] };
}

function smallTask(artefact: string, label: string): Pick<Task, 'id' | 'label' | 'artefacts' | 'cost' | 'models' | 'bytes'> {
  return { id: artefact, label, artefacts: [artefact], cost: 100, models: 0, bytes: 100_000 };
}
