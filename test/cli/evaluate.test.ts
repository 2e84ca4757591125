import fs from 'node:fs';
import path from 'node:path';
import { registerEvaluate } from '../../src/cli/evaluate.js';
import { registerFit } from '../../src/cli/fit.js';
import { denseWeights, fitDatamodels } from '../../src/datamodels/fit.js';
import { predict } from '../../src/datamodels/predict.js';
import { lds } from '../../src/evaluate/lds.js';
import { encodeDatamodels } from '../../src/store/contents/datamodels.js';
import { nativeAddon } from '../../src/native/addon.js';
import { Purpose, Random } from '../../src/native/random.js';
import { sha256 } from '../../src/store/disk/files.js';
import { type NpyData, readNpy, writeNpy } from '../../src/store/formats/npy.js';
import { randomProblem } from '../datamodels/problem.js';
import { temporaryFolder } from '../helpers/temporary.js';
import { runVerb } from './runVerb.js';

const folder = temporaryFolder();
const file = (name: string): string => path.join(folder, name);

async function run(...args: string[]): Promise<{ document: Record<string, unknown>; exitCode: unknown; stderr: string }> {
  const { stdout, stderr, exitCode } = await runVerb(registerEvaluate, ['evaluate', ...args, '--json']);
  return { document: JSON.parse(stdout) as Record<string, unknown>, exitCode, stderr };
}

it('klom: the documented keys, the score of every point on request', async () => {
  await writeNpy(file('o.npy'), [3, 2], Float32Array.of(1, 5, 2, 5, 3, 5));
  await writeNpy(file('u.npy'), [2, 2], Float32Array.of(1, 5, 3, 5));
  const { document, exitCode } = await run('klom', '--oracle', file('o.npy'), '--unlearned', file('u.npy'), '--out', file('k.npy'));
  expect(exitCode).toBe(0);
  const keys = ['numOracles', 'numUnlearned', 'numPoints', 'mean', 'p50', 'p85', 'p95', 'p99', 'floorMean', 'floorP95', 'numNonFinite'];
  for (const key of keys) expect(typeof document[key]).toBe('number');
  expect([document['numOracles'], document['numUnlearned'], document['numPoints']]).toEqual([3, 2, 2]);
  // thirds against halves, the middle bin empty on one side
  const expected = 2 * (1 / 3) * Math.log(2 / 3) + (1 / 3) * Math.log(1 / 3 / 1e-5);
  const { data, shape } = await readNpy(file('k.npy'));
  expect(shape).toEqual([2]);
  expect(data[0]).toBeCloseTo(expected, 12);
  expect(data[1]).toBe(0);
  expect(document['mean']).toBeCloseTo(expected / 2, 12);
});

it('klom: files of different points are refused with both shapes', async () => {
  await writeNpy(file('u3.npy'), [2, 3], new Float32Array(6));
  const { document, exitCode, stderr } = await run('klom', '--oracle', file('o.npy'), '--unlearned', file('u3.npy'));
  expect(exitCode).toBe(2);
  expect(document['code']).toBe('LETHE_SHAPE_MISMATCH');
  expect(stderr).toContain('expected 2 points');
});

it('klom, lds: without a GPU --device cuda says so, with what to do; auto takes the processor and says which', async () => {
  if (nativeAddon().systemInfo().cuda.devices.length > 0) return;
  const files = ['--oracle', file('o.npy'), '--unlearned', file('u.npy')];
  const ldsFiles = ['--weights', 'W', '--bias', 'B', '--masks', 'M', '--outputs', 'Y'];
  for (const verb of [
    ['klom', ...files],
    ['lds', ...ldsFiles],
  ]) {
    const { document, exitCode, stderr } = await run(...verb, '--device', 'cuda');
    expect(exitCode).toBe(4);
    expect(document['code']).toBe('LETHE_GPU_UNAVAILABLE');
    expect(stderr).toContain('Use --device cpu');
  }
  const { document } = await run('klom', ...files, '--device', 'auto');
  expect(document['device']).toBe('cpu');
});

