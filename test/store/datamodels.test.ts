import { tableFromIPC } from 'apache-arrow';
import { encodeDatamodels, readDatamodels } from '../../src/store/datamodels.js';
import type { Datamodels } from '../../src/types.js';

const datamodels: Datamodels = {
  numTargets: 4,
  numTrain: 9,
  bias: Float32Array.of(1, NaN, 3, 4),
  lambda: Float32Array.of(0.5, NaN, 0.25, 0),
  gap: Float32Array.of(1e-5, NaN, 2e-5, 0),
  status: ['converged', 'nonfinite', 'unconverged', 'constant'],
  rowStart: Float64Array.of(0, 2, 2, 5, 5),
  indices: Int32Array.of(1, 8, 0, 4, 5),
  weights: Float32Array.of(0.5, -1, 2, 3, -4),
};

describe('datamodels file', () => {
  it.each([undefined, 1])('reads back what was written, batches of at most %s bytes', (maxBatchBytes) => {
    const bytes = encodeDatamodels(datamodels, maxBatchBytes);
    expect(readDatamodels(bytes)).toEqual(datamodels);
    expect(encodeDatamodels(readDatamodels(bytes), maxBatchBytes)).toEqual(bytes);
  });

  it('has the documented columns, one row a target', () => {
    const table = tableFromIPC(encodeDatamodels(datamodels));
    expect(table.schema.names).toEqual(['target', 'bias', 'lambda', 'gap', 'status', 'numNonzero', 'indices', 'weights']);
    const third = JSON.parse(JSON.stringify(table.get(2))) as Record<string, unknown>;
    expect(third).toMatchObject({ target: 2, status: 'unconverged', numNonzero: 3, indices: [0, 4, 5], weights: [2, 3, -4] });
  });

  it('holds no targets', () => {
    const none = { ...datamodels, numTargets: 0, status: [], rowStart: new Float64Array(1) };
    const empty = new Float32Array(0);
    expect(readDatamodels(encodeDatamodels({ ...none, bias: empty, lambda: empty, gap: empty })).numTargets).toBe(0);
  });

  it('refuses another file', () => {
    expect(() => readDatamodels(new Uint8Array(40))).toThrow(/LETHE_ARROW_DAMAGED/);
  });
});
