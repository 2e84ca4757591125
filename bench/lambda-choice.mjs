// How lambda is best chosen: LDS on held-out models for every way of choosing it, on the subset models of a finished run.
// node bench/lambda-choice.mjs RUN [--fitted 400] [--seeds 6] [--out FILE.json]; RUN: lethe run plans/lambda-choice.json --precision fp32
import fs from 'node:fs';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { describeMachine } from '../dist/bench/machine.js';
import { selectRows } from '../dist/data/masks.js';
import { columnsOf, sampleTargets } from '../dist/attributors/pooled.js';
import { openDesign } from '../dist/attributors/registry.js';
import { defaultFitOptions, fitDatamodels } from '../dist/datamodels/fit.js';
import { predict } from '../dist/datamodels/predict.js';
import { lds } from '../dist/evaluate/lds.js';
import { readMasks } from '../dist/store/contents/masksFile.js';
import { readOutputs } from '../dist/store/contents/outputs.js';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { fitted: { type: 'string', default: '400' }, seeds: { type: 'string', default: '6' }, out: { type: 'string' } },
});
const [run] = positionals;
const numFitted = Number(values.fitted);

const masks = readMasks(fs.readFileSync(path.join(run, 'masks.arrow')));
const shards = fs.readdirSync(path.join(run, 'outputs', '00')).filter((name) => name.endsWith('.arrow'));
const margins = shards.sort().flatMap((name) => {
  const outputs = readOutputs(fs.readFileSync(path.join(run, 'outputs', '00', name)), name);
  return Array.from({ length: outputs.numRows }, (_, row) => outputs.margins.row(row).slice());
});
const range = (first, end) => Array.from({ length: end - first }, (_, k) => first + k);
const numHeldOut = margins.length - numFitted;
const fitMasks = selectRows(masks, range(0, numFitted));
const heldOutMasks = selectRows(masks, range(numFitted, margins.length));
/** (models, points) */
const gather = (models, points) => Float32Array.from(models.flatMap((model) => points.map((point) => margins[model][point])));

/** LDS, share of the variance that is explained, and slope of true on predicted outputs, on the models that no fit has seen. */
async function judge(points, options, choices) {
  const numTargets = points.length;
  const fitted = await fitDatamodels(
    { masks: fitMasks, outputs: gather(range(0, numFitted), points), numTargets, ...(choices ? { choices } : {}) },
    { ...defaultFitOptions, ...options },
  );
  const predicted = await predict(fitted, heldOutMasks);
  const actual = gather(range(numFitted, margins.length), points);
  const score = await lds({ predicted, actual, numModels: numHeldOut, numPoints: numTargets });
  let [product, square, errors, spread] = [0, 0, 0, 0];
  for (let target = 0; target < numTargets; target++) {
    const column = (from) => range(0, numHeldOut).map((model) => from[model * numTargets + target]);
    const centred = (column) => column.map((value) => value - column.reduce((sum, other) => sum + other, 0) / column.length);
    const [p, y] = [centred(column(predicted)), centred(column(actual))];
    p.forEach((value, k) => {
      product += value * y[k];
      square += value * value;
      errors += (value - y[k]) ** 2;
      spread += y[k] * y[k];
    });
  }
  return {
    lds: score.mean,
    explained: 1 - errors / spread,
    slope: product / square,
    meanNonzero: fitted.weights.length / numTargets,
    numConverged: fitted.status.filter((status) => status === 'converged').length,
    maxRelativeGap: fitted.gap.reduce((largest, gap) => Math.max(largest, gap), 0),
  };
}

async function pooled(points, options) {
  const outputs = gather(range(0, numFitted), points);
  const sample = sampleTargets(points.length, undefined, options.seed);
  const design = openDesign(fitMasks, { ...defaultFitOptions, ...options }, { numTargets: sample.length });
  const block = columnsOf({ outputs, numTargets: points.length, targetsPerRowWeight: 1 }, numFitted, sample);
  const choices = await design.choose({ ...block, sample }, undefined);
  const [{ lambdaRatio, relaxation }] = choices;
  return { seed: options.seed, lambdaRatio, relaxation, ...(await judge(points, options, choices)) };
}

const results = [];
const numTrain = masks.numTrain;
for (const [kind, points] of [
  ['train', range(0, numTrain)],
  ['validation', range(numTrain, margins[0].length)],
]) {
  const add = (choice, result) => {
    results.push({ points: kind, choice, ...result });
    console.error(kind, choice, JSON.stringify(result));
  };
  for (const seed of range(0, Number(values.seeds))) {
    add('each target, held-out error', { seed, ...(await judge(points, { select: 'holdout', seed })) });
    add('pooled, held-out error', await pooled(points, { criterion: 'error', seed }));
    add('pooled, held-out correlation', await pooled(points, { criterion: 'correlation', seed }));
  }
  for (const lambdaRatio of [0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2]) {
    for (const relaxation of [0, 1]) {
      add('given', { lambdaRatio, relaxation, ...(await judge(points, { select: 'none', lambdaRatio, relaxation })) });
    }
  }
}
const report = { machine: await describeMachine([]), numFitted, numHeldOut, numTrain, numPoints: margins[0].length, results };
const text = `${JSON.stringify(report, undefined, 1)}\n`;
if (values.out === undefined) process.stdout.write(text);
else fs.writeFileSync(values.out, text);
