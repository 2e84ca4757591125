import fs from 'node:fs';
import path from 'node:path';
import { openSession, planSession } from '../../src/commands/session.js';
import { registerUnlearn } from '../../src/cli/unlearn.js';
import { runStages } from '../../src/jobs/execute.js';
import { loadPlan } from '../../src/jobs/plan.js';
import type { TaskContext } from '../../src/jobs/task.js';
import { layout } from '../../src/store/folders/layout.js';
import { readNpy } from '../../src/store/formats/npy.js';
import { readOutputs } from '../../src/store/contents/outputs.js';
import { readSafetensors } from '../../src/store/formats/safetensors.js';
import { tinyPlan } from '../helpers/plan.js';
import { temporaryFolder } from '../helpers/temporary.js';
import { runVerb } from './runVerb.js';

const folder = temporaryFolder();
const root = path.join(folder, 'run');
const plan = {
  ...tinyPlan,
  subsetModels: { count: 24, modelsPerShard: 2 },
  methods: [{ method: 'dm-direct' }, { method: 'dmm', grid: { batchSize: [16], epochs: [2] } }],
  tuning: { numModels: 10 },
};
let context: TaskContext;

beforeAll(async () => {
  const file = path.join(folder, 'plan.json');
  fs.writeFileSync(file, JSON.stringify(plan));
  const session = await planSession(await loadPlan(file), { engine: 'native' }, { threads: 0 });
  context = await openSession(root, session);
  const needed = session.stages.slice(
    0,
    1 + session.stages.findIndex(({ tasks }) => tasks.some(({ id }) => id.includes('dmm') && id.includes('shard'))),
  );
  const { failed } = await runStages(needed, context, { executor: 'inline', workers: 1 });
  expect(failed).toEqual([]);
});

const out = (name: string) => path.join(folder, name);
const unlearn = (name: string, ...more: string[]) => runVerb(registerUnlearn, ['unlearn', '--run', root, '--out', out(name), ...more]);

/** (models, points) margins that the verb wrote. */
const margins = async (name: string) => (await readNpy(path.join(out(name), 'margins.npy'))).data as Float32Array;

interface UnlearnDocument {
  setting: Record<string, number | string | boolean>;
  settingSource: object;
  computeFraction: number;
  models: { model: number; status: string; gradientImages: number; accuracy: Record<string, number> }[];
}

