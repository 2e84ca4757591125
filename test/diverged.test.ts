/** A run in which some models of every kind diverge: the others are scored, and the run says which were left out. */
import fs from 'node:fs';
import path from 'node:path';
import { NativeEngine } from '../src/engines/native.js';
import { loadDataset } from '../src/data/registry.js';
import { runStages } from '../src/jobs/execute.js';
import { loadPlan } from '../src/jobs/plan.js';
import { planNet, planStages } from '../src/pipeline.js';
import { collectReport } from '../src/report/collect.js';
import { sharedNotes } from '../src/report/notes.js';
import { readDatamodels } from '../src/store/contents/datamodels.js';
import { layout } from '../src/store/folders/layout.js';
import { readOutputs } from '../src/store/contents/outputs.js';
import { firstTuningOriginal } from '../src/jobs/planCounts.js';
import { openRun } from '../src/store/folders/run.js';
import { modelKey } from '../src/train/jobs.js';
import { mostModels, type ReportData, type SettingChoice, type TrainResult } from '../src/types.js';
import { tinyPlan } from './helpers/plan.js';
import { temporaryFolder } from './helpers/temporary.js';

const folder = temporaryFolder();

/** Trains as the native engine does; some models then count as diverged, as it would report them. */
class Unstable extends NativeEngine {
  constructor(private readonly diverges: (key: number) => boolean) {
    super({ threads: 1 });
  }

  override async trainMany(...args: Parameters<NativeEngine['trainMany']>): Promise<TrainResult[]> {
    const initial = args[2].map((job) => job.initialParameters !== undefined);
    const results = await super.trainMany(...args);
    return results.map((result, i) => {
      if (initial[i]! || !this.diverges(result.modelIndex)) return result;
      const lost = { logits: result.logits.map(() => NaN), ...(result.parameters ? { parameters: result.parameters.map(() => NaN) } : {}) };
      return { ...result, status: 'diverged', divergedAtEpoch: 1, ...lost };
    });
  }
}

const methods = [
  { method: 'do-nothing' },
  { method: 'full-retrain' },
  { method: 'partial-retrain', grid: { epochs: [1], schedule: ['cut', 'compressed'] } },
  { method: 'gradient-ascent', grid: { learningRate: [1e30, 1e-4], epochs: [1] } },
  { method: 'oracle-matching', grid: { learningRate: [1e-3], epochs: [1] } },
  { method: 'dm-direct' },
  { method: 'dmm', grid: { learningRate: [1e-3], epochs: [1] } },
];

async function execute(name: string, diverges: (key: number) => boolean, change: object = {}) {
  const file = path.join(folder, `${name}.json`);
  fs.writeFileSync(file, JSON.stringify({ ...tinyPlan, methods, tuning: { numModels: 10 }, ...change }));
  const plan = await loadPlan(file);
  const dataset = await loadDataset(plan.data);
  const engine = new Unstable(diverges);
  const run = await openRun(path.join(folder, name), { plan });
  const context = { plan, run, dataset, engine, net: planNet(plan, dataset), threads: 1 };
  const stages = planStages(plan, dataset, engine).filter(({ name: stage }) => stage !== 'report'); // drawing is slow
  const outcome = await runStages(stages, context, { executor: 'inline', workers: 1 });
  const report = async (): Promise<ReportData> => collectReport(run, plan, dataset, engine);
  return { run, outcome, report };
}

const original = (index: number): number => modelKey({ kind: 'original' }, index);
const oracle = (role: 'scored' | 'matched', index: number): number => modelKey({ kind: 'oracle', forgetSetIndex: 0, role }, index);

