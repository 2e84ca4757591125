/** Fits of a run on made-up outputs: what they read and open, and that neither memory nor an interruption shows in their bytes. */
import { jest } from '@jest/globals';
import { createHash } from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';
import { generateMasks, unpackMasks } from '../../src/data/masks.js';
import { runStages } from '../../src/jobs/execute.js';
import type { TaskContext } from '../../src/jobs/task.js';
import { nativeAddon } from '../../src/native/addon.js';
import { expandStages } from '../../src/pipeline.js';
import { encodeMasks } from '../../src/store/contents/masksFile.js';
import { encodeOutputs } from '../../src/store/contents/outputs.js';
import { layout } from '../../src/store/folders/layout.js';
import { openRun, type RunFolder } from '../../src/store/folders/run.js';
import type { Dataset, Plan } from '../../src/types.js';
import { samplePlan } from '../helpers/plan.js';
import { temporaryFolder } from '../helpers/temporary.js';

const folder = temporaryFolder();
const [numModels, numTrain, numValidation, numClasses] = [40, 30, 30, 100];
const numPoints = numTrain + numValidation; // 6,000 logits: three blocks
const plan: Plan = {
  ...samplePlan(),
  subsetModels: { count: numModels, subsetFraction: 0.5, modelsPerShard: 16 },
  fit: { ...samplePlan().fit!, select: 'pooled', pathLength: 10, holdoutFraction: 0.25 },
  lds: { heldOutFraction: 0.25, numModels: [20, 30] },
};
const labels = Int32Array.from({ length: numPoints }, (_, point) => (7 * point) % numClasses);
const dataset = { numTrain, numValidation, numClasses, height: 8, width: 8, channels: 1, labels } as Dataset;
const estimators = ['lasso', 'marginal'];

/** Every output depends on two examples; model 5 diverged. */
async function newRun(name: string): Promise<RunFolder> {
  const run = await openRun(path.join(folder, name), { plan });
  const masks = generateMasks({ numModels, numTrain, subsetFraction: 0.5, seed: 1 });
  await run.publish([{ path: layout.masks, content: encodeMasks(masks) }]);
  const dense = unpackMasks(masks);
  const output = (model: number, column: number): number =>
    2 * dense[model * numTrain + (column % numTrain)]! -
    dense[model * numTrain + ((3 * column + 1) % numTrain)]! +
    0.3 * Math.sin(97 * model + 31 * column);
  const rows = (first: number, end: number, width: number): Float32Array =>
    Float32Array.from({ length: (end - first) * width }, (_, at) => output(first + Math.floor(at / width), at % width));
  for (const [shard, first] of [0, 16, 32].entries()) {
    const end = Math.min(first + 16, numModels);
    const models = Int32Array.from({ length: end - first }, (_, row) => first + row);
    const content = encodeOutputs({
      numPoints,
      numClasses,
      models,
      status: Array.from(models, (model) => (model === 5 ? 'diverged' : 'trained')),
      logits: rows(first, end, numPoints * numClasses),
      margins: rows(first, end, numPoints),
    });
    await run.publish([{ path: layout.subsetOutputs(shard), content }]);
  }
  return run;
}

/** The stages between training and unlearning, as a new process would run them. */
async function fit(root: string, memory: number, { stopAfter, device = 'cpu' }: { stopAfter?: string; device?: 'cpu' | 'cuda' } = {}) {
  const run = await openRun(root);
  const read = jest.spyOn(run, 'read');
  const published: string[] = [];
  const controller = new AbortController();
  const publish = run.publish.bind(run);
  jest.spyOn(run, 'publish').mockImplementation(async (artefacts, bytes) => {
    await publish(artefacts, bytes);
    published.push(...artefacts.map((artefact) => artefact.path));
    if (artefacts.some((artefact) => artefact.path === stopAfter)) controller.abort();
  });
  const opened = jest.spyOn(nativeAddon(), 'openDesign');
  const context = { plan, run, dataset, threads: 2, memory, device } as unknown as TaskContext;
  const stages = expandStages(plan, dataset, 10).filter(({ name }) => ['lambda', 'datamodels', 'LDS fits', 'LDS'].includes(name));
  const running = runStages(stages, context, { executor: 'inline', workers: 1, signal: controller.signal });
  const error = await running.then(
    (outcome) => outcome.failed[0],
    (thrown: unknown) => thrown,
  );
  const shards = read.mock.calls.map(([artefact]) => artefact).filter((artefact) => artefact.includes('shard'));
  const designs = opened.mock.calls.length;
  opened.mockRestore();
  return { error, shards, designs, published };
}

const all = [0, 1, 2].map((shard) => layout.subsetOutputs(shard));
const made = [
  ...['logits', 'margins'].map((field) => layout.penalties(field as 'logits')),
  ...[0, 1, 2].map((block) => layout.logitDatamodels(block)),
  layout.marginDatamodels,
  ...estimators.flatMap((estimator) => [20, 30].map((count) => layout.ldsPredictions(estimator, count))),
  layout.ldsScores,
];

function digests(root: string): Record<string, string> {
  const files = fs.readdirSync(root, { recursive: true, encoding: 'utf8' }).filter((file) => fs.statSync(path.join(root, file)).isFile());
  const digest = (file: string): string =>
    createHash('sha256')
      .update(fs.readFileSync(path.join(root, file)))
      .digest('hex');
  return Object.fromEntries(files.sort().map((file) => [file, digest(file)]));
}

test('every shard is read once and all blocks share a design, in memory as through a file, with the same bytes', async () => {
  const [inMemory, inFile] = [await newRun('memory'), await newRun('file')];
  const one = { error: undefined, shards: all, designs: 1 + estimators.length * plan.lds.numModels.length };
  expect(await fit(inMemory.root, Infinity)).toEqual({ ...one, published: made });
  const through = await fit(inFile.root, 0);
  expect(through).toEqual({ ...one, published: [layout.outputColumns, layout.outputColumnsIndex, ...made] });
  expect(digests(inFile.root)).toEqual(digests(inMemory.root));
  expect((await fit(inFile.root, 0)).published).toEqual([]);
});

test('stopped between blocks, a run goes on with the next block and the file that is there, and removes it', async () => {
  const { root } = await newRun('stopped');
  const block = layout.logitDatamodels(1);
  expect((await fit(root, 0, { stopAfter: block })).error).toMatchObject({ code: 'LETHE_RUN_INTERRUPTED' });
  expect(fs.existsSync(path.join(root, layout.outputColumns))).toBe(true);
  const { error, shards, published } = await fit(root, 0);
  expect({ error, shards, published }).toEqual({ error: undefined, shards: [], published: made.slice(made.indexOf(block) + 1) });
  expect(digests(root)).toEqual(digests(path.join(folder, 'memory')));
});

test('fits and scores ask for the GPU of a run, and say where there is none', async () => {
  const [fits, scores] = [await newRun('gpu fits'), await newRun('gpu scores')];
  await fit(scores.root, Infinity);
  await scores.remove(layout.ldsScores);
  for (const { root } of [fits, scores]) {
    const { error } = await fit(root, Infinity, { device: 'cuda' });
    if (nativeAddon().systemInfo().cuda.devices.length > 0) expect(error).toBeUndefined();
    else expect(error).toMatchObject({ code: 'LETHE_GPU_UNAVAILABLE', message: expect.stringContaining('--device cpu') as string });
  }
});