describe('lethe unlearn', () => {
  it('makes what the run made for its own forget set, bit for bit, and keeps the weights', async () => {
    const { stdout, stderr, exitCode } = await unlearn('dmm', '--forget-set', 'random-4', '--method', 'dmm', '--json');
    expect(exitCode).toBe(0);
    const { models, setting, settingSource, computeFraction } = JSON.parse(stdout) as UnlearnDocument;
    expect(settingSource).toEqual({ kind: 'run', forgetSet: 'random-4', by: 'plan', changed: [] });
    expect(stderr).toMatch(/the run's choice for random-4, the only one of the plan: .*epochs 2, batchSize 16/);
    expect(models.map(({ model, gradientImages }) => [model, gradientImages])).toEqual([0, 1, 2].map((model) => [model, 2 * (4 + 20)]));
    expect(Object.keys(models[0]!.accuracy)).toEqual(['forget', 'retain', 'validation']);
    expect(setting.epochs).toBe(2);
    expect(computeFraction).toBeCloseTo((48 + 24 / 3) / (26 * 2), 12);

    const shards = [0, 1].map(async (shard) => readOutputs(await context.run.read(layout.unlearned('random-4', 'dmm', 0, shard))));
    const ofRun = (await Promise.all(shards)).flatMap((outputs) => [...outputs.margins!.flat()]);
    expect([...(await margins('dmm'))]).toEqual(ofRun);
    const { metadata } = await readSafetensors(path.join(out('dmm'), 'model-00002.safetensors'));
    expect(JSON.parse(metadata.get('command')!)).toMatchObject({ method: 'dmm' });
    expect(metadata.get('model')).toBe('2');
  });

  it('takes the published setting when asked, or when the run has no choice; explicit values change whichever it is', async () => {
    const document = async (name: string, ...more: string[]) => {
      const { stdout } = await unlearn(name, '--forget-set', 'random-4', '--models', '1', '--json', ...more);
      return JSON.parse(stdout) as UnlearnDocument;
    };
    const published = await document('published', '--method', 'dmm', '--preset', 'published', '--set', 'epochs=1');
    expect(published.setting).toMatchObject({ epochs: 1, batchSize: 512 });
    expect(published.settingSource).toEqual({ kind: 'preset', name: 'published', changed: ['epochs'] });
    const changed = await document('changed', '--method', 'dmm', '--set', 'retainSampling=each-epoch');
    expect(changed.setting).toMatchObject({ epochs: 2, batchSize: 16, retainFraction: 0.04 });
    expect(changed.setting).not.toHaveProperty('retainMultiplier');
    const other = await document('other', '--method', 'gradient-ascent');
    expect(other.settingSource).toEqual({ kind: 'preset', name: 'published', changed: [] });
  });

  it('retrains the matched oracles of the run', async () => {
    await unlearn('retrained', '--forget-set', 'random-4', '--method', 'full-retrain', '--models', '2');
    const oracles = readOutputs(await context.run.read(layout.oracles('random-4', 'matched', 0)));
    const full = oracles.snapshots!.indexOf(2);
    expect((await margins('retrained')).subarray(0, 40)).toEqual(oracles.margins!.row(full));
  });

  it('unlearns new forget sets: random ones and index files', async () => {
    const { stdout } = await unlearn('new', '--forget-set', 'random:5:9', '--method', 'gradient-ascent', '--models', '1-2', '--json');
    const { models } = JSON.parse(stdout) as UnlearnDocument;
    expect(models.map(({ model, gradientImages }) => [model, gradientImages])).toEqual([
      [1, 5 * 5],
      [2, 5 * 5],
    ]);
    const file = path.join(out('new'), 'forget-set.npy');
    expect((await readNpy(file)).shape).toEqual([5]);
    await unlearn('again', '--forget-set', file, '--method', 'gradient-ascent', '--models', '1-2');
    expect(await margins('again')).toEqual(await margins('new'));
    const direct = await unlearn('direct', '--forget-set', file, '--method', 'dm-direct');
    expect(direct.stdout).toContain('DM-Direct: 3 models');
    expect(fs.existsSync(path.join(out('direct'), 'model-00000.safetensors'))).toBe(false);
  });

  it('teaches when something does not fit', async () => {
    const cases: [string[], string][] = [
      [['--forget-set', 'random-5', '--method', 'dmm'], 'Did you mean random-4?'],
      [['--forget-set', 'random-4', '--method', 'dmn'], 'Did you mean dmm?'],
      [['--forget-set', 'random-4', '--method', 'dmm', '--set', 'epoch=2'], 'Did you mean epochs?'],
      [['--forget-set', 'random-4', '--method', 'dmm', '--set', 'epochs'], 'expected key=value'],
      [['--forget-set', 'random-4', '--method', 'dmm', '--preset', 'u-lirra'], 'Did you mean u-lira?'],
      [['--forget-set', 'random-4', '--method', 'dmm', '--models', '2-3'], 'among 3 models'],
      [['--forget-set', 'random:30:1', '--method', 'dmm'], 'so that something is left to retain'],
      [['--forget-set', 'random:5:1', '--method', 'oracle-matching'], 'LETHE_ORACLES_MISSING'],
      [['--forget-set', 'random-4', '--method', 'partial-retrain'], 'LETHE_METHOD_REFERENCE'],
    ];
    for (const [more, expected] of cases) {
      const { stderr, exitCode } = await unlearn('never', ...more);
      expect(stderr).toContain(expected);
      expect(exitCode).toBe(2);
    }
    expect(fs.existsSync(out('never'))).toBe(false);
  });
});
