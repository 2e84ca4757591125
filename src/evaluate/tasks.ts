/** Evaluation of a plan as tasks: the choice of tuned settings, KLOM of every method on every forget set, the LDS curve. */
import type { Stage, Task, TaskContext } from '../jobs/task.js';
import { Purpose, Random } from '../native/random.js';
import { encodeJson } from '../store/json.js';
import { layout } from '../store/layout.js';
import { decodeFloats, decodeIndices } from '../store/npyArtefact.js';
import { readOutputColumns } from '../store/outputColumns.js';
import { readOutputs, type StoredOutputs } from '../store/outputs.js';
import type {
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
  const splits = await pointSplits(context, forgetSet);
  const oracle = await oracleMargins(context, forgetSet, 'matched', context.plan.recipe.epochs);
  const table: TuningTable = { run: 0, settings: [] };
  let best = Infinity;
  for (let run = 0; run < method.runs.length; run++) {
    const outputs = readOutputs(await context.run.read(layout.tuningRun(forgetSet, method.method, run)));
    const settings = method.snapshotSettings(run);
    for (const [snapshot, epoch] of snapshotEpochs(method.runs[run]!.evalEpochs).entries()) {
      const unlearnedMargins = rowsAt(outputs, epoch).margins;
      const score = await tuningScore({ oracleMargins: oracle, unlearnedMargins, numPoints: outputs.numPoints }, splits);
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
  const oracle = await oracleMargins(context, forgetSet, 'scored', plan.recipe.epochs);
  const numPoints = dataset.numTrain + dataset.numValidation;
  const numOracles = oracle.length / numPoints;
  const scores: MethodScore[] = [];
  let dmDirect: Float32Array | undefined;
  for (const method of methods) {
    const rows: MethodScore[] = [];
    for (const candidate of await methodOutputs(context, forgetSet, method)) {
      const numUnlearned = candidate.margins.length / numPoints;
      const margins = { oracleMargins: oracle, unlearnedMargins: candidate.margins, numOracles, numUnlearned, numPoints };
      const result = await klom(margins, plan.klom, context);
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
        best: false,
      });
      if (method.method === 'dm-direct') dmDirect ??= candidate.margins;
    }
    markBest(rows);
    scores.push(...rows);
  }
  const originals = await groupOutputs(context, (shard) => layout.originals(shard), plan.originals.count, plan.recipe.epochs);
  return {
    forgetSet,
    size: splits.forget.length,
    scores,
    floor: await floorOf(context, forgetSet, oracle, splits),
    originalAccuracy: splitAccuracy({ predicted: originals.predicted, labels: dataset.labels }, splits),
    marginSamples: dmDirect ? sampleMargins(context, forgetSet, splits, { original: originals.margins, oracle, dmDirect }) : [],
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

interface Candidate extends Margins {
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

interface Margins {
  /** (models, points) */
  margins: Float32Array;
  /** (models, points) */
  predicted: Uint8Array;
}

async function groupOutputs(context: TaskContext, path: (shard: number) => string, count: number, epoch: number): Promise<Margins> {
  const { modelsPerShard } = context.plan.subsetModels;
  const numPoints = context.dataset.numTrain + context.dataset.numValidation;
  const margins = new Float32Array(count * numPoints);
  const predicted = new Uint8Array(count * numPoints);
  let offset = 0;
  for (let shard = 0; shard * modelsPerShard < count; shard++) {
    const part = rowsAt(readOutputs(await context.run.read(path(shard))), epoch);
    margins.set(part.margins, offset);
    predicted.set(part.predicted, offset);
    offset += part.margins.length;
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

async function oracleMargins(context: TaskContext, forgetSet: string, role: 'scored' | 'matched', epoch: number): Promise<Float32Array> {
  return (await groupOutputs(context, (shard) => layout.oracles(forgetSet, role, shard), context.plan.oracles[role], epoch)).margins;
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
  scored: Float32Array,
  splits: Record<SplitName, Int32Array>,
): Promise<KlomFloor> {
  const { plan } = context;
  const matched = await oracleMargins(context, forgetSet, 'matched', plan.recipe.epochs);
  const numPoints = context.dataset.numTrain + context.dataset.numValidation;
  const [numOracles, numUnlearned] = [scored.length / numPoints, matched.length / numPoints];
  const result = await klom({ oracleMargins: scored, unlearnedMargins: matched, numOracles, numUnlearned, numPoints }, plan.klom, context);
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
