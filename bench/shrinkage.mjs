// What shrinkage does to DM-Direct: weights at one lambda / lambda_max for all targets, the Lasso's and those of least squares on its support.
// node bench/shrinkage.mjs RUN [--points 150] [--out FILE.json]; RUN: a finished run with originals, oracles and logits of subset models.
import fs from 'node:fs';
import { parseArgs } from 'node:util';
import { describeMachine } from '../dist/bench/machine.js';
import { viewRun } from '../dist/commands/session.js';
import { splitPoints } from '../dist/data/indices.js';
import { defaultFitOptions, fitDatamodels } from '../dist/datamodels/fit.js';
import { percentile } from '../dist/evaluate/percentile.js';
import { shardRanges } from '../dist/jobs/shards.js';
import { nativeMargins } from '../dist/native/margins.js';
import { readMasks } from '../dist/store/contents/masksFile.js';
import { decodeIndices } from '../dist/store/contents/npyArtefact.js';
import { isTrained, readOutputs } from '../dist/store/contents/outputs.js';
import { layout } from '../dist/store/folders/layout.js';
import { forgetShift } from '../dist/unlearn/index.js';
import { selectRows } from '../dist/data/masks.js';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { points: { type: 'string', default: '150' }, out: { type: 'string' } },
});
const { plan, run, dataset } = await viewRun(positionals[0]);
const { numClasses, labels } = dataset;
const perShard = plan.subsetModels.modelsPerShard;
const mean = (list) => list.reduce((sum, value) => sum + value, 0) / list.length;

/** Logits of some points, (points * classes) a model, of the trained models of a group at the end of their recipe; and which these are. */
async function logitsOf(pathOf, count, points) {
  const rows = [];
  const models = [];
  for (const { shard } of shardRanges(count, perShard)) {
    const outputs = readOutputs(await run.read(pathOf(shard)));
    for (let row = 0; row < outputs.numRows; row++) {
      if (!isTrained(outputs, row) || (outputs.snapshots && outputs.snapshots[row] !== plan.recipe.epochs)) continue;
      const logits = outputs.logits.row(row);
      rows.push(Float32Array.from(points.flatMap((point) => [...logits.subarray(point * numClasses, (point + 1) * numClasses)])));
      models.push(outputs.models[row]);
    }
  }
  return { rows, models };
}

async function marginMoments(rows, points) {
  const logits = new Float32Array(rows.length * points.length * numClasses);
  rows.forEach((row, k) => logits.set(row, k * row.length));
  const { margins } = await nativeMargins({ logits, labels: Int32Array.from(points, (point) => labels[point]), numClasses });
  return points.map((_, p) => {
    const column = rows.map((__, k) => margins[k * points.length + p]);
    const centre = mean(column);
    return { mean: centre, variance: mean(column.map((value) => (value - centre) ** 2)) };
  });
}

/** KL of two normal distributions, nats. */
function divergence(a, b) {
  return (Math.log(b.variance / a.variance) + (a.variance + (a.mean - b.mean) ** 2) / b.variance - 1) / 2;
}

const results = [];
for (const { name } of plan.forgetSets) {
  const forget = decodeIndices(await run.read(layout.forgetSet(name)));
  const splits = splitPoints(dataset, forget);
  const chosen = Object.entries(splits).map(([split, all]) => {
    const step = split === 'forget' ? 1 : Math.max(1, Math.floor(all.length / Number(values.points)));
    return [split, [...all].filter((_, k) => k % step === 0)];
  });
  const points = chosen.flatMap(([, own]) => own);
  const numTargets = points.length * numClasses;
  const subset = await logitsOf(layout.subsetOutputs, plan.subsetModels.count, points);
  const masks = selectRows(readMasks(await run.read(layout.masks)), subset.models);
  const outputs = new Float32Array(subset.rows.length * numTargets);
  subset.rows.forEach((row, k) => outputs.set(row, k * numTargets));
  const originals = await logitsOf(layout.originals, plan.originals.count, points);
  const scored = await logitsOf((shard) => layout.oracles(name, 'scored', shard), plan.oracles.scored, points);
  const matched = await logitsOf((shard) => layout.oracles(name, 'matched', shard), plan.oracles.matched, points);
  const oracle = await marginMoments(scored.rows, points);
  const change = Float64Array.from(
    { length: numTargets },
    (_, t) => mean(originals.rows.map((row) => row[t])) - mean(matched.rows.map((row) => row[t])),
  );
  const scores = async (rows) => {
    const unlearned = await marginMoments(rows, points);
    const each = points.map((_, p) => divergence(unlearned[p], oracle[p]));
    let from = 0;
    return Object.fromEntries(
      chosen.map(([split, own]) => {
        const part = Float64Array.from(each.slice(from, (from += own.length))).sort();
        return [split, { mean: mean([...part]), p95: percentile(part, 95) }];
      }),
    );
  };
  const add = (weights, result) => {
    results.push({ forgetSet: name, ...weights, ...result });
    console.error(name, JSON.stringify(results.at(-1)));
  };
  add({ weights: 'retrained' }, { splits: await scores(matched.rows) });
  for (const lambdaRatio of [0.135, 0.2, 0.28, 0.36, 0.45]) {
    for (const relaxation of [0, 0.5, 1]) {
      const fitted = await fitDatamodels({ masks, outputs, numTargets }, { ...defaultFitOptions, select: 'none', lambdaRatio, relaxation });
      const shift = forgetShift({ datamodels: fitted, numClasses, forget }).full;
      let [product, square] = [0, 0];
      chosen[0][1].forEach((point, p) => {
        const own = p * numClasses + labels[point];
        product += shift[own] * change[own];
        square += shift[own] ** 2;
      });
      const direct = originals.rows.map((row) => row.map((logit, t) => logit - shift[t]));
      const numWeights = fitted.weights.length / numTargets;
      add(
        { weights: 'datamodels', lambdaRatio, relaxation },
        { numWeights, ownClassScale: product / square, splits: await scores(direct) },
      );
    }
  }
}
const report = { document: 'lethe.bench-shrinkage', version: 1, machine: await describeMachine([]), plan: plan.name, results };
const text = `${JSON.stringify(report, undefined, 1)}\n`;
if (values.out === undefined) process.stdout.write(text);
else fs.writeFileSync(values.out, text);
