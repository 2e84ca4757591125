import fs from 'node:fs';
import path from 'node:path';
import * as ort from 'onnxruntime-node';
import { registerExport } from '../../src/cli/export.js';
import { openSession, planSession } from '../../src/commands/session.js';
import { registerTrain } from '../../src/cli/train.js';
import { registerUnlearn } from '../../src/cli/unlearn.js';
import { maskIndices } from '../../src/data/masks.js';
import { NativeEngine } from '../../src/engines/native.js';
import { runStages } from '../../src/jobs/execute.js';
import { loadPlan } from '../../src/jobs/plan.js';
import type { TaskContext } from '../../src/jobs/task.js';
import { relativeDifference, runOnnx } from '../../src/models/onnxCheck.js';
import { readModel } from '../../src/store/contents/checkpoint.js';
import { readDatamodels } from '../../src/store/contents/datamodels.js';
import { layout } from '../../src/store/folders/layout.js';
import { readMasks } from '../../src/store/contents/masksFile.js';
import { readNpy } from '../../src/store/formats/npy.js';
import { readOutputs } from '../../src/store/contents/outputs.js';
import { readSafetensors, writeSafetensors } from '../../src/store/formats/safetensors.js';
import type { ForgetSetScores } from '../../src/types.js';
import { tinyPlan } from '../helpers/plan.js';
import { temporaryFolder } from '../helpers/temporary.js';
import { runVerb } from './runVerb.js';

const folder = temporaryFolder();
const root = path.join(folder, 'run');
const at = (...parts: string[]) => path.join(folder, ...parts);
const exporting = (...args: string[]) => runVerb(registerExport, ['export', ...args]);
const plan = {
  ...tinyPlan,
  methods: [
    { method: 'do-nothing' },
    { method: 'partial-retrain', grid: { epochs: [1], schedule: ['cut', 'compressed'] } },
    { method: 'dm-direct' },
    { method: 'dmm', grid: { batchSize: [8], epochs: [1, 3], learningRate: [1e-3, 1e-2] } },
    { method: 'gradient-ascent', grid: { learningRate: [1e-3], epochs: [1, 2] } },
  ],
  tuning: { numModels: 10 },
};
let context: TaskContext;

beforeAll(async () => {
  fs.writeFileSync(at('plan.json'), JSON.stringify(plan));
  const session = await planSession(await loadPlan(at('plan.json')), { engine: 'native' }, { threads: 0 });
  context = await openSession(root, session);
  const { failed } = await runStages(session.stages.slice(0, -1), context, { executor: 'inline', workers: 1 });
  expect(failed).toEqual([]);
});

