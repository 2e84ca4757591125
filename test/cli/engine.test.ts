/** --engine on the command line: real processes, as workers of the ort engine need. */
import fs from 'node:fs';
import path from 'node:path';
import { syntheticDataset } from '../../src/data/synthetic.js';
import { NativeEngine } from '../../src/engines/native.js';
import { buildNet } from '../../src/models/index.js';
import { exportOnnx } from '../../src/models/onnx.js';
import { readCheckpoint } from '../../src/store/contents/checkpoint.js';
import { readSafetensors } from '../../src/store/formats/safetensors.js';
import { readNpy } from '../../src/store/formats/npy.js';
import { lethe } from '../helpers/lethe.js';
import { temporaryFolder } from '../helpers/temporary.js';

const folder = temporaryFolder();
const small = ['--dataset', 'synthetic', '--train-per-class', '6', '--validation-per-class', '2', '--net', 'smallcnn'];
const recipe = ['--epochs', '2', '--batch-size', '8', '--learning-rate', '0.1', '--threads', '1'];
const train = (...more: string[]) => lethe(['train', ...small, ...recipe, ...more]);
const native = new NativeEngine({ threads: 1, precision: 'fp32' });

test('lethe train gives the same models with either engine, within rounding, and says which made them', async () => {
  const ort = await train('--engine', 'ort', '--models', '2', '--out', path.join(folder, 'ort'));
  expect(ort).toMatchObject({ code: 0, stdout: expect.stringContaining('2 models') as string });
  await train('--precision', 'fp32', '--models', '2', '--out', path.join(folder, 'native'));
  const logits = async (name: string) => (await readNpy(path.join(folder, name, 'logits.npy'))).data as Float32Array;
  const [a, b] = [await logits('ort'), await logits('native')];
  expect(a.length).toBe(2 * 40 * 5);
  a.forEach((value, i) => {
    expect(Math.abs(value - b[i]!)).toBeLessThan(1e-3);
  });
  const { engine } = JSON.parse(fs.readFileSync(path.join(folder, 'ort', 'train.json'), 'utf8')) as { engine: Record<string, unknown> };
  expect(engine).toMatchObject({ engine: 'ort', device: 'cpu', precision: 'fp32', onnxruntime: expect.stringMatching(/^1\./) as string });
});

test('lethe train --net-file trains an ONNX file, from its own values when asked; the native engine refuses it', async () => {
  const { dataset } = syntheticDataset({ trainPerClass: 6, validationPerClass: 2 });
  const net = buildNet({ name: 'smallcnn', width: 1, input: { height: 16, width: 16, channels: 3 }, numClasses: 5 });
  const tensors = native.parameters(net);
  const { parameters } = await readCheckpoint(path.join(folder, 'native', 'model-00001.safetensors'), tensors);
  const file = path.join(folder, 'model.onnx');
  fs.writeFileSync(file, exportOnnx({ net, tensors, parameters, dataset }));
  const still = ['--learning-rate', '0', '--momentum', '0', '--weight-decay', '0', '--init', file];
  const again = await train('--engine', 'ort', '--net-file', file, ...still, '--out', path.join(folder, 'file'), '--json');
  expect(again).toMatchObject({ code: 0, stderr: '' });
  expect((JSON.parse(again.stdout) as { net: string }).net).toBe('model.onnx');
  // rate 0 moves nothing but the running statistics
  const { tensors: written } = await readSafetensors(path.join(folder, 'file', 'model-00000.safetensors'));
  expect(written.size).toBe(tensors.length);
  for (const { name, offset, size, trainable } of tensors.filter(({ shape }) => shape.length < 4)) {
    const own = parameters.subarray(offset, offset + size);
    if (trainable) expect(written.get(name)!.data).toEqual(own);
    else expect(written.get(name)!.data).not.toEqual(own);
  }
  const fresh = await train('--engine', 'ort', '--net-file', file, '--out', path.join(folder, 'fresh'));
  expect(fresh.code).toBe(0);

  const refused = await train('--net-file', file, '--out', path.join(folder, 'never'));
  expect(refused).toMatchObject({ code: 2, stderr: expect.stringMatching(/LETHE_NET_UNSUPPORTED.*Use --engine ort/) as string });
  fs.writeFileSync(file, 'no model');
  const damaged = await train('--engine', 'ort', '--net-file', file, '--out', path.join(folder, 'never'));
  expect(damaged).toMatchObject({ code: 2, stderr: expect.stringContaining('LETHE_ONNX_INVALID') as string });
  const device = await train('--device', 'cuda', '--out', path.join(folder, 'gpu'));
  // trains where there is a GPU, and says so where there is none; only auto may choose
  if (device.code !== 0)
    expect(device).toMatchObject({ code: 4, stderr: expect.stringMatching(/LETHE_GPU_UNAVAILABLE.*Use --device cpu/) as string });
  const auto = await train('--device', 'auto', '--models', '1', '--out', path.join(folder, 'auto'));
  expect(auto).toMatchObject({
    code: 0,
    stderr: expect.stringContaining(`--device auto: ${device.code === 0 ? 'cuda' : 'cpu'}`) as string,
  });
  const chosen = JSON.parse(fs.readFileSync(path.join(folder, 'auto', 'train.json'), 'utf8')) as { engine: Record<string, unknown> };
  expect(chosen.engine['device']).toBe(device.code === 0 ? 'cuda' : 'cpu');
  const neither = await train('--engine', 'ort', '--device', 'auto', '--out', path.join(folder, 'never'));
  expect(neither).toMatchObject({ code: 2, stderr: expect.stringContaining('LETHE_DEVICE_UNSUPPORTED') as string });
  expect(fs.existsSync(path.join(folder, 'never'))).toBe(false);
  // trains where ONNX Runtime has its CUDA libraries, and says so where it has not; never on another device
  const cuda = await train('--engine', 'ort', '--device', 'cuda', '--out', path.join(folder, 'cuda'));
  if (cuda.code !== 0) expect(cuda).toMatchObject({ code: 4, stderr: expect.stringContaining('LETHE_PROVIDER_MISSING') as string });
});

