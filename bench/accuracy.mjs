// Accuracy of full training runs beside PyTorch's, the same recipe and images, several seeds each; resumable by seed.
// node bench/accuracy.mjs --data DIR --out FILE.json [--width 8] [--seeds 8] [--batch 128] [--learning-rate 0.1] [--epochs 24]
//   [--sides native-fp32,torch-fp32] [--python python3]
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { describeMachine } from '../dist/bench/machine.js';
import { defaultInterpreters } from '../dist/bench/peers.js';
import { runChild } from '../dist/bench/process.js';
import { loadDataset } from '../dist/data/registry.js';
import { NativeEngine } from '../dist/engines/native.js';
import { buildNet } from '../dist/models/index.js';
import { writeNpy } from '../dist/store/formats/npy.js';
import { range, trainingJob } from '../dist/train/jobs.js';

const { values } = parseArgs({
  options: {
    data: { type: 'string', default: process.env.LETHE_DATA },
    out: { type: 'string' },
    width: { type: 'string', default: '8' },
    seeds: { type: 'string', default: '8' },
    batch: { type: 'string', default: '128' },
    'learning-rate': { type: 'string', default: '0.1' },
    epochs: { type: 'string', default: '24' },
    python: { type: 'string', default: defaultInterpreters.python },
    sides: { type: 'string', default: 'native-fp32,torch-fp32' },
  },
});
if (!values.out || !values.data) {
  console.error(
    'usage: node bench/accuracy.mjs --data DIR --out FILE.json [--width 8] [--seeds 8] [--batch 128] [--sides native-fp32,torch-fp32] [--python PATH]',
  );
  process.exit(2);
}
const script = path.join(path.dirname(fileURLToPath(import.meta.url)), 'peers', 'accuracy_torch.py');
const epochs = Number(values.epochs);
const recipe = {
  epochs,
  batchSize: Number(values.batch),
  optimizer: { kind: 'sgd', momentum: 0.9, weightDecay: 5e-4 },
  schedule: { kind: 'triangle', learningRate: Number(values['learning-rate']), peakEpoch: (5 * epochs) / 24 },
  labelSmoothing: 0,
};
const width = Number(values.width);
const dataset = await loadDataset({ name: 'cifar10', trainPerClass: 0, validationPerClass: 0 }, { directory: values.data });
const { height, width: columns, channels, numClasses, numTrain, numValidation, labels, mean, std } = dataset;
const net = buildNet({ name: 'resnet9', width, input: { height, width: columns, channels }, numClasses });
const testPoints = range(numValidation).map((i) => numTrain + i);

function share(logits) {
  const right = testPoints.filter((point, row) => {
    const scores = logits.subarray(row * numClasses, (row + 1) * numClasses);
    return scores.indexOf(Math.max(...scores)) === labels[point];
  });
  return right.length / testPoints.length;
}

async function trainNative(precision, seed) {
  const engine = new NativeEngine({ threads: 1, precision });
  const cpu = process.cpuUsage();
  const job = trainingJob(recipe, seed, 0, range(numTrain));
  const outputs = { evalPoints: testPoints, evalEpochs: [epochs], parameters: false };
  const [{ logits, loss, status }] = await engine.trainMany(net, dataset, [job], outputs);
  const { user, system } = process.cpuUsage(cpu);
  const { isa } = engine.describe();
  return { accuracy: share(logits), loss, status, cpuSeconds: (user + system) / 1e6, version: `Lethe, ${isa}` };
}

async function trainTorch(precision, seed) {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'lethe-accuracy-'));
  try {
    await writeNpy(path.join(folder, 'pixels.npy'), [labels.length, height, columns, channels], dataset.pixels);
    await writeNpy(path.join(folder, 'labels.npy'), [labels.length], labels);
    const request = { numTrain, mean, std, width, precision, seed, recipe };
    fs.writeFileSync(path.join(folder, 'request.json'), JSON.stringify(request));
    return JSON.parse(await runChild(values.python, [script, '--folder', folder], { cores: [] }));
  } finally {
    fs.rmSync(folder, { recursive: true });
  }
}

const sides = { native: trainNative, torch: trainTorch };

// ---------------------------------------------------------------- the file: runs are kept, summaries are made anew

function readRuns() {
  return fs.existsSync(values.out) ? JSON.parse(fs.readFileSync(values.out, 'utf8')).runs : [];
}

const keyOf = (run) => JSON.stringify([run.net, run.side, run.seed, run.recipe]);
const groupOf = (run) => JSON.stringify([run.net, run.recipe]);

function moments(accuracies) {
  const n = accuracies.length;
  const average = accuracies.reduce((sum, value) => sum + value, 0) / n;
  const variance = accuracies.reduce((sum, value) => sum + (value - average) ** 2, 0) / (n - 1);
  return { n, mean: average, standardDeviation: Math.sqrt(variance), standardError: Math.sqrt(variance / n) };
}

/** Every side beside torch-fp32 of the same network and recipe; z: difference in its standard errors. */
function summarise(runs) {
  return [...new Set(runs.map(groupOf))].flatMap((group) => {
    const members = runs.filter((run) => groupOf(run) === group);
    const accuraciesOf = (side) => members.filter((run) => run.side === side).map(({ accuracy }) => accuracy);
    const peer = moments(accuraciesOf('torch-fp32'));
    return [...new Set(members.map(({ side }) => side))].map((side) => {
      const own = moments(accuraciesOf(side));
      const difference = own.mean - peer.mean;
      const standardError = Math.hypot(own.standardError, peer.standardError);
      const beside = side === 'torch-fp32' ? {} : { difference, differenceStandardError: standardError, z: difference / standardError };
      return { net: members[0].net, batchSize: members[0].recipe.batchSize, side, ...own, ...beside };
    });
  });
}

function save(runs, machine) {
  const description = `${dataset.description}; ${numTrain} train and ${numValidation} test images`;
  const document = { document: 'lethe.bench-accuracy', version: 1, machine, dataset: description, summary: summarise(runs), runs };
  fs.mkdirSync(path.dirname(path.resolve(values.out)), { recursive: true });
  fs.writeFileSync(`${values.out}.tmp`, `${JSON.stringify(document, null, 1)}\n`);
  fs.renameSync(`${values.out}.tmp`, values.out);
}

const machine = await describeMachine([]);
for (let seed = 0; seed < Number(values.seeds); seed++) {
  for (const side of values.sides.split(',')) {
    const [name, precision] = side.split('-');
    const run = { net: net.name, side, seed, recipe };
    if (readRuns().some((done) => keyOf(done) === keyOf(run))) continue;
    const result = await sides[name](precision, seed);
    // read again: other processes may have added theirs meanwhile
    save([...readRuns(), { ...run, ...result }], machine);
    console.error(`${net.name}, ${side}, seed ${seed}: accuracy ${result.accuracy.toFixed(4)}, ${result.cpuSeconds.toFixed(0)} s`);
  }
}
console.log(JSON.stringify(summarise(readRuns()), null, 1));