it('lds: a perfect datamodel scores 1', async () => {
  // 4 models, 3 examples, 2 targets: outputs are bias + sum of weights exactly
  const masks = [1, 0, 0, 0, 1, 0, 1, 1, 0, 0, 1, 1];
  const weights = [1, 2, 4, -1, 0.5, 3];
  const outputs = Float32Array.from({ length: 8 }, (_, k) => {
    const [model, target] = [Math.floor(k / 2), k % 2];
    return 0.5 + [0, 1, 2].reduce((sum, j) => sum + masks[model * 3 + j]! * weights[target * 3 + j]!, 0);
  });
  await writeNpy(file('m.npy'), [4, 3], Uint8Array.from(masks), { bool: true });
  await writeNpy(file('w.npy'), [2, 3], Float32Array.from(weights));
  await writeNpy(file('b.npy'), [2], Float32Array.of(0.5, 0.5));
  await writeNpy(file('y.npy'), [4, 2], outputs);
  const args = ['--weights', file('w.npy'), '--bias', file('b.npy'), '--masks', file('m.npy'), '--outputs', file('y.npy')];
  const { document } = await run('lds', ...args);
  expect(document).toMatchObject({ mean: 1, median: 1, numTargets: 2, numModels: 4 });
});

it('lds: datamodels.arrow and dense weights score the same, in any dtype; three dimensions are targets in order', async () => {
  const { masks, outputs } = randomProblem(60, 25, 12, 8);
  const fitted = await fitDatamodels({ masks, outputs, numTargets: 12 });
  const held = randomProblem(31, 25, 12, 8);
  fs.writeFileSync(file('fit.arrow'), encodeDatamodels(fitted, 300));
  await writeNpy(file('hm.npy'), [31, 25], held.dense);
  await writeNpy(file('hy.npy'), [31, 4, 3], Float64Array.from(held.outputs));
  await writeNpy(file('hw.npy'), [12, 25], denseWeights(fitted));
  await writeNpy(file('hb.npy'), [12], fitted.bias);
  const common = ['lds', '--masks', file('hm.npy'), '--outputs', file('hy.npy'), '--threads', '1'];
  const sparse = await run(...common, '--datamodels', file('fit.arrow'));
  const full = await run(...common, '--weights', file('hw.npy'), '--bias', file('hb.npy'), '--memory', '256MiB');
  const direct = await lds({ predicted: await predict(fitted, held.masks), actual: held.outputs, numModels: 31, numPoints: 12 });
  const { mean, median, low, high } = direct;
  expect(sparse.document).toMatchObject({ mean, median, low, high, numTargets: 12, numModels: 31 });
  expect(full.document['mean']).toBeCloseTo(mean, 10);
  const cases: [string[], string][] = [
    [[...common, '--datamodels', file('fit.arrow'), '--bias', file('hb.npy')], 'LETHE_OPTION_MISSING'],
    [common, 'LETHE_OPTION_MISSING'],
    [[...common, '--weights', file('hw.npy'), '--bias', file('hb.npy'), '--memory', '1MiB'], 'LETHE_MEMORY_LIMIT'],
    [[...common, '--datamodels', file('fit.arrow'), '--outputs', file('y.npy')], 'LETHE_SHAPE_MISMATCH'],
    [[...common, '--datamodels', file('hw.npy')], 'LETHE_ARROW_DAMAGED'],
  ];
  for (const [args, expected] of cases) expect((await run(...args)).document['code']).toBe(expected);
});

