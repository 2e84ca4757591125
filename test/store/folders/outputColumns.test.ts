import { jest } from '@jest/globals';
import fs from 'node:fs';
import path from 'node:path';
import { encodeOutputs, isTrained, readOutputs } from '../../../src/store/contents/outputs.js';
import { layout } from '../../../src/store/folders/layout.js';
import { outputColumns, releaseOutputs, shareOutputs } from '../../../src/store/folders/outputColumns.js';
import { openRun, type RunFolder } from '../../../src/store/folders/run.js';
import { verifyRun } from '../../../src/store/folders/verify.js';
import { samplePlan } from '../../helpers/plan.js';
import { temporaryFolder } from '../../helpers/temporary.js';

const temporary = temporaryFolder();
// more columns than a band holds, and a last band that is not full
const [points, classes] = [700, 4];
const logit = (model: number, column: number): number => 10000 * model + column;
const margin = (model: number, point: number): number => -10000 * model - point;
const values = (models: readonly number[], columns: readonly number[], value: typeof logit): Float32Array =>
  Float32Array.from(models.flatMap((model) => columns.map((column) => value(model, column))));
const span = (first: number, end: number): number[] => Array.from({ length: end - first }, (_, i) => first + i);

/** Shards of 2, 2 and 1 models; `lost` ones diverged. The second in record batches of one row. */
async function newRun(name: string, lost: readonly number[] = [], shards = 3): Promise<RunFolder> {
  const plan = { ...samplePlan(), subsetModels: { count: 5, subsetFraction: 0.5, modelsPerShard: 2 } };
  const run = await openRun(path.join(temporary, name), { plan });
  for (const [shard, models] of [[0, 1], [2, 3], [4]].slice(0, shards).entries()) {
    const outputs = {
      numPoints: points,
      numClasses: classes,
      models: Int32Array.from(models),
      status: models.map((model) => (lost.includes(model) ? ('diverged' as const) : ('trained' as const))),
      logits: values(models, span(0, points * classes), logit),
      margins: values(models, span(0, points), margin),
    };
    await run.publish([{ path: layout.subsetOutputs(shard), content: encodeOutputs(outputs, shard === 1 ? 1 : undefined) }]);
  }
  return run;
}

/** The same folder in another process. */
const again = (run: RunFolder): Promise<RunFolder> => openRun(run.root);

function countShardReads(run: RunFolder): () => number {
  const read = jest.spyOn(run, 'read');
  return () => read.mock.calls.filter(([artefact]) => artefact.startsWith(path.posix.dirname(layout.subsetOutputs(0)))).length;
}

describe.each([
  ['in memory', Infinity],
  ['in a file', 0],
])('columns %s', (where, memory) => {
  it('are stacked in the order asked for, each shard read once, models that diverged left out', async () => {
    const run = await newRun(`order ${memory}`, [1, 4]);
    const reads = countShardReads(run);
    const columns = await outputColumns(run, { memory });
    expect(columns).toMatchObject({ trained: Int32Array.of(0, 2, 3), numModels: 5 });
    const left = [0, 2, 3];
    expect(await columns.read('logits', { first: 1, end: 4 })).toEqual(values(left, [1, 2, 3], logit));
    expect(await columns.read('logits', { first: 2500, end: 2800 })).toEqual(values(left, span(2500, 2800), logit));
    expect(await columns.read('logits', Int32Array.of(2799, 0, 2560, 2559))).toEqual(values(left, [2799, 0, 2560, 2559], logit));
    expect(await columns.read('margins', { first: 0, end: 700 })).toEqual(values(left, span(0, 700), margin));
    expect(await columns.read('margins', { first: 9, end: 9 })).toEqual(new Float32Array(0));
    expect(await outputColumns(run, { memory })).toBe(columns);
    expect(reads()).toBe(3);
    expect(fs.existsSync(path.join(run.root, layout.outputColumns))).toBe(where === 'in a file');
    expect(await verifyRun(run)).toMatchObject({ damaged: [], missing: [], foreign: [] });
    await releaseOutputs(run);
    expect(fs.existsSync(path.join(run.root, layout.outputColumns))).toBe(false);
    expect(await run.isDone(layout.outputColumnsIndex)).toBe(false);
  });

  it('say which shard is missing or damaged, and are asked for anew once it is there', async () => {
    const run = await newRun(`missing ${memory}`, [], 2);
    await expect(outputColumns(run, { memory })).rejects.toMatchObject({ code: 'LETHE_ARTEFACT_MISSING' });
    await newRun(`missing ${memory}`);
    expect(await outputColumns(run, { memory })).toMatchObject({ numModels: 5 });
    await releaseOutputs(run);
    fs.truncateSync(path.join(run.root, layout.subsetOutputs(2)), 40);
    await expect(outputColumns(run, { memory })).rejects.toMatchObject({ code: 'LETHE_ARTEFACT_DAMAGED' });
    const stopped = { memory, signal: AbortSignal.abort() };
    await expect(outputColumns(await newRun(`missing ${memory}`), stopped)).rejects.toMatchObject({ code: 'LETHE_TASK_ABORTED' });
  });
});

describe('the file', () => {
  it('serves other processes, which read no shard', async () => {
    const run = await newRun('shared');
    await shareOutputs(run);
    await shareOutputs(run);
    const other = await again(run);
    const reads = countShardReads(other);
    const columns = await outputColumns(other);
    await releaseOutputs(run); // the first to end takes the name away, and nobody's work
    expect(await columns.read('logits', { first: 2558, end: 2562 })).toEqual(values(span(0, 5), span(2558, 2562), logit));
    expect(reads()).toBe(0);
    await releaseOutputs(other);
  });

  it('is made anew when it is of other outputs, not finished, too short or changed', async () => {
    const run = await newRun('stale');
    await shareOutputs(run);
    const file = path.join(run.root, layout.outputColumns);
    const whole = fs.readFileSync(file);
    const first = async (): Promise<{ reads: number; value: number }> => {
      const opened = await again(run);
      const reads = countShardReads(opened);
      const [value] = await (await outputColumns(opened, { memory: 0 })).read('logits', { first: 0, end: 1 });
      return { reads: reads(), value: value! };
    };
    expect(await first()).toEqual({ reads: 0, value: 0 });
    fs.truncateSync(file, 100);
    expect(await first()).toEqual({ reads: 3, value: 0 });
    await run.remove(layout.outputColumnsIndex);
    expect(await first()).toEqual({ reads: 3, value: 0 });
    const changed = Buffer.from(whole);
    changed[5]! ^= 1;
    fs.writeFileSync(file, changed);
    await expect(first()).rejects.toMatchObject({ code: 'LETHE_ARTEFACT_DAMAGED' });
    expect(await first()).toEqual({ reads: 3, value: 0 });
    expect(fs.readFileSync(file).equals(whole)).toBe(true);
    await newRun('stale', [0]);
    expect(await first()).toEqual({ reads: 3, value: 10000 });
  });
});

test('a look at a model before it diverged counts, what comes after does not', () => {
  const content = encodeOutputs({
    numPoints: 1,
    numClasses: 2,
    models: Int32Array.of(0, 0, 0, 1, 1, 1),
    snapshots: Int32Array.of(1, 2, 3, 1, 2, 3),
    status: ['diverged', 'diverged', 'diverged', 'trained', 'trained', 'trained'],
    margins: Float32Array.of(5, NaN, 7, 1, 2, NaN),
  });
  const outputs = readOutputs(content);
  expect([0, 1, 2, 3, 4, 5].map((row) => isTrained(outputs, row))).toEqual([true, false, false, true, true, true]);
});
