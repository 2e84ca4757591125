import fs from 'node:fs';
import path from 'node:path';
import { layout } from '../../../src/store/folders/layout.js';
import { readOutputColumns } from '../../../src/store/folders/outputColumns.js';
import { encodeOutputs, isTrained, readOutputs } from '../../../src/store/contents/outputs.js';
import { openRun } from '../../../src/store/folders/run.js';
import { samplePlan } from '../../helpers/plan.js';
import { temporaryFolder } from '../../helpers/temporary.js';

const [points, classes] = [3, 2];
const logit = (model: number, column: number): number => 100 * model + column;
const margin = (model: number, point: number): number => -100 * model - point;

/** Shards of 2, 0 and 3 models; the last in record batches of one row. */
async function run() {
  const folder = await openRun(temporary, { plan: samplePlan() });
  for (const [shard, models] of [[0, 1], [], [2, 3, 4]].entries()) {
    const content = encodeOutputs(
      {
        numPoints: points,
        numClasses: classes,
        models: Int32Array.from(models),
        status: models.map(() => 'trained' as const),
        logits: Float32Array.from(models.flatMap((model) => Array.from({ length: points * classes }, (_, column) => logit(model, column)))),
        margins: Float32Array.from(models.flatMap((model) => Array.from({ length: points }, (_, point) => margin(model, point)))),
      },
      shard === 2 ? 1 : undefined,
    );
    await folder.publish([{ path: layout.subsetOutputs(shard), content }]);
  }
  return folder;
}

const temporary = temporaryFolder();

test('columns of all shards are stacked in the order asked for', async () => {
  const folder = await run();
  const expected = (models: number[], columns: number[], value: typeof logit): Float32Array =>
    Float32Array.from(models.flatMap((model) => columns.map((column) => value(model, column))));
  const values = async (shards: number[], field: 'logits' | 'margins', columns: Parameters<typeof readOutputColumns>[3]) =>
    (await readOutputColumns(folder, shards, field, columns)).values;
  expect(await values([0, 1, 2], 'logits', { first: 1, end: 4 })).toEqual(expected([0, 1, 2, 3, 4], [1, 2, 3], logit));
  expect(await values([2, 0], 'margins', { first: 2, end: 3 })).toEqual(expected([2, 3, 4, 0, 1], [2], margin));
  expect(await values([0, 2], 'logits', { first: 0, end: 6 })).toEqual(expected([0, 1, 2, 3, 4], [0, 1, 2, 3, 4, 5], logit));
  expect(await values([0, 2], 'logits', Int32Array.of(5, 1))).toEqual(expected([0, 1, 2, 3, 4], [5, 1], logit));
  expect(await readOutputColumns(folder, [], 'margins', { first: 0, end: 3 })).toEqual({
    values: new Float32Array(0),
    trained: new Int32Array(0),
    numModels: 0,
  });
  await expect(readOutputColumns(folder, [3], 'margins', { first: 0, end: 1 })).rejects.toMatchObject({ code: 'LETHE_ARTEFACT_MISSING' });
  fs.truncateSync(path.join(folder.root, layout.subsetOutputs(2)), 40);
  await expect(readOutputColumns(folder, [0, 2], 'margins', { first: 0, end: 1 })).rejects.toMatchObject({
    code: 'LETHE_ARTEFACT_DAMAGED',
  });
});

test('models that diverged are left out, and the others keep their numbers', async () => {
  const folder = await openRun(path.join(temporary, 'diverged'), { plan: samplePlan() });
  for (const [shard, models] of [
    [0, 1, 2],
    [3, 4],
  ].entries()) {
    const content = encodeOutputs({
      numPoints: points,
      numClasses: classes,
      models: Int32Array.from(models),
      status: models.map((model) => (model === 1 || model === 4 ? 'diverged' : 'trained')),
      margins: Float32Array.from(models.flatMap((model) => Array.from({ length: points }, (_, point) => margin(model, point)))),
    });
    await folder.publish([{ path: layout.subsetOutputs(shard), content }]);
  }
  const columns = await readOutputColumns(folder, [0, 1], 'margins', { first: 1, end: 3 });
  expect(columns).toEqual({
    values: Float32Array.from([0, 2, 3].flatMap((model) => [margin(model, 1), margin(model, 2)])),
    trained: Int32Array.of(0, 2, 3),
    numModels: 5,
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
