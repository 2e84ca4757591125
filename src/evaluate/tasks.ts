/** Evaluation of a plan as tasks: the choice of tuned settings, KLOM of every method on every forget set, the LDS curve. */
import { ExitCode, LetheError } from '../errors.js';
import type { Stage, Task, TaskContext } from '../jobs/task.js';
import { Purpose, Random } from '../native/random.js';
import { encodeJson } from '../store/json.js';
import { layout } from '../store/layout.js';
import { decodeFloats, decodeIndices } from '../store/npyArtefact.js';
import { readOutputColumns } from '../store/outputColumns.js';
import { isTrained, readOutputs, type StoredOutputs } from '../store/outputs.js';
import type {
  DivergedModels,
  ForgetSetScores,
  KlomFloor,
  LdsPoint,
  LdsScores,
  MarginSample,
  MethodName,
  MethodScore,
  MethodSetting,
  Plan,
  SplitName,
} from '../types.js';
import { splitAccuracy } from './accuracy.js';
import { klomFloor } from './floor.js';
import { klom } from './klom.js';
import { lds } from './lds.js';
import { summariseSplits } from './percentile.js';
import { tuningScore } from './tuning.js';

/** A method's runs as evaluation sees them; unlearn/ knows the method behind. */
export interface ScoredMethod {
  method: MethodName;
  /** 'reference' methods are read from the matched oracles. */
  kind: 'job' | 'direct' | 'reference';
  tuned: boolean;
  runs: { setting: MethodSetting; evalEpochs: number[] }[];
  /** Settings of the snapshots of a run, in the order of evalEpochs. */
  snapshotSettings(run: number): MethodSetting[];
  /** As a fraction of full retraining after `epochs` of run `run`, for a forget set of this size. */
  computeFraction(run: number, epochs: number, numForget: number): number;
}

/** Content of unlearned/<forgetSet>/<method>/tuning.json. */
export interface TuningTable {
  run: number;
  settings: { setting: MethodSetting; score: number }[];
}

/** Picks the run of a tuned grid with the best snapshot, against matched oracles only: scored oracles stay unseen. */
export function choiceStage(plan: Plan, methods: ScoredMethod[]): Stage {
  const tasks = plan.forgetSets.flatMap(({ name }) =>
    methods
      .filter((method) => method.tuned)
      .map((method): Task => {
        const artefact = layout.tuningChoice(name, method.method);
        return {
          ...smallTask(artefact, `choice of ${method.method} for ${name}`),
          async produce(context) {
            return [{ path: artefact, content: encodeJson(await tuningTable(context, name, method)) }];
          },
        };
      }),
  );
  return { name: 'tuning choices', tasks };
}

async function tuningTable(context: TaskContext, forgetSet: string, method: ScoredMethod): Promise<TuningTable> {
  const { plan, dataset } = context;
  const splits = await pointSplits(context, forgetSet);
  const oracle = (await oracleOutputs(context, forgetSet, 'matched')).margins;
  const numPoints = dataset.numTrain + dataset.numValidation;
  const originals = await groupOutputs(context, (shard) => layout.originals(shard), plan.tuning.numModels, plan.recipe.epochs);
  const lost = new Set(originals.diverged);
  const table: TuningTable = { run: 0, settings: [] };
  let best = Infinity;
  for (let run = 0; run < method.runs.length; run++) {
    const outputs = readOutputs(await context.run.read(layout.tuningRun(forgetSet, method.method, run)));
    const settings = method.snapshotSettings(run);
    for (const [snapshot, epoch] of snapshotEpochs(method.runs[run]!.evalEpochs).entries()) {
      // what an original has lost says nothing about a setting; what a setting loses speaks against it
      const unlearnedMargins = marginsOf(
        outputs,
        rowsAt(outputs, epoch).filter((row) => !lost.has(outputs.models[row]!)),
      );
      const score = unlearnedMargins.length > 0 ? await tuningScore({ oracleMargins: oracle, unlearnedMargins, numPoints }, splits) : NaN;
      table.settings.push({ setting: settings[snapshot]!, score });
      if (score < best) {
        best = score;
        table.run = run;
      }
    }
  }
  return table;
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
  const scored = await oracleOutputs(context, forgetSet, 'scored');
  const matched = await oracleOutputs(context, forgetSet, 'matched');
  const oracle = scored.margins;
  const numPoints = dataset.numTrain + dataset.numValidation;
  const numOracles = oracle.length / numPoints;
  if (numOracles === 0) throw allDiverged(plan, `scored oracles of ${forgetSet}`);
  let scores: MethodScore[] = [];
  let dmDirect: Float32Array | undefined;
  for (const method of methods) {
    const rows: MethodScore[] = [];
    for (const candidate of await methodOutputs(context, forgetSet, method)) {
      const numUnlearned = candidate.margins.length / numPoints;
      const result = await klomOf(context, oracle, candidate.margins);
      rows.push({
        forgetSet,
        method: method.method,
        setting: candidate.setting,
        computeFraction: method.computeFraction(candidate.run, candidate.epoch, splits.forget.length),
        numUnlearned,
        numOracles,
        splits: summariseSplits(result.scores, splits),
        accuracy: splitAccuracy({ predicted: candidate.predicted, labels: dataset.labels }, splits),
        numNonFinite: result.numNonFinite,
        ...(candidate.diverged.length > 0 ? { numDiverged: candidate.diverged.length } : {}),
        best: false,
      });
      if (method.method === 'dm-direct') dmDirect ??= candidate.margins;
    }
    markBest(rows);
    scores = scores.concat(rows);
  }
  const originals = await groupOutputs(context, (shard) => layout.originals(shard), plan.originals.count, plan.recipe.epochs);
  return {
    forgetSet,
    size: splits.forget.length,
    scores,
    floor: await floorOf(context, forgetSet, { scored: oracle, matched: matched.margins }, splits),
    originalAccuracy: splitAccuracy({ predicted: originals.predicted, labels: dataset.labels }, splits),
    marginSamples: dmDirect ? sampleMargins(context, forgetSet, splits, { original: originals.margins, oracle, dmDirect }) : [],
    ...divergedModels([
      { group: 'originals', count: plan.originals.count, models: originals.diverged },
      { group: `scored oracles of ${forgetSet}`, count: plan.oracles.scored, models: scored.diverged },
      { group: `matched oracles of ${forgetSet}`, count: plan.oracles.matched, models: matched.diverged },
    ]),
  };
}

