/**
 * What a run's fit stage reads, takes and holds: made-up outputs of many subset models, fitted in blocks of targets by an estimator that
 * takes next to no time, so that what is left is the reading. Prints a line of JSON: bytes of the outputs and bytes read, seconds of wall
 * and processor, peak memory in bytes. --memory 0 lays the outputs by columns in a file.
 *
 * node bench/fit-blocks.mjs [--models 2000] [--points 20000] [--classes 10] [--shard 250] [--train 2000] [--memory BYTES] [--dir DIR] [--keep]
 */
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { performance } from 'node:perf_hooks';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { fitStage } from '../dist/datamodels/tasks.js';
import { generateMasks, loadPlan, runStages } from '../dist/index.js';
import { encodeMasks } from '../dist/store/contents/masksFile.js';
import { encodeOutputs } from '../dist/store/contents/outputs.js';
import { layout } from '../dist/store/folders/layout.js';
import { openRun } from '../dist/store/folders/run.js';

const number = (fallback) => ({ type: 'string', default: String(fallback) });
const { values } = parseArgs({
  options: {
    models: number(2000),
    points: number(20000),
    classes: number(10),
    shard: number(250),
    train: number(2000),
    memory: { type: 'string' },
    dir: { type: 'string', default: path.join(os.tmpdir(), 'lethe-fit-blocks') },
    keep: { type: 'boolean', default: false },
    measure: { type: 'boolean', default: false },
  },
});
const [models, points, classes, shard, train] = ['models', 'points', 'classes', 'shard', 'train'].map((name) => Number(values[name]));
const sizes = { numTrain: train, numPoints: points, numClasses: classes };

const planFile = `${values.dir}.json`;
fs.mkdirSync(path.dirname(planFile), { recursive: true });
fs.writeFileSync(
  planFile,
  JSON.stringify({
    name: 'fit-blocks',
    data: { name: 'synthetic' },
    net: { name: 'smallcnn', width: 1 },
    recipe: { epochs: 1, batchSize: 8, schedule: { kind: 'constant', learningRate: 0.1 } },
    subsetModels: { count: models, modelsPerShard: shard },
    originals: { count: 1 },
    oracles: { scored: 1, matched: 1 },
    fit: { estimator: 'marginal', select: 'none', lambdaRatio: 0.5 },
    lds: { numModels: [] },
    forgetSets: [{ name: 'random-4', kind: 'random', size: 4, seed: 1 }],
    methods: [{ method: 'do-nothing' }],
  }),
);
const plan = await loadPlan(planFile);

async function makeRun() {
  const run = await openRun(values.dir, { plan });
  const masks = generateMasks({ numModels: models, numTrain: train, subsetFraction: 0.5, seed: 0 });
  await run.publish([{ path: layout.masks, content: encodeMasks(masks) }]);
  const noise = Float32Array.from({ length: 2 ** 20 }, () => Math.random() + Math.random() + Math.random() - 1.5);
  const fill = (length, salt) => {
    const filled = new Float32Array(length);
    for (let at = 0; at < length; at += noise.length - 7919) {
      const from = (salt * 104729 + at) % 7919;
      filled.set(noise.subarray(from, Math.min(from + noise.length - 7919, from + length - at)), at);
    }
    return filled;
  };
  for (let first = 0; first < models; first += shard) {
    const rows = Math.min(shard, models - first);
    const content = encodeOutputs({
      numPoints: points,
      numClasses: classes,
      models: Int32Array.from({ length: rows }, (_, row) => first + row),
      status: Array(rows).fill('trained'),
      logits: fill(rows * points * classes, first),
      margins: fill(rows * points, first + 1),
    });
    await run.publish([{ path: layout.subsetOutputs(first / shard), content }]);
  }
}

/** Characters read by this process, from the page cache or the disk. */
const bytesRead = () => Number(/rchar: (\d+)/.exec(fs.readFileSync('/proc/self/io', 'utf8'))[1]);

async function measure() {
  const run = await openRun(values.dir);
  const labels = Int32Array.from({ length: points }, (_, point) => point % classes);
  const dataset = { numTrain: train, numValidation: points - train, numClasses: classes, labels };
  const memory = values.memory === undefined ? {} : { memory: Number(values.memory) };
  const before = bytesRead();
  const started = performance.now();
  const context = { plan, run, dataset, threads: 0, ...memory };
  const { failed, tasksRun } = await runStages([fitStage(plan, sizes)], context, { executor: 'inline', workers: 1 });
  if (failed.length > 0) throw new Error(failed[0].message);
  const outputs = 4 * models * points * (classes + 1);
  const { maxRSS, userCPUTime, systemCPUTime } = process.resourceUsage();
  const [seconds, cpuSeconds] = [(performance.now() - started) / 1000, (userCPUTime + systemCPUTime) / 1e6];
  console.log(JSON.stringify({ outputs, bytesRead: bytesRead() - before, tasksRun, seconds, cpuSeconds, peak: 1024 * maxRSS }));
}

if (values.measure) await measure();
else {
  fs.rmSync(path.join(values.dir, 'datamodels'), { recursive: true, force: true });
  fs.rmSync(path.join(values.dir, 'manifest', 'datamodels'), { recursive: true, force: true });
  if (!values.keep || !fs.existsSync(values.dir)) await makeRun();
  const child = spawnSync(process.execPath, [fileURLToPath(import.meta.url), ...process.argv.slice(2), '--measure'], { stdio: 'inherit' });
  process.exitCode = child.status;
  if (!values.keep) fs.rmSync(values.dir, { recursive: true, force: true });
}