describe('lethe export onnx', () => {
  it('gives stock ONNX Runtime the model of a checkpoint, with its network, normalisation and classes', async () => {
    const small = [
      '--dataset',
      'synthetic',
      '--train-per-class',
      '6',
      '--validation-per-class',
      '2',
      '--net',
      'resnet18',
      '--width',
      '16',
      '--precision',
      'fp32',
    ];
    await runVerb(registerTrain, ['train', ...small, '--epochs', '1', '--batch-size', '10', '--out', at('trained')]);
    const checkpoint = at('trained', 'model-00000.safetensors');
    const { stdout, exitCode } = await exporting('onnx', '--checkpoint', checkpoint, '--out', at('model.onnx'), '--json');
    expect(exitCode).toBe(0);
    const document = JSON.parse(stdout) as { document: string; net: string; maxRelativeDifference: number };
    expect(document).toMatchObject({ document: 'lethe.export-onnx', net: 'resnet18/16' });
    expect(document.maxRelativeDifference).toBeLessThan(1e-4);
    const { dataset } = context;
    const bytes = new Uint8Array(fs.readFileSync(at('model.onnx')));
    const { height, width, channels } = dataset;
    const logits = await runOnnx(bytes, { count: 40, height, width, channels, pixels: dataset.pixels });
    const { data: expected } = await readNpy(at('trained', 'logits.npy'));
    expect(relativeDifference(expected as Float32Array, logits)).toBeLessThan(1e-4);
    const engine = new NativeEngine();
    expect((await readModel(checkpoint, (net) => engine.parameters(net))).dataset).toEqual({
      sha256: dataset.sha256,
      mean: dataset.mean,
      std: dataset.std,
      classNames: dataset.classNames,
    });
    const session = await ort.InferenceSession.create(bytes);
    expect([session.inputNames, session.outputNames]).toEqual([['images'], ['logits']]);
    await session.release();
  });

  it('takes originals of a run, as ONNX and as checkpoints that unlearn as the run’s own', async () => {
    const { stdout } = await exporting('onnx', '--run', root, '--model', '2', '--out', at('original.onnx'));
    expect(stdout).toMatch(/smallcnn\/2, \d+ bytes; logits of ONNX Runtime differ by at most \d/);
    await exporting('safetensors', '--run', root, '--model', '0', '--out', at('original.safetensors'));
    const unlearn = (name: string, ...more: string[]) =>
      runVerb(registerUnlearn, ['unlearn', '--run', root, '--forget-set', 'random-4', '--method', 'dmm', '--out', at(name), ...more]);
    await unlearn('own', '--models', '1');
    const unlearned = await exporting('onnx', '--checkpoint', at('own', 'model-00000.safetensors'), '--out', at('unlearned.onnx'));
    expect(unlearned.stdout).toMatch(/smallcnn\/2/);
    await unlearn('foreign', '--checkpoint', at('original.safetensors'));
    const tensorsOf = async (name: string) => (await readSafetensors(at(name, 'model-00000.safetensors'))).tensors;
    expect(await tensorsOf('foreign')).toEqual(await tensorsOf('own'));
    // halves of the same weights are another model, but a valid one
    const { tensors } = await readSafetensors(at('original.safetensors'));
    const nudged = [...tensors].map(([name, { shape, data }]) => [name, { shape, data: data.map((value) => value * 1.01) }] as const);
    await writeSafetensors(
      at('nudged.safetensors'),
      nudged.map(([name, tensor]): [string, typeof tensor] => [name, tensor]),
    );
    await unlearn('other', '--checkpoint', at('nudged.safetensors'));
    expect(await tensorsOf('other')).not.toEqual(await tensorsOf('own'));
  });

  it('continues training from a checkpoint', async () => {
    const small = ['--dataset', 'synthetic', '--train-per-class', '6', '--validation-per-class', '2', '--net', 'smallcnn', '--width', '2'];
    const continued = (...more: string[]) =>
      runVerb(registerTrain, ['train', ...small, '--epochs', '1', '--batch-size', '30', '--out', at('continued'), ...more]);
    await continued('--init', at('original.safetensors'), '--learning-rate', '0', '--schedule', 'constant');
    const trainable = async (file: string) =>
      [...(await readSafetensors(file)).tensors].filter(([name]) => !name.includes('running')).map(([name, { data }]) => [name, [...data]]);
    expect(await trainable(at('continued', 'model-00000.safetensors'))).toEqual(await trainable(at('original.safetensors')));
    const wider = await continued('--init', at('trained', 'model-00000.safetensors'));
    expect(wider.stderr).toMatch(/LETHE_CHECKPOINT_MISMATCH.*block1\.conv\.weight \(3, 3, 3, 4\); received no such tensor/);
    expect(wider.exitCode).toBe(3);
  });

  it('teaches when something does not fit', async () => {
    const cases: [string[], RegExp, number][] = [
      [['onnx'], /LETHE_OPTION_INVALID.*received neither/, 2],
      [['onnx', '--run', root], /LETHE_OPTION_INVALID.*--run DIR --model NUMBER/, 2],
      [['onnx', '--run', root, '--model', '3'], /expected 0 to 2; received 3/, 2],
      [['onnx', '--checkpoint', at('nudged.safetensors')], /LETHE_CHECKPOINT_FOREIGN.*metadata netSpec.*lethe train --init/, 3],
    ];
    for (const [args, expected, code] of cases) {
      const { stderr, exitCode } = await exporting(...args, '--out', at('never.onnx'));
      expect(stderr).toMatch(expected);
      expect(exitCode).toBe(code);
    }
    const { tensors, metadata } = await readSafetensors(at('original.safetensors'));
    tensors.get('block1.conv.weight')!.data.fill(NaN);
    await writeSafetensors(at('diverged.safetensors'), tensors, Object.fromEntries(metadata));
    const diverged = await exporting('onnx', '--checkpoint', at('diverged.safetensors'), '--out', at('never.onnx'));
    expect(diverged).toMatchObject({ exitCode: 1, stderr: expect.stringMatching(/LETHE_EXPORT_INEXACT.*NaN.*diverge/) as string });
    await writeSafetensors(at('elsewhere.safetensors'), tensors, { dataset: 'other' });
    const args = ['unlearn', '--run', root, '--forget-set', 'random-4', '--method', 'dmm', '--out', at('never')];
    const elsewhere = await runVerb(registerUnlearn, [...args, '--checkpoint', at('elsewhere.safetensors')]);
    expect(elsewhere.stderr).toMatch(/LETHE_CHECKPOINT_DATASET.*received other/);
    expect([fs.existsSync(at('never.onnx')), fs.existsSync(at('never'))]).toEqual([false, false]);
  });
});