test('models that diverged are left out of fits, scores, tuning and LDS, and named', async () => {
  const lost = [3, 17, 23, original(1), original(firstTuningOriginal + 2), oracle('scored', 0), oracle('matched', 1), oracle('matched', 3)];
  const counts = { originals: { count: 5 }, oracles: { scored: 3, matched: 4 } }; // three of each are compared
  const change = { ...counts, lds: { heldOutFraction: 0.25, numModels: [12] } };
  const { run, outcome, report } = await execute('some', (key) => lost.includes(key), change);
  expect(outcome.failed).toEqual([]);
  const { scores, floors, choices, lds, diverged, facts, originalAccuracy } = await report();
  expect(diverged).toEqual([
    { group: 'subset models', count: 24, models: [3, 17, 23] },
    { group: 'originals', count: 5, models: [1] },
    { group: 'tuning originals', count: 10, models: [2] },
    { group: 'scored oracles of random-4', count: 3, models: [0] },
    { group: 'matched oracles of random-4', count: 4, models: [1, 3] },
  ]);
  expect(facts.filter(({ name }) => name === 'diverged').map(({ value }) => value)).toContain(
    '3 of 24 subset models diverged and are left out: 3, 17 and 23',
  );
  for (const { method, splits, accuracy, numUnlearned, numOracles, numDiverged, numNonFinite } of scores) {
    expect([method, Number.isFinite(splits.average.p95), Number.isFinite(accuracy.retain)]).toEqual([method, true, true]);
    expect({ method, numUnlearned, numOracles, numDiverged, numNonFinite }).toEqual({
      ...{ method, numUnlearned: 2, numOracles: 2, numDiverged: 1, numNonFinite: 0 },
    });
  }
  expect(floors).toMatchObject([{ numOracles: 2, numHeldOut: 2 }]);
  expect(Number.isFinite(floors[0]!.measured.average.p95)).toBe(true);
  expect(Number.isFinite(originalAccuracy[0]!.accuracy.validation)).toBe(true);
  expect(lds.length).toBe(8);
  for (const { mean, low, high, reason } of lds) expect([[mean, low, high].every(Number.isFinite), reason]).toEqual([true, undefined]);
  const shared = 'higher one on random-4: some matched oracles diverged, and originals share those that are left.';
  const notes = (all: ReportData): string => sharedNotes(all).join(' ');
  expect(notes(await report())).toContain(shared); // two oracles are left for three originals, of which one diverged
  const three = diverged!.map((group) => (group.group.startsWith('matched') ? { ...group, models: [1] } : group));
  expect(notes({ ...(await report()), diverged: three })).toContain('to a held-out oracle of its own.');
  // an original that diverged says nothing about a setting, models that diverge in a setting speak against it
  const tuned = choices[0]!.choices.find(({ method }) => method === 'gradient-ascent') as SettingChoice;
  expect(tuned).toMatchObject({ numModels: 9, numOracles: 2, run: 1 });
  expect(tuned.settings).toMatchObject([
    { score: Infinity, numDiverged: 9, chosen: false },
    { score: expect.closeTo(0, -3) as number, chosen: true },
  ]);
  expect(tuned.settings[1]).not.toHaveProperty('numDiverged');
  const dmm = readOutputs(await run.read(layout.unlearned('random-4', 'dmm', 0, 0)));
  expect(dmm.status).toEqual(['trained', 'diverged', 'trained', 'trained', 'trained']);
  expect(dmm.margins!.row(1).every((margin) => Number.isNaN(margin))).toBe(true);
  const fitted = readDatamodels(await run.read(layout.logitDatamodels(0)));
  expect(fitted.status.includes('nonfinite')).toBe(false);
});

test('folds are never more than the models that are left', async () => {
  const fit = { select: 'kfold', folds: 5 };
  const subsetModels = { count: 8, modelsPerShard: 10 };
  const change = { fit, subsetModels, lds: { numModels: [] }, methods: [{ method: 'dm-direct' }] };
  const { outcome, report } = await execute('folds', (key) => key >= 1 && key <= 4, change);
  expect(outcome.failed).toEqual([]);
  expect(Number.isFinite((await report()).scores[0]!.splits.average.p95)).toBe(true);
});

test('an LDS of too few models is no number, with the reason', async () => {
  const { outcome, report } = await execute('few', (key) => key === 22 || key === 23);
  expect(outcome.failed).toEqual([]);
  for (const { mean, reason } of (await report()).lds) expect([mean, reason]).toEqual([NaN, 'fewer than two held-out models trained']);
});

test('where all subset models diverge the run fails and says so', async () => {
  const { outcome } = await execute('all', (key) => key < mostModels);
  expect(outcome.failed.map(({ code }) => code)).toEqual(['LETHE_MODELS_DIVERGED', 'LETHE_MODELS_DIVERGED']);
  expect(outcome.failed[0]!.message).toMatch(/all 24 subset models diverged.*recipe.schedule.learningRate \(0.1\)/);
});

test('a report says when settings are ranked by noise', async () => {
  const tuning = async (name: string, change: object) => {
    const { report } = await execute(name, () => false, {
      subsetModels: { count: 0 },
      lds: { numModels: [] },
      methods: [methods[3]],
      ...change,
    });
    return (await report()).facts.find((fact) => fact.name === 'tuning')!.value;
  };
  expect(await tuning('nine', { tuning: { numModels: 9 } })).toMatch(/on 9 originals .*; fewer than 10 rank settings by noise$/);
  expect(await tuning('ten', {})).not.toMatch(/noise/);
});

test('a plan without subset models runs', async () => {
  const change = {
    subsetModels: { count: 0 },
    lds: { numModels: [] },
    oracles: { scored: 1, matched: 1 },
    methods: [{ method: 'do-nothing' }],
  };
  const { outcome, report } = await execute('none', () => false, change);
  expect(outcome.failed).toEqual([]);
  expect((await report()).lds).toEqual([]);
});
