/** Evaluation of a plan as tasks: the choice of tuned settings, KLOM of every method on every forget set, the LDS curve. */
import { comparedModels, firstTuningOriginal } from '../jobs/planCounts.js';
import type { Stage, Task, TaskContext } from '../jobs/task.js';
import { decodeJson, encodeJson } from '../store/disk/json.js';
import { layout } from '../store/folders/layout.js';
import { decodeFloats, decodeIndices } from '../store/contents/npyArtefact.js';
import { readOutputColumns } from '../store/folders/outputColumns.js';
import { readOutputs } from '../store/contents/outputs.js';
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
import { dmDirect as dmDirectMethod, trainsOnOracles, unlearnMethod } from '../unlearn/registry.js';
import { splitAccuracy } from './accuracy.js';
import {
  choose,
  type Comparison,
  halves,
  judge,
  type JudgedCandidate,
  modelsBefore,
  type ScoredMethod,
  unmatchedOracles,
} from './choice.js';
import { klomFloor } from './floor.js';
import { klom, type KlomResult } from './klom.js';
import { lds } from './lds.js';
import { sampleMargins } from './marginSamples.js';
import { allDiverged, divergedModels, groupOutputs, numPointsOf, oracleOutputs, type Outputs, outputsAt } from './outputs.js';
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
  const nothing = await groupOutputs(context, { path: layout.tuningOriginals, count: numModels, epoch: plan.recipe.epochs });
  const matched = await oracleOutputs(context, forgetSet, 'matched');
  const oracles = method.trainsOnOracles
    ? unmatchedOracles(matched, { first: firstTuningOriginal, end: firstTuningOriginal + numModels }, numPointsOf(context))
    : matched;
  const comparison = { context, splits, oracles, nothing, lost: nothing.diverged };
  const candidates: JudgedCandidate[] = [];
  for (let run = 0; run < method.runs.length; run++) {
    const outputs = readOutputs(await context.run.read(layout.tuningRun(forgetSet, method.method, run)));
    const settings = method.snapshotSettings(run);
    for (const [snapshot, epoch] of snapshotEpochs(method.runs[run]!.evalEpochs).entries()) {
      candidates.push({ run, ...(await judge(comparison, method, settings[snapshot]!, outputsAt(outputs, epoch))) });
    }
  }
  return choose(comparison, method, candidates, {
    models: 'tuning-originals',
    numModels: nothing.models.length,
    ...divergedModels([{ group: 'tuning originals', count: numModels, models: nothing.diverged }]),
  });
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
  const everyOriginal = { path: layout.originals, count: plan.originals.count, epoch: plan.recipe.epochs };
  const originals = await groupOutputs(context, { ...everyOriginal, used: numModels });
  if (scored.models.length === 0) throw allDiverged(plan, `scored oracles of ${forgetSet}`);
  let scores: MethodScore[] = [];
  const choices: SettingChoice[] = [];
  let dmDirect: Float32Array | undefined;
  for (const method of methods) {
    const comparison = { context, splits, oracles: matched, nothing: originals, lost: originals.diverged };
    const { rows, choice, margins } = await scoreMethod(comparison, forgetSet, method, scored);
    scores = scores.concat(rows);
    if (choice) choices.push(choice);
    if (method.method === dmDirectMethod.name) dmDirect = margins;
  }
  const margins = dmDirect && { original: originals.margins, oracle: scored.margins, dmDirect };
  return {
    forgetSet,
    size: splits.forget.length,
    scores,
    choices,
    floor: await floorOf(context, forgetSet, { scored, matched }, splits),
    originalAccuracy: splitAccuracy({ predicted: originals.predicted, labels: dataset.labels }, splits),
    marginSamples: margins ? sampleMargins({ forgetSet, seed: plan.seed, dataset, splits, margins }) : [],
    ...divergedModels([
      { group: 'originals', count: plan.originals.count, models: originals.diverged },
      ...(choices.find(({ diverged }) => diverged)?.diverged ?? []), // every tuned method looks at the same
      { group: `scored oracles of ${forgetSet}`, count: plan.oracles.scored, models: scored.diverged },
      { group: `matched oracles of ${forgetSet}`, count: plan.oracles.matched, models: matched.diverged },
    ]),
  };
}

