import { choiceOf, engineIdentity } from '../../src/engines/index.js';
import { NativeEngine } from '../../src/engines/native.js';
import { buildNet } from '../../src/models/index.js';
import { nativeAddon } from '../../src/native/addon.js';
import { range, term, toyDataset, toyJob } from './toy.js';

const dataset = toyDataset();
const net = buildNet({ name: 'smallcnn', width: 1, input: { height: 8, width: 8, channels: 3 }, numClasses: 4 });
const everything = { evalPoints: range(0, 128), evalEpochs: [0, 6], parameters: true };
const engine = new NativeEngine({ threads: 1 });

function accuracy(logits: Float32Array, from: number, count: number): number {
  let right = 0;
  for (let i = 0; i < count; i++) {
    const row = logits.subarray(from + i * 4, from + i * 4 + 4);
    if (row.indexOf(Math.max(...row)) === dataset.labels[i]) right++;
  }
  return right / count;
}

test('learns the toy set, and forwardMany of the returned parameters gives the returned logits', async () => {
  const [result] = await engine.trainMany(net, dataset, [toyJob(0)], everything);
  expect(result!.status).toBe('trained');
  expect(result!.gradientImages).toBe(6 * 96);
  expect(accuracy(result!.logits, 0, 128)).toBeLessThan(0.6);
  expect(accuracy(result!.logits, 128 * 4, 128)).toBeGreaterThan(0.9);
  expect(result!.loss).toBeLessThan(0.5);
  const again = await engine.forwardMany(net, dataset, [result!.parameters!], everything.evalPoints);
  expect(again).toEqual(result!.logits.slice(128 * 4));
});

test('bf16 learns as fp32 does, is reported, and its bytes depend on the job alone too', async () => {
  const jobs = [toyJob(0), toyJob(1)];
  const bf16 = new NativeEngine({ precision: 'bf16', threads: 1 });
  expect(bf16.describe()).toMatchObject({ engine: 'native', precision: 'bf16' });
  expect(new NativeEngine({ precision: 'auto', isa: 'portable' }).describe()).toMatchObject({ precision: 'fp32' });
  const rough = await bf16.trainMany(net, dataset, jobs, everything);
  const again = await new NativeEngine({ precision: 'bf16', threads: 2 }).trainMany(net, dataset, jobs.toReversed(), everything);
  expect(again[1]).toEqual({ ...rough[0], elapsedMs: again[1]!.elapsedMs });
  const fine = await new NativeEngine({ precision: 'fp32' }).trainMany(net, dataset, jobs, everything);
  for (const [i, { loss, logits }] of rough.entries()) {
    expect(loss).not.toBe(fine[i]!.loss);
    expect(Math.abs(loss - fine[i]!.loss)).toBeLessThan(0.05);
    // before training: eight bits of precision
    const untrained = fine[i]!.logits.subarray(0, 128 * 4);
    const largest = Math.max(...untrained.map(Math.abs));
    for (const [k, logit] of untrained.entries()) expect(Math.abs(logits[k]! - logit)).toBeLessThan(0.03 * largest);
  }
  const trained = await bf16.forwardMany(net, dataset, [rough[0]!.parameters!], everything.evalPoints);
  expect(trained).toEqual(rough[0]!.logits.slice(128 * 4));
  expect(accuracy(trained, 0, 128)).toBeGreaterThan(0.9);
  const memory = (precision: 'bf16' | 'fp32') => new NativeEngine({ precision }).describeNet(net, 512).memoryBytes;
  expect(memory('bf16')).toBeLessThan(0.7 * memory('fp32'));
});

test('a GPU is part of the identity, chosen by auto alone, and missed when it is wanted', async () => {
  const gpu = new NativeEngine({ device: 'cuda' });
  expect(gpu.describe()).toMatchObject({ device: 'cuda', precision: 'bf16' });
  expect(engineIdentity(gpu)).toEqual({ engine: 'native bf16 cuda', device: 'cuda' });
  expect(choiceOf(engineIdentity(gpu))).toEqual({ engine: 'native', device: 'cuda', precision: 'bf16' });
  const cpu = engineIdentity(new NativeEngine({ precision: 'fp32', isa: 'portable' }));
  expect(cpu).toEqual({ engine: 'native fp32 portable' });
  const there = nativeAddon().systemInfo().cuda.devices.length > 0;
  expect(new NativeEngine({ device: 'auto' }).describe()).toMatchObject({ device: there ? 'cuda' : 'cpu' });
  const trained = gpu.trainMany(net, dataset, [toyJob(0)], everything);
  if (there) expect((await trained)[0]).toMatchObject({ status: 'trained' });
  else await expect(trained).rejects.toMatchObject({ code: 'LETHE_GPU_UNAVAILABLE', exitCode: 4 });
});

const smallBatches = { passes: [{ terms: [term(range(0, 40), { batchSize: 7 })], batchNorm: 'train' as const }] };
const augmented = { passes: [{ ...smallBatches.passes[0]!, augment: { cropPadding: 1, flip: true } }] };
const twoTerms = {
  passes: [
    {
      terms: [term(range(0, 20), { weight: -0.1 }), term(range(20, 96), { samplePerEpoch: 10, alwaysIncluded: 3, batchSize: 9 })],
      activeEpochs: 4,
      batchNorm: 'eval' as const,
    },
    { terms: [term(range(30, 96), { batchSize: 50 })], batchNorm: 'train' as const },
  ],
  optimizer: { kind: 'adam' as const, beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weightDecay: 0 },
  schedule: { kind: 'exponential' as const, learningRate: 0.01, factor: 0.95 },
};

