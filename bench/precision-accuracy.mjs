// Does bf16 cost accuracy? ResNet-9 at an eighth of its width on real CIFAR-10, trained from the same seeds in both precisions.
//   npm run build && LETHE_DATA=DIR node bench/precision-accuracy.mjs FILE.json [seeds 12] [epochs 24]
// Seeds are paired: both precisions start from the same parameters and see the same batches. Single thread a model, all allowed processors.
import fs from 'node:fs';
import os from 'node:os';
import { loadDataset, resolveDataDirectory } from '../dist/data/registry.js';
import { NativeEngine } from '../dist/engines/native.js';
import { buildNet } from '../dist/models/index.js';
import { range, trainingJob } from '../dist/train/jobs.js';

const [file, seeds = '12', epochs = '24'] = process.argv.slice(2);
const directory = resolveDataDirectory(undefined);
if (!file || directory === undefined) {
  console.error('usage: LETHE_DATA=DIR node bench/precision-accuracy.mjs FILE.json [seeds] [epochs]');
  process.exit(2);
}
const dataset = await loadDataset({ name: 'cifar10', trainPerClass: 0, validationPerClass: 0 }, { directory, note: console.error });
const { height, width, channels, numClasses, numTrain, numValidation } = dataset;
const net = buildNet({ name: 'resnet9', width: 8, input: { height, width, channels }, numClasses });
const recipe = {
  epochs: Number(epochs),
  batchSize: 128,
  optimizer: { kind: 'sgd', momentum: 0.9, weightDecay: 5e-4 },
  schedule: { kind: 'triangle', learningRate: 0.2, peakEpoch: Number(epochs) * (5 / 24) },
  labelSmoothing: 0,
};
const evalPoints = range(numValidation).map((point) => numTrain + point);

function accuracyOf(logits) {
  let right = 0;
  for (let i = 0; i < numValidation; i++) {
    const row = logits.subarray(i * numClasses, (i + 1) * numClasses);
    if (row.indexOf(Math.max(...row)) === dataset.labels[numTrain + i]) right++;
  }
  return right / numValidation;
}

const mean = (values) => values.reduce((sum, value) => sum + value, 0) / values.length;
const standardError = (values) =>
  Math.sqrt(values.reduce((sum, v) => sum + (v - mean(values)) ** 2, 0) / (values.length - 1) / values.length);

const results = {};
for (const precision of ['fp32', 'bf16']) {
  const engine = new NativeEngine({ precision });
  const jobs = Array.from({ length: Number(seeds) }, (_, model) => trainingJob(recipe, 0, model, range(numTrain)));
  const outputs = { evalPoints, evalEpochs: [recipe.epochs], parameters: false };
  const trained = await engine.trainMany(net, dataset, jobs, outputs);
  console.error(`${precision}: ${seeds} models trained`);
  const accuracy = trained.map(({ logits }) => accuracyOf(logits));
  const loss = trained.map((result) => result.loss);
  results[precision] = {
    engine: engine.describe(),
    accuracy,
    meanAccuracy: mean(accuracy),
    standardError: standardError(accuracy),
    meanTrainLoss: mean(loss),
    diverged: trained.filter(({ status }) => status === 'diverged').length,
    imagesPerSecondAndCore: mean(trained.map(({ gradientImages, elapsedMs }) => (1000 * gradientImages) / elapsedMs)),
  };
}
const paired = results.bf16.accuracy.map((value, i) => value - results.fp32.accuracy[i]);
const document = {
  document: 'lethe.precision-accuracy',
  version: 1,
  machine: { cpu: os.cpus()[0].model, platform: `${os.platform()} ${os.arch()}`, node: process.version },
  dataset: { name: dataset.name, description: dataset.description, sha256: dataset.sha256, numTrain, numValidation },
  net: net.name,
  recipe,
  seeds: Number(seeds),
  results,
  difference: { bf16MinusFp32: mean(paired), standardErrorOfPairs: standardError(paired) },
};
fs.writeFileSync(file, `${JSON.stringify(document, null, 2)}\n`);
for (const [precision, { meanAccuracy, standardError: error }] of Object.entries(results)) {
  console.log(`${precision}: validation accuracy ${(100 * meanAccuracy).toFixed(2)} % +- ${(100 * error).toFixed(2)} % (standard error)`);
}
console.log(`bf16 - fp32: ${(100 * mean(paired)).toFixed(2)} +- ${(100 * standardError(paired)).toFixed(2)} points, ${seeds} seeds`);