/** Every setting against the scored oracles; the one that stands for the method is chosen without them. `margins`: of that one, where it needs no training. */
async function scoreMethod(
  comparison: Comparison,
  forgetSet: string,
  method: ScoredMethod,
  scored: Outputs,
): Promise<{ rows: MethodScore[]; choice: SettingChoice | undefined; margins: Float32Array | undefined }> {
  const { context, splits } = comparison;
  const { dataset } = context;
  const numPoints = numPointsOf(context);
  const given = method.tuned ? await readChoice(context, forgetSet, method) : undefined;
  const several = !method.tuned && method.runs.reduce((sum, { evalEpochs }) => sum + snapshotEpochs(evalEpochs).length, 0) > 1;
  const untuned = method.kind === 'reference' ? halves(comparison, numPoints) : { ...comparison, end: undefined };
  const rows: MethodScore[] = [];
  const judged: JudgedCandidate[] = [];
  const direct: Float32Array[] = [];
  for await (const { run, epoch, setting, ...outputs } of methodOutputs(context, forgetSet, method, given)) {
    const result = await klomOf(context, scored, outputs);
    const variant = method.variant(setting);
    rows.push({
      forgetSet,
      method: method.method,
      setting,
      ...(variant === undefined ? {} : { variant }),
      computeFraction: method.computeFraction(run, epoch, splits.forget.length),
      numUnlearned: outputs.models.length,
      numOracles: scored.models.length,
      splits: summariseSplits(result.scores, splits),
      accuracy: splitAccuracy({ predicted: outputs.predicted, labels: dataset.labels }, splits),
      numNonFinite: result.numNonFinite,
      ...(outputs.diverged.length > 0 ? { numDiverged: outputs.diverged.length } : {}),
      best: false,
    });
    if (method.kind === 'direct') direct.push(outputs.margins);
    const compared = untuned.end === undefined ? outputs : modelsBefore(outputs, untuned.end, numPoints);
    if (several) judged.push({ run, ...(await judge(untuned, method, setting, compared)) });
  }
  const isReference = method.kind === 'reference';
  const { models } = isReference ? comparison.oracles : comparison.nothing;
  const numModels = untuned.end === undefined ? models.length : models.indexOf(untuned.end);
  const compared = { models: isReference ? ('matched-oracles' as const) : ('scored-originals' as const), numModels };
  const choice = given ?? (several ? choose(untuned, method, judged, compared) : undefined);
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

interface ScoredOutputs extends Outputs {
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
      const group = { path: shardOf, count: comparedModels(context.plan), epoch };
      yield { run, epoch, setting: settings[snapshot]!, ...(await groupOutputs(context, group)) };
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

/** NaN where no model is left. */
async function klomOf(context: TaskContext, oracles: Outputs, unlearned: Outputs): Promise<Pick<KlomResult, 'scores' | 'numNonFinite'>> {
  const numPoints = numPointsOf(context);
  const [numOracles, numUnlearned] = [oracles.models.length, unlearned.models.length];
  if (numUnlearned === 0) return { scores: new Float64Array(numPoints).fill(NaN), numNonFinite: 0 };
  const margins = { oracleMargins: oracles.margins, unlearnedMargins: unlearned.margins };
  return klom({ ...margins, numOracles, numUnlearned, numPoints }, context.plan.klom, context);
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
  { scored, matched }: { scored: Outputs; matched: Outputs },
  splits: Record<SplitName, Int32Array>,
): Promise<KlomFloor> {
  const { plan } = context;
  const [numOracles, numHeldOut] = [scored.models.length, matched.models.length];
  const result = await klomOf(context, scored, matched);
  const tabulated = numHeldOut === 0 ? { mean: NaN, p95: NaN } : await klomFloor({ numOracles, numUnlearned: numHeldOut }, plan.klom);
  return {
    forgetSet,
    numOracles,
    numHeldOut,
    measured: summariseSplits(result.scores, splits),
    tabulatedMean: tabulated.mean,
    tabulatedP95: tabulated.p95,
    ...(await copiesFloor(plan)),
  };
}

/** What oracle matching would score at best, were all models of the plan scored. */
async function copiesFloor({ methods, originals, oracles, klom: options }: Plan): Promise<Pick<KlomFloor, 'copies'>> {
  const [numUnlearned, numDistinct] = [Math.min(originals.count, oracles.scored), oracles.matched];
  if (numDistinct >= numUnlearned || !methods.some(({ method }) => trainsOnOracles(unlearnMethod(method)))) return {};
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
      const columns = { first: 0, end: numPoints };
      const { values, trained, numModels: all } = await readOutputColumns(context.run, shards, 'margins', columns);
      const heldOut = trained.filter((model) => model >= split.firstHeldOut);
      const actual = values.subarray((trained.length - heldOut.length) * numPoints);
      const points: LdsPoint[] = [];
      for (const estimator of ['lasso', 'marginal'] as const) {
        for (const numModels of split.numModels) {
          const stored = decodeFloats(await context.run.read(layout.ldsPredictions(estimator, numModels)));
          const predicted = selectPredictions(
            stored,
            heldOut.map((model) => model - split.firstHeldOut),
            numPoints,
          );
          const reason = noScore(trained.filter((model) => model < numModels).length, heldOut.length);
          for (const [name, first, end] of [
            ['train', 0, numTrain],
            ['validation', numTrain, numPoints],
          ] as const) {
            const score = await lds({ predicted, actual, numModels: heldOut.length, numPoints }, { first, end, seed: plan.seed });
            const { mean, median, low, high } = score;
            points.push({ estimator, numModels, points: name, mean, median, low, high, ...(reason === undefined ? {} : { reason }) });
          }
        }
      }
      const lost = new Set(trained);
      const diverged = Array.from({ length: all }, (_, model) => model).filter((model) => !lost.has(model));
      const content: LdsScores = { lds: points, ...divergedModels([{ group: 'subset models', count: all, models: diverged }]) };
      return [{ path: artefact, content: encodeJson(content) }];
    },
  };
  return { name: 'LDS', tasks: [task] };
}

/** Rows of (held-out models, points). */
function selectPredictions(predicted: Float32Array, rows: Int32Array, numPoints: number): Float32Array {
  if (rows.length * numPoints === predicted.length) return predicted;
  const selected = new Float32Array(rows.length * numPoints);
  rows.forEach((row, k) => {
    selected.set(predicted.subarray(row * numPoints, (row + 1) * numPoints), k * numPoints);
  });
  return selected;
}

function noScore(numFitted: number, numHeldOut: number): string | undefined {
  if (numFitted === 0) return 'every model of the fit diverged';
  return numHeldOut < 2 ? 'fewer than two held-out models trained' : undefined;
}

function smallTask(artefact: string, label: string): Pick<Task, 'id' | 'label' | 'artefacts' | 'cost' | 'models' | 'bytes'> {
  return { id: artefact, label, artefacts: [artefact], cost: 100, models: 0, bytes: 100_000 };
}
