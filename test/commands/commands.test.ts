/** What verbs do, called from TypeScript: no words on the streams, no flags, the same files. */
import fs from 'node:fs';
import path from 'node:path';
import {
  exportCheckpoint,
  exportCsv,
  exportNpy,
  fitFiles,
  ldsFiles,
  loadPlan,
  runPlan,
  trainModels,
  unlearn,
  viewRun,
} from '../../src/index.js';
import { Purpose, Random } from '../../src/native/random.js';
import { writeNpy } from '../../src/store/formats/npy.js';
import { lethe } from '../helpers/lethe.js';
import { tinyPlan } from '../helpers/plan.js';
import { temporaryFolder } from '../helpers/temporary.js';

const folder = temporaryFolder();
const at = (...parts: string[]): string => path.join(folder, ...parts);
const methods = [{ method: 'do-nothing' }, { method: 'random-labels', grid: { batchSize: [8], epochs: [1] } }];

it('a plan runs, its originals unlearn, and the verbs find the work done', async () => {
  fs.writeFileSync(at('tiny.json'), JSON.stringify({ ...tinyPlan, methods, tuning: { numModels: 0 } }));
  const [notes, labels]: [string[], string[]] = [[], []];
  const progress = (label: string) => ({ update: () => labels.push(label), stop: () => undefined });
  const { report, tasksRun, page } = await runPlan(await loadPlan(at('tiny.json')), {
    out: at('run'),
    note: (line) => notes.push(line),
    progress,
  });
  expect(tasksRun).toBeGreaterThan(10);
  expect(report.scores.map(({ method }) => method)).toEqual(['do-nothing', 'random-labels']);
  expect(fs.readFileSync(page, 'utf8')).toContain('random labels');
  expect(notes[0]).toMatch(/^tiny: synthetic/);
  expect(labels).toContain('tiny');
  expect((await viewRun(at('run'))).plan.name).toBe('tiny');
  const again = await lethe(['run', at('tiny.json'), '--out', at('run'), '--json']);
  expect(JSON.parse(again.stdout)).toMatchObject({ document: 'lethe.run', tasksRun: 0 });

  const request = { run: at('run'), forgetSet: 'random-4', method: 'random-labels', models: '1-2', out: at('unlearned') };
  const { setting, models } = await unlearn(request);
  expect(setting).toEqual({ learningRate: 1e-3, epochs: 1, batchSize: 8, retainMultiplier: 5 });
  expect(models.map(({ model, status }) => [model, status])).toEqual([1, 2].map((model) => [model, 'trained']));
  const before = fs.readFileSync(at('unlearned', 'margins.npy'));
  const args = ['--run', at('run'), '--forget-set', 'random-4', '--method', 'random-labels', '--models', '1-2', '--out', at('unlearned')];
  const resumed = await lethe(['unlearn', ...args]);
  expect(resumed).toMatchObject({ code: 0, stdout: expect.stringMatching(/^random labels: 2 models/) as string });
  expect(resumed.stderr).toContain('resuming, 2 of 2 models are finished');
  expect(fs.readFileSync(at('unlearned', 'margins.npy'))).toEqual(before);
}, 120000);

it('a run is exported, and models are trained, with the files that the verbs make', async () => {
  const { files } = await exportNpy(at('run'), at('arrays'), { parts: ['masks', 'originals'] });
  expect(files).toEqual(['masks.npy', 'labels.npy', 'originals/models.npy', 'originals/logits.npy', 'originals/margins.npy']);
  const again = await lethe(['export', 'npy', '--run', at('run'), '--out', at('arrays'), '--part', 'masks', 'originals', '--json']);
  expect(JSON.parse(again.stdout)).toMatchObject({ document: 'lethe.export', files, settings: [] });
  expect(await exportCsv(at('run'), at('tables'))).toEqual(['klom.csv', 'accuracy.csv', 'lds.csv', 'datamodels.csv']);
  await expect(exportCheckpoint({ run: at('run'), model: 99 }, at('99.safetensors'))).rejects.toMatchObject({
    code: 'LETHE_MODEL_UNKNOWN',
  });
  const { net, numParameters } = await exportCheckpoint({ run: at('run'), model: 1 }, at('1.safetensors'));
  const { models } = await trainModels({
    data: tinyPlan.data,
    net: { name: 'smallcnn', width: tinyPlan.net.width },
    recipe: (await loadPlan(at('tiny.json'))).recipe,
    seed: 0,
    models: { first: 0, end: 2 },
    engine: { engine: 'native' },
    init: at('1.safetensors'),
    out: at('trained'),
  });
  expect(models.map(({ status }) => status)).toEqual(['trained', 'trained']);
  expect([net.name, numParameters > 100, fs.existsSync(at('trained', 'train.json'))]).toEqual([expect.any(String), true, true]);
});

it('the LDS of files is that of the verb', async () => {
  const random = new Random(3, Purpose.synthetic, 0);
  const dense = Uint8Array.from({ length: 80 * 12 }, () => random.below(2));
  const outputs = Float32Array.from({ length: 80 * 5 }, (_, at) => dense[Math.floor(at / 5) * 12 + (at % 5)]! + 0.2 * random.normal());
  const part = async (name: string, first: number, end: number): Promise<void> => {
    await writeNpy(at(`${name}-masks.npy`), [end - first, 12], dense.subarray(12 * first, 12 * end));
    await writeNpy(at(`${name}-outputs.npy`), [end - first, 5], outputs.subarray(5 * first, 5 * end));
  };
  await part('fit', 0, 60);
  await part('held', 60, 80);
  const { datamodels } = await fitFiles({ masks: at('fit-masks.npy'), outputs: at('fit-outputs.npy'), out: at('fits') });
  const files = { datamodels, masks: at('held-masks.npy'), outputs: at('held-outputs.npy') };
  const score = await ldsFiles(files);
  expect(score).toMatchObject({ masks: 'held-out', numModels: 20, numPoints: 5 });
  expect(score.mean).toBeGreaterThan(0.5);
  const args = Object.entries(files).flatMap(([name, file]) => [`--${name}`, file]);
  const { mean, low, high } = JSON.parse((await lethe(['evaluate', 'lds', ...args, '--json'])).stdout) as typeof score;
  expect({ mean, low, high }).toEqual({ mean: score.mean, low: score.low, high: score.high });
});
