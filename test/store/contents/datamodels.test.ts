import { tableFromIPC } from 'apache-arrow';
import fs from 'node:fs';
import path from 'node:path';
import { joinTargets, sliceTargets } from '../../../src/store/contents/datamodelRows.js';
import { encodeDatamodels, readDatamodelBatches, readDatamodels, streamDatamodels } from '../../../src/store/contents/datamodels.js';
import type { Datamodels } from '../../../src/types.js';
import { temporaryFolder } from '../../helpers/temporary.js';

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

const folder = temporaryFolder();

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

  it.each([1, 100, 130, 1000])('is written and read in parts: the same bytes for every cut, batches of %i bytes', async (maxBatchBytes) => {
    const whole = encodeDatamodels(datamodels, maxBatchBytes);
    for (const cuts of [
      [0, 4],
      [0, 1, 4],
      [0, 1, 2, 3, 4],
      [0, 3, 4],
      [0, 2, 2, 4],
    ]) {
      const parts = cuts.slice(1).map((end, k) => sliceTargets(datamodels, cuts[k]!, end));
      expect(joinTargets(9, parts)).toEqual(datamodels);
      const chunks: Uint8Array[] = [];
      // eslint-disable-next-line @typescript-eslint/require-await -- parts of a fit arrive asynchronously
      async function* arriving(): AsyncGenerator<Datamodels> {
        yield* parts;
      }
      for await (const chunk of streamDatamodels(9, arriving(), maxBatchBytes)) chunks.push(chunk.slice());
      expect(new Uint8Array(Buffer.concat(chunks))).toEqual(whole);
    }
    const file = path.join(folder, 'parts.arrow');
    fs.writeFileSync(file, whole);
    const batches: Datamodels[] = [];
    for await (const batch of readDatamodelBatches(file)) batches.push(batch);
    expect(batches.length).toBe({ 1: 4, 100: 3, 130: 2, 1000: 1 }[maxBatchBytes]);
    expect(joinTargets(9, batches)).toEqual(datamodels);
  });

  it('in parts refuses another file', async () => {
    const file = path.join(folder, 'other.arrow');
    fs.writeFileSync(file, 'no Arrow file at all, but long enough to be one');
    await expect(readDatamodelBatches(file).next()).rejects.toMatchObject({ code: 'LETHE_ARROW_DAMAGED', exitCode: 3 });
    await expect(readDatamodelBatches(path.join(folder, 'none')).next()).rejects.toMatchObject({ code: 'LETHE_FILE_MISSING' });
  });
});