function writePlan(name: string, net: object): string {
  const plan = path.join(folder, `${name}.json`);
  fs.writeFileSync(
    plan,
    JSON.stringify({
      version: 1,
      name,
      data: { name: 'synthetic', trainPerClass: 4, validationPerClass: 1 },
      net,
      recipe: { epochs: 2, batchSize: 8 },
      subsetModels: { count: 16, modelsPerShard: 8 },
      originals: { count: 3 },
      oracles: { scored: 3, matched: 3 },
      lds: { numModels: [12] },
      forgetSets: [{ name: 'random-4', kind: 'random', size: 4, seed: 1 }],
      methods: [{ method: 'dmm', grid: { batchSize: [8], epochs: [1] } }],
      tuning: { numModels: 10 },
    }),
  );
  return plan;
}

test('a plan whose network is an ONNX file runs to its report, in worker processes, and goes on without the file', async () => {
  const { dataset } = syntheticDataset({ trainPerClass: 4, validationPerClass: 1 });
  const net = buildNet({ name: 'smallcnn', width: 4, input: { height: 16, width: 16, channels: 3 }, numClasses: 5 });
  const tensors = native.parameters(net);
  const parameters = new Float32Array(tensors.reduce((sum, { size }) => sum + size, 0)).fill(0.1);
  const file = path.join(folder, 'own.onnx');
  fs.writeFileSync(file, exportOnnx({ net, tensors, parameters, dataset }));
  const plan = writePlan('own', { file: 'own.onnx' });
  const root = path.join(folder, 'own-run');
  const run = (...more: string[]) => lethe(['run', plan, '--out', root, '--threads', '1', ...more]);
  expect(await run()).toMatchObject({ code: 2, stderr: expect.stringMatching(/LETHE_NET_UNSUPPORTED.*Use --engine ort/) as string });
  expect(await run('--engine', 'ort', '--executor', 'process', '--workers', '2')).toMatchObject({
    code: 0,
    stdout: expect.stringContaining('DMM') as string,
  });
  const page = fs.readFileSync(path.join(root, 'report', 'index.html'), 'utf8');
  expect(page).toContain('own.onnx');

  fs.writeFileSync(file, exportOnnx({ net, tensors, parameters: parameters.fill(0.2), dataset }));
  const changed = await run('--engine', 'ort');
  expect(changed).toMatchObject({ code: 2, stderr: expect.stringMatching(/LETHE_PLAN_CHANGED[\s\S]*net\.sha256/) as string });
  fs.rmSync(file);
  expect(await run('--engine', 'ort')).toMatchObject({ code: 2, stderr: expect.stringContaining('LETHE_FILE_MISSING') as string });
  expect(await lethe(['report', root])).toMatchObject({ code: 0 });
  expect(await lethe(['verify', root])).toMatchObject({ code: 0 });
  const out = path.join(folder, 'own-unlearned');
  const unlearn = ['unlearn', '--run', root, '--forget-set', 'random-4', '--method', 'gradient-descent', '--threads', '1', '--out', out];
  expect(await lethe(unlearn)).toMatchObject({ code: 0 });
});

test('a run keeps the engine it was started with', async () => {
  const plan = writePlan('small', { name: 'smallcnn', width: 4 });
  const root = path.join(folder, 'run');
  const run = (...more: string[]) => lethe(['run', plan, '--out', root, '--threads', '1', ...more]);
  expect(await run('--engine', 'ort')).toMatchObject({ code: 0 });
  const other = await run();
  expect(other).toMatchObject({ code: 2, stderr: expect.stringMatching(/LETHE_PLAN_CHANGED[\s\S]*engine: "ort fp32/) as string });
  // verbs that open a finished run take its engine
  expect(await lethe(['status', root])).toMatchObject({ code: 0, stdout: expect.stringContaining('tasks done') as string });
  const out = path.join(folder, 'unlearned');
  const unlearn = ['unlearn', '--run', root, '--forget-set', 'random-4', '--method', 'gradient-descent', '--threads', '1'];
  const engineOf = async (out: string, ...more: string[]): Promise<unknown> => {
    expect(await lethe([...unlearn, '--out', out, ...more])).toMatchObject({ code: 0 });
    return (JSON.parse(fs.readFileSync(path.join(out, 'unlearn.json'), 'utf8')) as { engine: { engine: string } }).engine.engine;
  };
  expect(await engineOf(out)).toBe('ort');
  expect(await lethe([...unlearn, '--out', out, '--engine', 'native'])).toMatchObject({ code: 2 }); // a folder never mixes models
  expect(await engineOf(`${out}-native`, '--engine', 'native')).toBe('native');
});
