import { execFile } from 'node:child_process';
import path from 'node:path';
import { promisify } from 'node:util';
import { addonPath, nativeAddon } from '../../src/native/addon.js';
import { nativeBuffer, nativeFloats } from '../../src/native/memory.js';
import type { NativeDesignRequest, NativeMomentsRequest, NativeTrainRequest } from '../../src/native/types.js';

const program = (name: string): string => path.join(import.meta.dirname, name);
const run = promisify(execFile);

/** A crash of the addon ends its process: programs of their own make the dangerous calls. */
async function calls(name: string, ...args: string[]): Promise<string> {
  const { stdout } = await run(process.execPath, [program(name), addonPath(), ...args]);
  return stdout;
}

const transferred = (array: ArrayBufferView): void => {
  structuredClone(array.buffer, { transfer: [array.buffer as ArrayBuffer] });
};

/** Of ES2024, which the types do not know yet. */
interface ResizableBuffer extends ArrayBuffer {
  resize(bytes: number): void;
}
const Resizable = ArrayBuffer as unknown as new (bytes: number, options: { maxByteLength: number }) => ResizableBuffer;

const numPoints = 4;
const moments = (changes: Partial<NativeMomentsRequest> = {}): NativeMomentsRequest => ({
  margins: Float32Array.of(1, 2, 3, 4, 3, 2, 5, 8),
  numModels: 2,
  numPoints,
  threads: 1,
  mean: new Float64Array(numPoints),
  variance: new Float64Array(numPoints),
  nonFinite: new Int32Array(numPoints),
  ...changes,
});
const means = [2, 2, 4, 6];

const design = (changes: Partial<NativeDesignRequest>): NativeDesignRequest => ({
  isa: '',
  device: 'cpu',
  threads: 1,
  numModels: 8,
  numTrain: 4,
  numTargets: 1,
  bits: Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8),
  estimator: 'lasso',
  fold: new Int32Array(0),
  lambdas: new Float64Array(0),
  pathLength: 10,
  lambdaMinRatio: 0.1,
  refit: true,
  pooled: false,
  relaxation: 0,
  lambda: 0.1,
  standardise: false,
  gapTolerance: 1e-4,
  gramBytes: 0,
  setBytes: 0,
  ...changes,
});

/** Training of one model whose job and pass are changed; words that do not exist included. */
const training = (job: object, pass: object = {}, changes: object = {}): NativeTrainRequest => {
  const request: unknown = {
    net: {
      name: 'one layer',
      input: { height: 2, width: 2, channels: 1 },
      numClasses: 2,
      layers: [
        { op: 'globalAveragePool', name: 'pool', inputs: ['image'] },
        { op: 'linear', name: 'head', inputs: ['pool'], outFeatures: 2, bias: true },
      ],
    },
    isa: '',
    device: 'cpu',
    precision: 'fp32',
    threads: 1,
    data: { numPoints: 2, pixels: new Uint8Array(8), labels: new Int32Array(2), mean: [0.5], std: [0.2] },
    jobs: [
      {
        modelIndex: 0,
        seed: 0,
        epochs: 1,
        passes: [{ batchNorm: 'train', terms: [{ indices: Int32Array.of(0, 1), objective: { crossEntropy: 1 }, weight: 1, batchSize: 2 }], ...pass }],
        optimizer: { kind: 'sgd', momentum: 0, weightDecay: 0 },
        schedule: { kind: 'constant', learningRate: 0.1 },
        logits: new Float32Array(0),
        ...job,
      },
    ],
    evalPoints: new Int32Array(0),
    evalEpochs: [],
    ...changes,
  };
  return request as NativeTrainRequest;
};

/** Errors are thrown by the call or by its promise. */
const errorOf = async (call: () => Promise<unknown>): Promise<unknown> => {
  try {
    return { resolved: await call() };
  } catch (error) {
    return error;
  }
};