describe('lethe export npy', () => {
  it('writes what the shards hold, in order', async () => {
    const parts = ['masks', 'outputs', 'originals', 'oracles', 'unlearned', 'datamodels'];
    const { stdout } = await exporting('npy', '--run', root, '--out', at('npy'), '--json', '--part', ...parts);
    const { files } = JSON.parse(stdout) as { files: string[] };
    for (const file of files) expect(fs.existsSync(at('npy', file))).toBe(true);
    const read = (file: string) => readNpy(at('npy', file));
    const masks = await read('masks.npy');
    expect([masks.dtype, masks.shape]).toEqual(['bool', [24, 30]]);
    const ofModel13 = maskIndices(readMasks(await context.run.read(layout.masks)), 13);
    expect([...ofModel13]).toEqual([...masks.data.subarray(13 * 30, 14 * 30)].flatMap((bit, j) => (bit === 1 ? [j] : [])));
    const logits = await read('outputs/logits.npy');
    expect(logits.shape).toEqual([24, 40, 5]);
    const second = readOutputs(await context.run.read(layout.subsetOutputs(1)));
    expect(logits.data.subarray(13 * 200, 14 * 200)).toEqual(second.logits!.row(3));
    expect([...(await read('outputs/models.npy')).data]).toEqual(Array.from({ length: 24 }, (_, i) => i));
    expect((await read('originals/margins.npy')).shape).toEqual([3, 40]);
    expect([...(await read('labels.npy')).data]).toEqual([...context.dataset.labels]);
    expect(files).toContain('unlearned-random-4-dm-direct-chosen/margins.npy');
    const weights = await read('datamodels/weights.npy');
    expect(weights.shape).toEqual([200, 30]);
    const datamodels = readDatamodels(await context.run.read(layout.logitDatamodels(0)));
    const dense = new Float32Array(30);
    for (let i = datamodels.rowStart[7]!; i < datamodels.rowStart[8]!; i++) dense[datamodels.indices[i]!] = datamodels.weights[i]!;
    expect(weights.data.subarray(7 * 30, 8 * 30)).toEqual(dense);
  });
});

