import path from 'node:path';
import { registerEvaluate } from '../../src/cli/evaluate.js';
import { readNpy, writeNpy } from '../../src/store/npy.js';
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

it('accuracy: mean over models', async () => {
  await writeNpy(file('logits.npy'), [2, 2, 2], Float32Array.of(1, 0, 0, 1, 0, 1, 0, 1));
  await writeNpy(file('labels.npy'), [2], Int32Array.of(0, 1));
  const { document } = await run('accuracy', '--logits', file('logits.npy'), '--labels', file('labels.npy'));
  expect(document).toMatchObject({ accuracy: 0.75, numModels: 2, numPoints: 2, perModel: [1, 0.5] });
});