describe('lds on masks that the fit has seen', () => {
  const { dense, outputs } = randomProblem(60, 25, 12, 8);
  const held = randomProblem(20, 25, 12, 9);
  const lds = (...args: string[]) => run('lds', ...args);
  const fitted = (...names: [string, string]) => [
    '--datamodels',
    file('f/datamodels.arrow'),
    '--masks',
    file(names[0]),
    '--outputs',
    file(names[1]),
  ];

  beforeAll(async () => {
    await writeNpy(file('fm.npy'), [60, 25], dense);
    await writeNpy(file('fy.npy'), [60, 12], outputs);
    await writeNpy(file('nm.npy'), [20, 25], held.dense);
    await writeNpy(file('ny.npy'), [20, 12], held.outputs);
    // 18 new models, then models 3 and 4 of the fit in another order
    const two = (values: Uint8Array | Float32Array, width: number) => [
      values.slice(4 * width, 5 * width),
      values.slice(3 * width, 4 * width),
    ];
    const mixedMasks = [held.dense.slice(0, 18 * 25), ...two(dense, 25)].flatMap((part) => [...part]);
    const mixedOutputs = [held.outputs.slice(0, 18 * 12), ...two(outputs, 12)].flatMap((part) => [...part]);
    await writeNpy(file('mm.npy'), [20, 25], Uint8Array.from(mixedMasks));
    await writeNpy(file('my.npy'), [20, 12], Float32Array.from(mixedOutputs));
    const fit = ['fit', '--masks', file('fm.npy'), '--outputs', file('fy.npy'), '--out', file('f'), '--export', 'npy'];
    expect((await runVerb(registerFit, fit)).exitCode).toBe(0);
  });

  it('refuses them, all or some, from sparse and from dense datamodels', async () => {
    const dense = [
      '--weights',
      file('f/weights.npy'),
      '--bias',
      file('f/bias.npy'),
      '--masks',
      file('fm.npy'),
      '--outputs',
      file('fy.npy'),
    ];
    for (const [args, expected] of [
      [fitted('fm.npy', 'fy.npy'), '60 of the 60 masks'],
      [fitted('mm.npy', 'my.npy'), '2 of the 20 masks'],
      [dense, '60 of the 60 masks'],
    ] as const) {
      const { document, exitCode, stderr } = await lds(...args);
      expect(document).toMatchObject({ code: 'LETHE_MASKS_SEEN', action: expect.stringContaining('--allow-fit-masks') as string });
      expect([exitCode, stderr]).toEqual([2, expect.stringContaining(expected)]);
    }
  });

  it('says so where it is allowed, and what is held out is called so', async () => {
    expect((await lds(...fitted('fm.npy', 'fy.npy'), '--allow-fit-masks')).document).toMatchObject({ masks: 'fit', numSeen: 60 });
    expect((await lds(...fitted('mm.npy', 'my.npy'), '--allow-fit-masks')).document).toMatchObject({ masks: 'partly-fit', numSeen: 2 });
    expect((await lds(...fitted('nm.npy', 'ny.npy'))).document).toMatchObject({ masks: 'held-out', numSeen: 0 });
    const { stdout } = await runVerb(registerEvaluate, ['evaluate', 'lds', ...fitted('mm.npy', 'my.npy'), '--allow-fit-masks']);
    expect(stdout).toMatch(/on 20 models, 2 of them OF THE FIT, not held out: mean/);
  });

  it('finds the same masks where only fit.json tells of them, and claims nothing where nothing does', async () => {
    fs.rmSync(file('f/mask-rows.npy'));
    expect((await lds(...fitted('fm.npy', 'fy.npy'))).document).toMatchObject({ code: 'LETHE_MASKS_SEEN' });
    expect((await lds(...fitted('nm.npy', 'ny.npy'))).document).toMatchObject({ masks: 'unknown', numSeen: null });
  });
});

it('lds: datamodels in the folder of a fit must be those that fit.json describes', async () => {
  const { masks, outputs, dense } = randomProblem(60, 25, 12, 8);
  const bytes = encodeDatamodels(await fitDatamodels({ masks, outputs, numTargets: 12 }));
  await writeNpy(file('fm.npy'), [60, 25], dense);
  await writeNpy(file('fy.npy'), [60, 12], outputs);
  const out = file('of-a-fit');
  fs.mkdirSync(out);
  const [datamodels, record] = ['datamodels.arrow', 'fit.json'].map((name) => path.join(out, name)) as [string, string];
  const describe = (sha256: string): void => {
    const described = { command: {}, summary: { threads: 1 }, datamodels: { bytes: bytes.length, sha256 } };
    fs.writeFileSync(record, JSON.stringify(described));
  };
  const score = () => run('lds', '--masks', file('fm.npy'), '--outputs', file('fy.npy'), '--datamodels', datamodels);
  fs.writeFileSync(datamodels, bytes);
  describe(sha256(bytes));
  expect((await score()).document).toMatchObject({ numTargets: 12 });
  for (const other of ['0'.repeat(64), 'none']) {
    describe(other);
    expect((await score()).document).toMatchObject({ code: 'LETHE_DATAMODELS_CHANGED', exitCode: 3 });
  }
  fs.rmSync(record);
  expect((await score()).document).toMatchObject({ numTargets: 12 });
});

it('accuracy: mean over models', async () => {
  await writeNpy(file('logits.npy'), [2, 2, 2], Float32Array.of(1, 0, 0, 1, 0, 1, 0, 1));
  await writeNpy(file('labels.npy'), [2], Int32Array.of(0, 1));
  const { document } = await run('accuracy', '--logits', file('logits.npy'), '--labels', file('labels.npy'));
  expect(document).toMatchObject({ accuracy: 0.75, numModels: 2, numPoints: 2, perModel: [1, 0.5] });
});

it('accuracy: labels that are no classes, and logits of no model, are refused', async () => {
  const logits = file('logits.npy');
  const code = async (labels: NpyData, shape = [labels.length]): Promise<unknown> => {
    await writeNpy(file('labels.npy'), shape, labels);
    return (await run('accuracy', '--logits', logits, '--labels', file('labels.npy'))).document['code'];
  };
  for (const labels of [Float32Array.of(0.9, 0), Float32Array.of(NaN, 0), BigInt64Array.of(2n ** 32n, 0n), Int32Array.of(0, 2)]) {
    expect(await code(labels)).toBe('LETHE_LABEL_RANGE');
  }
  expect(await code(Int32Array.of(0, 1), [2, 1])).toBe('LETHE_LABEL_RANGE');
  expect(await code(Int32Array.of(0, 1, 1))).toBe('LETHE_SHAPE_MISMATCH');
  for (const shape of [
    [0, 2, 2],
    [3, 0, 2],
    [1, 2, 300],
  ]) {
    await writeNpy(logits, shape, new Float32Array(shape.reduce((a, b) => a * b)));
    expect(await code(Int32Array.of(0, 1))).toBe('LETHE_SHAPE_MISMATCH');
  }
});