describe('the addon', () => {
  it('answers random calls, disturbed in every way, with the right answer or an error with a code', async () => {
    expect(await calls('addonCalls.mjs', '4000')).toMatch(/^\{"calls":4000,.*"LETHE_ARGUMENT_INVALID":.*"LETHE_BUFFER_LOST":.*"answer":\d+\}\n$/);
  }, 240_000);

  it('lets workers and the process end in the middle of calls', async () => {
    expect(await calls('addonWorkers.mjs', '200')).toBe('ended 200\n');
  }, 480_000);

  it('works on inputs as they were given', async () => {
    const request = moments();
    const running = nativeAddon().moments(request);
    transferred(request.margins);
    await running;
    expect(Array.from(request.mean)).toEqual(means);
  });

  it('refuses to deliver into an array that was taken away', async () => {
    const shrinking = moments({ mean: new Float64Array(new Resizable(8 * numPoints, { maxByteLength: 64 })) });
    const lost = moments();
    const running = [nativeAddon().moments(shrinking), nativeAddon().moments(lost)];
    (shrinking.mean.buffer as ResizableBuffer).resize(8);
    transferred(lost.variance);
    const errors = (await Promise.allSettled(running)).map((outcome) => outcome.status === 'rejected' && (outcome.reason as object));
    expect(errors).toMatchObject([{ code: 'LETHE_BUFFER_LOST' }, { code: 'LETHE_BUFFER_LOST' }]);
  });

  it('works in memory that it gave out, and in shared memory', async () => {
    const given = moments({ margins: new Float32Array(nativeAddon().allocate(32)), mean: new Float64Array(nativeAddon().allocate(32)) });
    given.margins.set(moments().margins);
    const shared = moments({ mean: new Float64Array(new SharedArrayBuffer(32)) });
    await Promise.all([nativeAddon().moments(given), nativeAddon().moments(shared)]);
    expect([Array.from(given.mean), Array.from(shared.mean)]).toEqual([means, means]);
  });

  it.each([
    ['numModels x numPoints', { numModels: 2 ** 31 - 1, numPoints: 2 ** 31 - 1 }],
    ['numModels', { numModels: 2 ** 53 - 1 }],
    ['numModels', { numModels: NaN }],
    ['margins', { numModels: 3 }],
    ['threads', { threads: 2 ** 40 }],
    ['mean', { mean: new Float32Array(4) as unknown as Float64Array }],
  ])('names the argument %s', async (name, changes) => {
    const error = await errorOf(() => nativeAddon().moments(moments(changes)));
    expect(error).toMatchObject({ code: 'LETHE_ARGUMENT_INVALID', message: expect.stringContaining(`${name}: expected`) as string });
  });

  it.each([
    ['request', () => nativeAddon().moments(undefined as unknown as NativeMomentsRequest)],
    ['onProgress', () => nativeAddon().moments(moments(), 5 as never)],
    ['abortFlag', () => nativeAddon().moments(moments(), undefined, new Int32Array(1))],
    ['abortFlag', () => nativeAddon().moments(moments(), undefined, new Uint8Array(new SharedArrayBuffer(4)) as never)],
    ['estimator', () => nativeAddon().openDesign(design({ estimator: 'ridge' as never }))],
    ['device', () => nativeAddon().openDesign(design({ device: 'gpu' as never }))],
    ['precision', () => nativeAddon().trainMany(training({}, {}, { precision: 'fp16' }))],
    ['optimizer', () => nativeAddon().trainMany(training({ optimizer: { kind: 'adagrad', weightDecay: 0, momentum: 0 } }))],
    ['schedule', () => nativeAddon().trainMany(training({ schedule: { kind: 'cyclic', learningRate: 0.1 } }))],
    ['batchNorm', () => nativeAddon().trainMany(training({}, { batchNorm: 'frozen' }))],
    ['op', () => nativeAddon().trainMany(training({}, {}, { net: { ...training({}).net, layers: [{ op: 'lstm', name: 'x', inputs: [] }] } }))],
  ])('refuses an unknown %s', async (name, call) => {
    const error = await errorOf(call);
    expect(error).toMatchObject({ code: 'LETHE_ARGUMENT_INVALID', message: expect.stringContaining(`${name}: expected`) as string });
  });

  it('trains what the refused requests were made of', async () => {
    await expect(nativeAddon().trainMany(training({}))).resolves.toMatchObject([{ divergedAtEpoch: 0, gradientImages: 2 }]);
  });
});

describe('nativeBuffer', () => {
  it('gives zeros of any size', () => {
    expect([nativeBuffer(0).byteLength, nativeBuffer(10).byteLength, nativeBuffer(2 ** 20).byteLength]).toEqual([0, 10, 2 ** 20]);
    expect(nativeFloats(2 ** 18).every((value) => value === 0)).toBe(true);
  });

  it('is collected like other memory', async () => {
    const before = process.memoryUsage.rss();
    let most = 0;
    for (let i = 0; i < 60; i++) {
      new Uint8Array(nativeBuffer(2 ** 24)).fill(1);
      most = Math.max(most, process.memoryUsage.rss());
      await new Promise((resolve) => setTimeout(resolve, 1));
    }
    expect(most - before).toBeLessThan(30 * 2 ** 24);
  });
});
