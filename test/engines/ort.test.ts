/** The ort engine beside the native one: same job, same batches, same initial parameters. */
import path from 'node:path';
import { NativeEngine } from '../../src/engines/native.js';
import { buildNet } from '../../src/models/index.js';
import type { Dataset, Engine, NetSpec, TrainJob } from '../../src/types.js';
import { Purpose, Random } from '../../src/native/random.js';
import { compiled } from '../helpers/compiled.js';
import { range, term, toyDataset, toyJob } from './toy.js';

// its workers are files of their own
const { OrtEngine } = (await import(path.join(compiled(), 'engines', 'ort.js'))) as typeof import('../../src/engines/ort.js');

const dataset = toyDataset();
const input = { height: 8, width: 8, channels: 3 };
const smallcnn = buildNet({ name: 'smallcnn', width: 1, input, numClasses: 4 });
const native = new NativeEngine({ threads: 1, precision: 'fp32' });
const ort: Engine = new OrtEngine({ threads: 1 });
const points = range(0, 128);
const adam = { kind: 'adam' as const, beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weightDecay: 1e-3 };
const gentle = { kind: 'constant' as const, learningRate: 0.02 };
const slow = { kind: 'constant' as const, learningRate: 2e-3 };

/** Teacher logits that differ from point to point: (count, classes). */
const targets = (count: number): Float32Array => Float32Array.from({ length: 4 * count }, (_, i) => 2 * Math.sin(1.7 * i));

/** Noise on every pixel: equal pixels make equal maxima, and those the engines would break by their last bits. */
function images32(): Dataset {
  const { pixels, ...rest } = toyDataset(24, 8);
  const random = new Random(1, Purpose.synthetic, 0);
  const large = new Uint8Array(32 * 32 * 32 * 3);
  for (let i = 0; i < large.length; i++) {
    const [c, x, y, point] = [i % 3, Math.floor(i / 3) % 32, Math.floor(i / 96) % 32, Math.floor(i / 3072)];
    large[i] = pixels[((point * 8 + (y >> 2)) * 8 + (x >> 2)) * 3 + c]! / 2 + random.below(128);
  }
  return { ...rest, pixels: large, height: 32, width: 32 };
}

const largest = (values: Float32Array): number => values.reduce((most, value) => Math.max(most, Math.abs(value)), 0);

/** Largest difference relative to the largest value. */
function difference(a: Float32Array, b: Float32Array): number {
  expect(a.length).toBe(b.length);
  return largest(a.map((value, i) => value - b[i]!)) / largest(b);
}

const outputs = { evalPoints: points, evalEpochs: [0, 2], parameters: true };

const cases: [string, NetSpec, Dataset, Partial<TrainJob>][] = [
  [
    'smallcnn with Adam and label smoothing',
    smallcnn,
    dataset,
    {
      optimizer: adam,
      schedule: slow,
      passes: [{ batchNorm: 'train', terms: [term(range(0, 90), { objective: { crossEntropy: 1, labelSmoothing: 0.1 } })] }],
    },
  ],
  [
    'match logits',
    smallcnn,
    dataset,
    {
      schedule: gentle,
      passes: [{ batchNorm: 'train', terms: [term(range(0, 50), { objective: { matchLogits: 1 }, targets: targets(50) })] }],
    },
  ],
  [
    'distill and cross-entropy',
    smallcnn,
    dataset,
    {
      schedule: gentle,
      passes: [
        {
          batchNorm: 'train',
          terms: [term(range(0, 50), { objective: { crossEntropy: 0.99, distill: 0.1, temperature: 4 }, targets: targets(50) })],
        },
      ],
    },
  ],
  [
    'distill away, BatchNorm in eval mode',
    smallcnn,
    dataset,
    {
      optimizer: adam,
      schedule: slow,
      passes: [{ batchNorm: 'eval', terms: [term(range(0, 50), { objective: { distill: -1, temperature: 4 }, targets: targets(50) })] }],
    },
  ],
  [
    'ascent on one set, descent on another, a pass that ends, samples and schedules',
    smallcnn,
    dataset,
    {
      schedule: { kind: 'triangle', learningRate: 0.05, peakEpoch: 0.5 },
      passes: [
        {
          batchNorm: 'train',
          activeEpochs: 1,
          terms: [
            term(range(0, 20), { weight: -0.1, batchSize: 7 }),
            term(range(20, 96), { samplePerEpoch: 10, alwaysIncluded: 3, batchSize: 9 }),
          ],
        },
        { batchNorm: 'eval', terms: [term(range(30, 96), { batchSize: 50 })] },
      ],
    },
  ],
  [
    'augmented images',
    smallcnn,
    dataset,
    { schedule: gentle, passes: [{ batchNorm: 'train', augment: { cropPadding: 2, flip: true }, terms: [term(range(0, 96))] }] },
  ],
  [
    'ResNet-9 /8 with momentum and weight decay',
    buildNet({ name: 'resnet9', width: 8, input: { ...input, height: 32, width: 32 }, numClasses: 4 }),
    images32(),
    { schedule: gentle, passes: [{ batchNorm: 'train', terms: [term(range(0, 32), { batchSize: 12 })] }] },
  ],
  [
    'ResNet-18 /16, whose pool overlaps',
    buildNet({ name: 'resnet18', width: 16, input: { ...input, height: 32, width: 32 }, numClasses: 4 }),
    images32(),
    { schedule: gentle, passes: [{ batchNorm: 'train', terms: [term(range(0, 32), { batchSize: 32 })] }] },
  ],
];

