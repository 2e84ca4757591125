import { packMasks } from '../../src/data/masks.js';
import { denseWeights } from '../../src/datamodels/fit.js';
import { predict } from '../../src/datamodels/predict.js';
import type { Datamodels } from '../../src/types.js';
import { randomProblem } from './problem.js';

/** Datamodels with a third of the weights set. */
function someDatamodels(numTargets: number, numTrain: number): Datamodels {
  const rows = Array.from({ length: numTargets }, (_, target) =>
    Array.from({ length: numTrain }, (__, j) => j).filter((j) => (j * 7 + target) % 3 === 0),
  );
  const rowStart = Float64Array.from([0, ...rows.map((__, target) => rows.slice(0, target + 1).reduce((sum, row) => sum + row.length, 0))]);
  const indices = Int32Array.from(rows.flat());
  return {
    numTargets,
    numTrain,
    bias: Float32Array.from({ length: numTargets }, (_, target) => target - 0.5),
    lambda: new Float32Array(numTargets),
    gap: new Float32Array(numTargets),
    status: rows.map(() => 'converged' as const),
    rowStart,
    indices,
    weights: Float32Array.from(indices, (_, k) => Math.sin(k + 1)),
  };
}

describe('predict', () => {
  const { masks, dense } = randomProblem(37, 70, 1, 5);
  const datamodels = someDatamodels(21, 70);

  it('is the bias plus the weights of the examples in the mask, sparse and dense', async () => {
    const weights = denseWeights(datamodels);
    const sparse = await predict(datamodels, masks, { threads: 1 });
    const full = await predict({ numTargets: 21, numTrain: 70, bias: datamodels.bias, weights }, masks);
    for (let model = 0; model < 37; model++) {
      for (let target = 0; target < 21; target++) {
        let sum = datamodels.bias[target]!;
        for (let j = 0; j < 70; j++) sum += weights[target * 70 + j]! * dense[model * 70 + j]!;
        expect(sparse[model * 21 + target]).toBeCloseTo(sum, 5);
        expect(full[model * 21 + target]).toBeCloseTo(sum, 5);
      }
    }
    expect(await predict(datamodels, masks, { threads: 2 })).toEqual(sparse);
  });

  it('refuses masks of another training set, entries outside it, and stops when told to', async () => {
    const others = packMasks(new Uint8Array(3 * 69), 3, 69);
    await expect(predict(datamodels, others)).rejects.toMatchObject({ code: 'LETHE_SHAPE_MISMATCH' });
    const damaged = { ...datamodels, indices: datamodels.indices.map((index) => index + 1) };
    await expect(predict(damaged, masks)).rejects.toMatchObject({ code: 'LETHE_ARGUMENT_INVALID' });
    await expect(predict(datamodels, masks, { signal: AbortSignal.abort() })).rejects.toMatchObject({ code: 'LETHE_TASK_ABORTED' });
  });
});
