/** KLOM of every method of a plan on every forget set as tasks. */
import { comparedModels } from '../jobs/planCounts.js';
import type { Stage, Task, TaskContext } from '../jobs/task.js';
import { decodeJson, encodeJson } from '../store/disk/json.js';
import { layout } from '../store/folders/layout.js';
import type { ForgetSetScores, MethodScore, MethodSetting, Plan, SettingChoice, UnbiasedScore, UnbiasedScores } from '../types.js';
import { dmDirect as dmDirectMethod } from '../unlearn/registry.js';
import { splitAccuracy } from './accuracy.js';
import { sameSetting } from './chosen.js';
import { choose, type Comparison, halves, judge, type JudgedCandidate, modelsBefore, type ScoredMethod, snapshotEpochs } from './choice.js';
import { sampleMargins } from './marginSamples.js';
import { allDiverged, divergedModels, groupOutputs, numPointsOf, oracleOutputs, type Outputs, pointSplits, smallTask } from './outputs.js';
import { summariseSplits } from './percentile.js';
import { divergencesOf, floorOf, klomOf } from './planFloor.js';

/** KLOM of every method and setting on every split, the floor, accuracies and sampled margins (Sections 3 and 4, Figures 1, 3, 4). */
export function scoreStage(plan: Plan, methods: ScoredMethod[]): Stage {
  const task = (artefact: string, label: string, score: (context: TaskContext) => Promise<unknown>): Task => ({
    ...smallTask(artefact, label),
    async produce(context) {
      return [{ path: artefact, content: encodeJson(await score(context)) }];
    },
  });
  const tasks = plan.forgetSets.flatMap(({ name }) => [
    task(layout.scores(name), `KLOM on ${name}`, (context) => scoreForgetSet(context, name, methods)),
    task(layout.unbiasedScores(name), `KLOM without bias on ${name}`, (context) => unbiasedForgetSet(context, name, methods)),
  ]);
  return { name: 'scores', tasks };
}

async function unbiasedForgetSet(context: TaskContext, forgetSet: string, methods: ScoredMethod[]): Promise<UnbiasedScores> {
  const { plan } = context;
  const splits = await pointSplits(context, forgetSet);
  const scored = await oracleOutputs(context, forgetSet, 'scored', comparedModels(plan));
  const compare = async (unlearned: Outputs): Promise<UnbiasedScores['floor']> => {
    const { gaussian, neighbours } = await divergencesOf(context, scored, unlearned);
    return { gaussian: summariseSplits(gaussian, splits), neighbours: summariseSplits(neighbours, splits) };
  };
  const scores: UnbiasedScore[] = [];
  for (const method of methods) {
    const given = method.tuned ? await readChoice(context, forgetSet, method) : undefined;
    for await (const { setting, ...outputs } of methodOutputs(context, forgetSet, method, given)) {
      scores.push({ method: method.method, setting, ...(await compare(outputs)) });
    }
  }
  return { forgetSet, scores, floor: await compare(await oracleOutputs(context, forgetSet, 'matched', comparedModels(plan))) };
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
  for (const row of rows) {
    const chosen = choice === undefined || choice.settings.some((each) => each.chosen && sameSetting(row.setting, each.setting));
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