/** The paper reports the best KLOM of each grid: smallest p95 averaged over the three splits. */
function markBest(rows: MethodScore[]): void {
  const finite = rows.filter((row) => Number.isFinite(row.splits.average.p95));
  const best = finite.reduce<MethodScore | undefined>(
    (least, row) => (least === undefined || row.splits.average.p95 < least.splits.average.p95 ? row : least),
    undefined,
  );
  if (best) best.best = true;
}

interface Candidate extends Outputs {
  run: number;
  epoch: number;
  setting: MethodSetting;
}

/** All outputs that stand for a method: each run and snapshot. */
async function methodOutputs(context: TaskContext, forgetSet: string, method: ScoredMethod): Promise<Candidate[]> {
  const { plan } = context;
  const candidates: Candidate[] = [];
  const which = method.tuned ? [await chosenRun(context, forgetSet, method)] : method.runs.map((_, run) => run);
  for (const run of which) {
    const settings = method.snapshotSettings(run);
    const shardOf = (shard: number): string =>
      method.kind === 'reference'
        ? layout.oracles(forgetSet, 'matched', shard)
        : layout.unlearned(forgetSet, method.method, method.tuned ? 'chosen' : run, shard);
    const count = method.kind === 'reference' ? plan.oracles.matched : plan.originals.count;
    for (const [snapshot, epoch] of snapshotEpochs(method.runs[run]!.evalEpochs).entries()) {
      candidates.push({ run, epoch, setting: settings[snapshot]!, ...(await groupOutputs(context, shardOf, count, epoch)) });
    }
  }
  return candidates;
}

async function chosenRun(context: TaskContext, forgetSet: string, method: ScoredMethod): Promise<number> {
  const bytes = await context.run.read(layout.tuningChoice(forgetSet, method.method));
  return (JSON.parse(Buffer.from(bytes).toString('utf8')) as TuningTable).run;
}

/** Methods without epochs store their one result as epoch 0. */
function snapshotEpochs(evalEpochs: number[]): number[] {
  return evalEpochs.length > 0 ? evalEpochs : [0];
}

/** Models that diverged are not among the rows. */
interface Outputs {
  /** (models, points) */
  margins: Float32Array;
  /** (models, points) */
  predicted: Uint8Array;
  /** Models without outputs at that epoch. */
  diverged: number[];
}

