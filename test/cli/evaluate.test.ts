import fs from 'node:fs';
import path from 'node:path';
import { registerEvaluate } from '../../src/cli/evaluate.js';
import { denseWeights, fitDatamodels } from '../../src/datamodels/fit.js';
import { predict } from '../../src/datamodels/predict.js';
import { lds } from '../../src/evaluate/lds.js';
import { encodeDatamodels } from '../../src/store/datamodels.js';
import { nativeAddon } from '../../src/native/addon.js';
import { sha256 } from '../../src/store/files.js';
import { readNpy, writeNpy } from '../../src/store/npy.js';
import { randomProblem } from '../datamodels/problem.js';
import { temporaryFolder } from '../helpers/temporary.js';
import { runVerb } from './runVerb.js';

const folder = temporaryFolder();
const file = (name: string): string => path.join(folder, name);

async function run(...args: string[]): Promise<{ document: Record<string, number>; exitCode: unknown; stderr: string }> {
  const { stdout, stderr, exitCode } = await runVerb(registerEvaluate, ['evaluate', ...args, '--json']);
  return { document: JSON.parse(stdout) as Record<string, number>, exitCode, stderr };
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