test.each(cases)('agrees with the native engine: %s', async (_, net, data, change) => {
  const job = toyJob(3, { epochs: 2, ...change });
  const wanted = { ...outputs, evalPoints: range(0, data.labels.length) };
  const [expected] = await native.trainMany(net, data, [job], wanted);
  const [received] = await ort.trainMany(net, data, [job], wanted);
  expect(received).toMatchObject({ modelIndex: 3, status: 'trained', gradientImages: expected!.gradientImages });
  expect(Math.abs(received!.loss - expected!.loss)).toBeLessThan(1e-4);
  const perSnapshot = expected!.logits.length / 2;
  // the same initial parameters, then the same steps
  expect(difference(received!.logits.subarray(0, perSnapshot), expected!.logits.subarray(0, perSnapshot))).toBeLessThan(1e-5);
  expect(difference(received!.logits.subarray(perSnapshot), expected!.logits.subarray(perSnapshot))).toBeLessThan(1e-3);
  expect(difference(received!.parameters!, expected!.parameters!)).toBeLessThan(1e-3);
  // and steps that moved something
  expect(difference(expected!.logits.subarray(perSnapshot), expected!.logits.subarray(0, perSnapshot))).toBeGreaterThan(1e-2);
});

test('the parameter layout is the native one, and forwardMany of the returned parameters gives the returned logits', async () => {
  expect(ort.parameters(smallcnn)).toEqual(native.parameters(smallcnn));
  const [result] = await ort.trainMany(smallcnn, dataset, [toyJob(0)], { evalPoints: points, evalEpochs: [6], parameters: true });
  expect(result!.loss).toBeLessThan(0.5);
  const images: number[] = [];
  const again = await ort.forwardMany(smallcnn, dataset, [result!.parameters!, result!.parameters!], points, {
    onProgress: ({ done }) => images.push(done),
  });
  expect(again.subarray(0, 512)).toEqual(result!.logits);
  expect(again.subarray(512)).toEqual(result!.logits);
  expect(images).toEqual([128, 256]);
  expect(difference(await native.forwardMany(smallcnn, dataset, [result!.parameters!], points), result!.logits)).toBeLessThan(1e-5);
});

test('the bytes of a job do not depend on workers, order or neighbours, diverged ones included', async () => {
  const bad = toyJob(5, { schedule: { kind: 'constant', learningRate: 1e9 } });
  const jobs = [toyJob(0), bad, toyJob(1), toyJob(2, { optimizer: adam, schedule: slow })];
  const wanted = { ...outputs, evalEpochs: [0, 6] };
  const one = await ort.trainMany(smallcnn, dataset, jobs, wanted);
  const two = await new OrtEngine({ threads: 2 }).trainMany(smallcnn, dataset, jobs.toReversed(), wanted);
  for (const [i, result] of one.entries()) expect(two[3 - i]).toEqual({ ...result, elapsedMs: two[3 - i]!.elapsedMs });
  const [expected] = await native.trainMany(smallcnn, dataset, [bad], wanted);
  expect(one[1]).toMatchObject({ status: 'diverged', loss: NaN, divergedAtEpoch: expected!.divergedAtEpoch });
  expect(one[1]!.logits.map(Number.isNaN as never)).toEqual(expected!.logits.map(Number.isNaN as never));
  expect(one[1]!.parameters!.every(Number.isNaN)).toBe(true);
});

test('the event loop stays free, progress arrives, and an abort ends a long call within a second', async () => {
  const controller = new AbortController();
  const progress: number[] = [];
  let abortedAt = 0;
  let ticks = 0;
  const timer = setInterval(() => ticks++, 5);
  setTimeout(() => {
    abortedAt = performance.now();
    controller.abort();
  }, 600);
  const run = ort.trainMany(
    smallcnn,
    dataset,
    [toyJob(0, { epochs: 1e5 })],
    { ...outputs, evalEpochs: [] },
    {
      signal: controller.signal,
      onProgress: ({ done, total }) => progress.push(done / total),
    },
  );
  await expect(run).rejects.toMatchObject({ code: 'LETHE_TASK_ABORTED' });
  clearInterval(timer);
  expect(performance.now() - abortedAt).toBeLessThan(1000);
  expect(ticks).toBeGreaterThan(20);
  expect(progress.length).toBeGreaterThan(1);
  expect(progress).toEqual(progress.toSorted((a, b) => a - b));
  // the engine goes on working, and tells of the last image
  const images: number[] = [];
  const onProgress = ({ done }: { done: number }) => images.push(done);
  const jobs = [toyJob(0), toyJob(1)];
  const [after] = await ort.trainMany(smallcnn, dataset, jobs, { ...outputs, evalEpochs: [] }, { onProgress });
  expect(after!.status).toBe('trained');
  expect(images.at(-1)).toBe(2 * 6 * 96);
});

test('refuses wrong jobs, and a provider that is not there', async () => {
  const wrong = ort.trainMany(smallcnn, dataset, [toyJob(4, { initialParameters: new Float32Array(3) })], { ...outputs, evalEpochs: [] });
  await expect(wrong).rejects.toThrow(/LETHE_JOB_INVALID.*initialParameters/);
  await expect(ort.forwardMany(smallcnn, dataset, [new Float32Array(2)], points)).rejects.toThrow(/LETHE_JOB_INVALID.*model 0/);
  expect(() => new OrtEngine({ provider: 'tpu' as never })).toThrow(/LETHE_PROVIDER_MISSING.*cpu/);
});