async function groupOutputs(context: TaskContext, path: (shard: number) => string, count: number, epoch: number): Promise<Outputs> {
  const { modelsPerShard } = context.plan.subsetModels;
  const numPoints = context.dataset.numTrain + context.dataset.numValidation;
  const margins = new Float32Array(count * numPoints);
  const predicted = new Uint8Array(count * numPoints);
  const diverged: number[] = [];
  let filled = 0;
  for (let shard = 0; shard * modelsPerShard < count; shard++) {
    const outputs = readOutputs(await context.run.read(path(shard)));
    for (const row of rowsAt(outputs, epoch).filter((at) => outputs.models[at]! < count)) {
      if (!isTrained(outputs, row)) {
        diverged.push(outputs.models[row]!);
        continue;
      }
      margins.set(outputs.margins!.row(row), filled);
      predicted.set(outputs.predicted!.row(row), filled);
      filled += numPoints;
    }
  }
  return { margins: margins.subarray(0, filled), predicted: predicted.subarray(0, filled), diverged };
}

function rowsAt({ snapshots }: StoredOutputs, epoch: number): number[] {
  return [...snapshots!.keys()].filter((row) => snapshots![row] === epoch);
}

/** (rows, points) */
function marginsOf(outputs: StoredOutputs, rows: number[]): Float32Array {
  const margins = new Float32Array(rows.length * outputs.numPoints);
  rows.forEach((row, i) => {
    margins.set(outputs.margins!.row(row), i * outputs.numPoints);
  });
  return margins;
}

function oracleOutputs(context: TaskContext, forgetSet: string, role: 'scored' | 'matched'): Promise<Outputs> {
  const { oracles, recipe } = context.plan;
  return groupOutputs(context, (shard) => layout.oracles(forgetSet, role, shard), oracles[role], recipe.epochs);
}

/** Only those of which some diverged; empty where none has. */
function divergedModels(groups: DivergedModels[]): { diverged?: DivergedModels[] } {
  const diverged = groups.filter(({ models }) => models.length > 0);
  return diverged.length > 0 ? { diverged } : {};
}

function allDiverged({ recipe }: Plan, what: string): LetheError {
  return new LetheError('LETHE_MODELS_DIVERGED', `all ${what} diverged`, {
    expected: 'models that train',
    action: `Lower recipe.schedule.learningRate (${recipe.schedule.learningRate}), and run the changed plan in another folder.`,
    exitCode: ExitCode.taskFailed,
  });
}

/** KLOM of (models, points) margins; NaN where there is no model. */
async function klomOf(context: TaskContext, oracleMargins: Float32Array, unlearnedMargins: Float32Array) {
  const numPoints = context.dataset.numTrain + context.dataset.numValidation;
  const [numOracles, numUnlearned] = [oracleMargins.length / numPoints, unlearnedMargins.length / numPoints];
  if (numUnlearned === 0) return { scores: new Float64Array(numPoints).fill(NaN), numNonFinite: 0 };
  return klom({ oracleMargins, unlearnedMargins, numOracles, numUnlearned, numPoints }, context.plan.klom, context);
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
  { scored, matched }: { scored: Float32Array; matched: Float32Array },
  splits: Record<SplitName, Int32Array>,
): Promise<KlomFloor> {
  const { plan } = context;
  const numPoints = context.dataset.numTrain + context.dataset.numValidation;
  const [numOracles, numUnlearned] = [scored.length / numPoints, matched.length / numPoints];
  const result = await klomOf(context, scored, matched);
  const tabulated = await klomFloor({ numOracles, numUnlearned: plan.originals.count }, plan.klom);
  return {
    forgetSet,
    numOracles,
    numHeldOut: numUnlearned,
    measured: summariseSplits(result.scores, splits),
    tabulatedMean: tabulated.mean,
    tabulatedP95: tabulated.p95,
  };
}

const samplesPerSplit = 4;

function sampleMargins(
  context: TaskContext,
  forgetSet: string,
  splits: Record<SplitName, Int32Array>,
  margins: { original: Float32Array; oracle: Float32Array; dmDirect: Float32Array },
): MarginSample[] {
  const { dataset, plan } = context;
  const numPoints = dataset.numTrain + dataset.numValidation;
  const column = (matrix: Float32Array, point: number): number[] =>
    Array.from({ length: matrix.length / numPoints }, (_, model) => matrix[model * numPoints + point]!);
  const random = new Random(plan.seed, Purpose.bootstrap, 1);
  return (['forget', 'retain'] as const).flatMap((split) => {
    const left = [...splits[split]];
    return Array.from({ length: Math.min(samplesPerSplit, left.length) }, () => {
      const point = left.splice(random.below(left.length), 1)[0]!;
      return {
        forgetSet,
        split,
        point,
        label: dataset.classNames[dataset.labels[point]!]!,
        original: column(margins.original, point),
        oracle: column(margins.oracle, point),
        dmDirect: column(margins.dmDirect, point),
      };
    });
  });
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