test('the bytes of a job depend on the job alone: not on threads, order or grouping', async () => {
  const jobs = [toyJob(0), toyJob(1), toyJob(2, smallBatches), toyJob(3, twoTerms), toyJob(2, augmented)];
  const together = await engine.trainMany(net, dataset, jobs, everything);
  const twoThreads = await new NativeEngine({ threads: 2 }).trainMany(net, dataset, jobs.toReversed(), everything);
  for (const [i, job] of jobs.entries()) {
    const [alone] = await engine.trainMany(net, dataset, [job], everything);
    for (const other of [alone!, twoThreads[4 - i]!]) {
      expect(other).toEqual({ ...together[i], elapsedMs: other.elapsedMs });
    }
  }
  expect(together[0]!.logits).not.toEqual(together[1]!.logits);
  expect(together[2]!.logits).not.toEqual(together[4]!.logits);
  // 4 epochs of (13 images of the walked term + 1 or 2 steps of 9) in pass one, 6 epochs of 66 in pass two
  expect(together[3]!.gradientImages).toBe(4 * (20 + 2 * 9) + 6 * 66);
});

test('a diverging job is flagged, its outputs are NaN, and its neighbour is the same as without it', async () => {
  const bad = toyJob(5, { schedule: { kind: 'constant', learningRate: 1e9 } });
  const [alone] = await engine.trainMany(net, dataset, [toyJob(0)], everything);
  const [diverged, neighbour] = await engine.trainMany(net, dataset, [bad, toyJob(0)], everything);
  expect(diverged).toMatchObject({ status: 'diverged', loss: NaN });
  expect(diverged!.divergedAtEpoch).toBeGreaterThan(0);
  expect(diverged!.logits.subarray(128 * 4).every(Number.isNaN)).toBe(true);
  expect(diverged!.logits.subarray(0, 128 * 4).every(Number.isFinite)).toBe(true); // the model before training
  expect(diverged!.parameters!.every(Number.isNaN)).toBe(true);
  expect(neighbour).toEqual({ ...alone, elapsedMs: neighbour!.elapsedMs });
});

test('the event loop stays free, progress arrives, and an abort ends a long call at once', async () => {
  const controller = new AbortController();
  const progress: number[] = [];
  let ticks = 0;
  const timer = setInterval(() => {
    ticks++;
    if (ticks === 40) controller.abort();
  }, 5);
  const long = [toyJob(0, { epochs: 100000 }), toyJob(1, { epochs: 100000 })];
  const run = engine.trainMany(
    net,
    dataset,
    long,
    { evalPoints: range(0, 0), evalEpochs: [], parameters: false },
    {
      signal: controller.signal,
      onProgress: ({ done, total }) => progress.push(done / total),
    },
  );
  await expect(run).rejects.toMatchObject({ code: 'LETHE_TASK_ABORTED' });
  clearInterval(timer);
  expect(ticks).toBeGreaterThanOrEqual(40);
  expect(ticks).toBeLessThan(400);
  expect(progress.length).toBeGreaterThan(1);
  expect(progress).toEqual(progress.toSorted((a, b) => a - b));
});

test('instruction sets agree within rounding after a few steps', async () => {
  const short = toyJob(0, { epochs: 1, schedule: { kind: 'constant', learningRate: 0.05 } });
  const outputs = { evalPoints: range(0, 32), evalEpochs: [1], parameters: false };
  const [portable] = await new NativeEngine({ isa: 'portable', precision: 'fp32' }).trainMany(net, dataset, [short], outputs);
  const [best] = await new NativeEngine({ precision: 'fp32' }).trainMany(net, dataset, [short], outputs);
  for (const [i, logit] of best!.logits.entries()) expect(Math.abs(logit - portable!.logits[i]!)).toBeLessThan(1e-3);
});

test.each([
  [
    'an index outside the data set',
    { passes: [{ terms: [term(range(100, 129))], batchNorm: 'train' as const }] },
    /position 28; expected a point in 0\.\.127/,
  ],
  [
    'targets of the wrong length',
    {
      passes: [
        { terms: [term(range(0, 9), { objective: { matchLogits: 1 }, targets: new Float32Array(9) })], batchNorm: 'train' as const },
      ],
    },
    /9 x 4 values/,
  ],
  [
    'a sample larger than the set',
    { passes: [{ terms: [term(range(0, 9), { samplePerEpoch: 10 })], batchNorm: 'train' as const }] },
    /1\.\.9/,
  ],
  ['evalEpochs beyond epochs', { epochs: 5 }, /end with 5; received \[0, 6\]/],
  ['initial parameters of another network', { initialParameters: new Float32Array(3) }, /initialParameters/],
  ['a learning rate of NaN', { schedule: { kind: 'constant' as const, learningRate: NaN } }, /schedule.learningRate/],
])('refuses %s', async (_, change, message) => {
  const run = engine.trainMany(net, dataset, [toyJob(4, change)], everything);
  await expect(run).rejects.toMatchObject({ code: 'LETHE_JOB_INVALID' });
  await expect(run).rejects.toThrow(message);
});

test('refuses a data set that does not fit the network', async () => {
  const small = { ...net, input: { ...net.input, channels: 1 } };
  await expect(engine.trainMany(small, dataset, [toyJob(0)], everything)).rejects.toMatchObject({ code: 'LETHE_DATASET_INVALID' });
  const labels = dataset.labels.with(3, 4);
  await expect(engine.trainMany(net, { ...dataset, labels }, [toyJob(0)], everything)).rejects.toThrow(
    /label of point 3; expected a class in 0..3/,
  );
});