describe('lethe export npy of models that were looked at several times', () => {
  const parts = ['--part', 'oracles', 'unlearned'];
  const margins = async (...where: string[]) => readNpy(at(...where, 'margins.npy'));

  it('writes the setting of the tables: a row a model, of one length', async () => {
    const { stdout } = await exporting('npy', '--run', root, '--out', at('chosen'), '--json', ...parts);
    const { settings } = JSON.parse(stdout) as { settings: { folder: string; setting: object }[] };
    const { scores } = JSON.parse(Buffer.from(await context.run.read(layout.scores('random-4'))).toString()) as ForgetSetScores;
    for (const method of ['dmm', 'gradient-ascent']) {
      const folder = `unlearned-random-4-${method}-chosen`;
      const best = scores.find((row) => row.method === method && row.best)!;
      expect(settings.find((entry) => entry.folder === folder)!.setting).toEqual(best.setting);
      const { shape, data } = await margins('chosen', folder);
      expect(shape).toEqual([3, 40]);
      const outputs = readOutputs(await context.run.read(layout.unlearned('random-4', method, 'chosen', 0)));
      const rows = [...outputs.snapshots!.keys()].filter((row) => outputs.snapshots![row] === best.setting['epochs']);
      expect([...data]).toEqual(rows.flatMap((row) => [...outputs.margins!.row(row)]));
    }
    expect((await margins('chosen', 'oracles-random-4-matched')).shape).toEqual([2, 40]);
    expect(fs.readdirSync(at('chosen')).filter((name) => name.includes('epochs'))).toEqual([]);
  });

  it('writes the rest in folders of its own with --all-settings', async () => {
    await exporting('npy', '--run', root, '--out', at('all'), '--all-settings', ...parts);
    const shard = readOutputs(await context.run.read(layout.oracles('random-4', 'matched', 0)));
    expect([...shard.snapshots!]).toEqual([1, 2, 1, 2]);
    const partial = await margins('all', 'oracles-random-4-matched-epochs-1');
    expect(partial.data).toEqual(Float32Array.from([...shard.margins!.row(0), ...shard.margins!.row(2)]));
    const compressed = readOutputs(await context.run.read(layout.compressed('random-4', 1, 0)));
    expect((await margins('all', 'oracles-random-4-compressed-epochs-1')).data).toEqual(
      Float32Array.from([...compressed.margins!.row(0), ...compressed.margins!.row(1)]),
    );
    const rest = fs.readdirSync(at('all')).filter((name) => /unlearned-random-4-.*-run-/.test(name));
    // the other length of the chosen run
    expect(rest.map((name) => name.replace(/run-\d/, 'run'))).toEqual([
      expect.stringMatching(/^unlearned-random-4-dmm-run-epochs-[13]$/),
      expect.stringMatching(/^unlearned-random-4-gradient-ascent-run-epochs-[12]$/),
    ]);
    for (const name of rest) {
      expect((await margins('all', name)).shape).toEqual([3, 40]);
      const chosen = name.replace(/-run-.*/, '-chosen');
      expect((await margins('all', name)).data).not.toEqual((await margins('all', chosen)).data);
    }
  });
});

describe('lethe export csv', () => {
  it('writes every score and a row for each datamodel', async () => {
    await exporting('csv', '--run', root, '--out', at('csv'));
    const lines = (name: string) => fs.readFileSync(at('csv', name), 'utf8').trimEnd().split('\n');
    const { scores } = JSON.parse(Buffer.from(await context.run.read(layout.scores('random-4'))).toString()) as ForgetSetScores;
    const [header, ...rows] = lines('klom.csv').map((line) => line.split(','));
    const direct = scores.find(({ method }) => method === 'dm-direct')!;
    const row = rows.find((cells) => cells[1] === 'dm-direct' && cells.includes('forget'))!;
    expect(Number(row.at(header!.indexOf('p95') - header!.length))).toBe(direct.splits.forget.p95);
    expect(lines('datamodels.csv')).toHaveLength(201);
    expect(lines('datamodels.csv')[8]).toMatch(/^7,1,2,/);
    expect(lines('accuracy.csv')[0]).toBe('forgetSet,method,setting,forget,retain,validation,best');
    expect(lines('lds.csv')[0]).toBe('estimator,numModels,points,mean,median,low,high');
  });
});