it('accuracy: any number of models', async () => {
  await writeNpy(file('many.npy'), [200_000, 1, 2], new Float32Array(400_000));
  await writeNpy(file('label.npy'), [1], Int32Array.of(0));
  const { stdout, exitCode } = await runVerb(registerEvaluate, [
    'evaluate',
    'accuracy',
    '--logits',
    file('many.npy'),
    '--labels',
    file('label.npy'),
  ]);
  expect([exitCode, stdout]).toEqual([0, 'accuracy 1.0000 over 200000 models (1.0000 to 1.0000), 1 points\n']);
});

describe('float64 with an offset that float32 cannot hold beside the rest', () => {
  const offset = 1e8;
  const moved = (values: Float32Array | Float64Array): Float64Array => Float64Array.from(values, (value) => value + offset);

  it('klom: the same scores', async () => {
    const random = new Random(1, Purpose.synthetic, 0);
    const [oracle, unlearned] = [0.3, 0].map((mean) => Float64Array.from({ length: 300 }, () => mean + random.normal()));
    const scores = async (variant: string, move: (values: Float64Array) => Float64Array): Promise<number> => {
      await writeNpy(file('o64.npy'), [50, 6], move(oracle!));
      await writeNpy(file('u64.npy'), [50, 6], move(unlearned!));
      const files = ['--oracle', file('o64.npy'), '--unlearned', file('u64.npy'), '--clip', '1e9'];
      const { document, stderr } = await run('klom', ...files, '--variant', variant);
      expect(stderr).toBe('');
      return document['mean'] as number;
    };
    for (const variant of ['default', 'research-code', 'easydub']) {
      expect(await scores(variant, moved)).toBeCloseTo(await scores(variant, (values) => values), 6);
    }
  });

  it('lds: the same score, and rows that are not finite are named and left out', async () => {
    const { masks, outputs } = randomProblem(60, 25, 12, 8);
    const fitted = await fitDatamodels({ masks, outputs, numTargets: 12 });
    const held = randomProblem(31, 25, 12, 8);
    const score = async (values: Float64Array, bias = fitted.bias) => {
      await writeNpy(file('y64.npy'), [31, 12], values);
      await writeNpy(file('b64.npy'), [12], bias);
      const models = ['--weights', file('w64.npy'), '--bias', file('b64.npy'), '--masks', file('hm.npy'), '--outputs', file('y64.npy')];
      return run('lds', ...models);
    };
    await writeNpy(file('hm.npy'), [31, 25], held.dense);
    await writeNpy(file('w64.npy'), [12, 25], denseWeights(fitted));
    const plain = (await score(Float64Array.from(held.outputs))).document['mean'] as number;
    expect((await score(moved(held.outputs), Float32Array.from(moved(fitted.bias)))).document['mean']).toBeCloseTo(plain, 10);
    const damaged = Float64Array.from(held.outputs).fill(NaN, 4 * 12, 5 * 12);
    const { document, stderr } = await score(damaged);
    expect(stderr).toMatch(/NaN or infinite: row 4 of the outputs; left out/);
    const rest = (matrix: Float32Array): Float32Array => matrix.filter((_, at) => Math.floor(at / 12) !== 4);
    const predicted = rest(await predict(fitted, held.masks));
    const expected = await lds({ predicted, actual: rest(held.outputs), numModels: 30, numPoints: 12 });
    expect(document['mean']).toBeCloseTo(expected.mean, 10);
    const nothing = (await score(damaged.fill(NaN))).document;
    expect([nothing['mean'], nothing['low'], nothing['numNonFinite']]).toEqual([null, null, 12]);
  });

  it('accuracy: the same classes', async () => {
    await writeNpy(file('l64.npy'), [1, 2, 2], moved(Float64Array.of(0.25, 0.5, 0.5, 0.25)));
    await writeNpy(file('labels.npy'), [2], Int32Array.of(1, 0));
    const { document } = await run('accuracy', '--logits', file('l64.npy'), '--labels', file('labels.npy'));
    expect(document['accuracy']).toBe(1);
  });
});
