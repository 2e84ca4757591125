// One large fit as `lethe fit` would do it, on the synthetic problem: time, peak memory, gaps; and what it says about the paper's scale.
// node bench/lasso-large.mjs [--models 8000] [--train 20000] [--targets 4000] [--threads 0] [--out FILE.json]
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { performance } from 'node:perf_hooks';
import { parseArgs } from 'node:util';
import { certify, targetColumn } from '../dist/bench/certificate.js';
import { solutionOf } from '../dist/bench/lassoCase.js';
import { describeMachine, kernelRates } from '../dist/bench/machine.js';
import { syntheticProblem } from '../dist/bench/problem.js';
import { columnsOf, choicesOf, sampleTargets } from '../dist/attributors/pooled.js';
import { openDesign } from '../dist/attributors/registry.js';
import { defaultFitOptions, toDatamodels } from '../dist/datamodels/fit.js';

const { values } = parseArgs({
  options: {
    models: { type: 'string', default: '8000' },
    train: { type: 'string', default: '20000' },
    targets: { type: 'string', default: '4000' },
    threads: { type: 'string', default: '0' },
    out: { type: 'string' },
  },
});
const [numModels, numTrain, numTargets, threads] = [values.models, values.train, values.targets, values.threads].map(Number);
if (![numModels, numTrain, numTargets].every((size) => Number.isInteger(size) && size >= 20) || !Number.isInteger(threads)) {
  console.error('usage: node bench/lasso-large.mjs [--models 8000] [--train 20000] [--targets 4000] [--threads 0] [--out FILE.json]');
  process.exit(2);
}
const paper = { numModels: 20000, numTrain: 50000, numTargets: 60000 };
const checkedTargets = 4;
const say = (line) => console.error(line);

/** Fits a synthetic problem and certifies a few targets from their float32 weights, on all models. */
async function fit(models, train, targets) {
  const generated = performance.now();
  const { masks, outputs } = syntheticProblem(models, train, targets);
  const generateSeconds = (performance.now() - generated) / 1000;
  say(`${models} x ${train} x ${targets}: problem made in ${generateSeconds.toFixed(1)} s`);
  const cpu = process.cpuUsage();
  const started = performance.now();
  let told = started;
  const onProgress = ({ done, total }) => {
    const now = performance.now();
    if (now - told < 10000) return;
    told = now;
    const rate = done / ((now - started) / 1000);
    say(`  ${done} of ${total} targets, ${rate.toFixed(1)} targets/s, ${((total - done) / rate).toFixed(0)} s left`);
  };
  // a sixth of what is free, as lethe fit takes by default
  // without relaxation, since the certificate is that of the Lasso
  const options = { ...defaultFitOptions, relaxation: 0 };
  const design = openDesign(masks, options, { numTargets: targets, gramBytes: os.freemem() / 6, threads });
  const block = { outputs, numTargets: targets, targetsPerRowWeight: 1 };
  const sample = sampleTargets(targets, undefined, options.seed);
  const choices = await design.choose({ ...columnsOf(block, models, sample), sample }, undefined, { threads });
  const fits = await design.fit(block, { threads, onProgress }, choicesOf(choices, undefined, 0, targets));
  const fitted = toDatamodels(fits, targets, train);
  const wallSeconds = (performance.now() - started) / 1000;
  const { user, system } = process.cpuUsage(cpu);
  const rows = Int32Array.from({ length: models }, (_, row) => row);
  let maxCheckedGap = 0;
  for (let target = 0; target < checkedTargets; target++) {
    const { relativeGap } = certify(masks, targetColumn(outputs, targets, target, rows), solutionOf(fitted, target));
    maxCheckedGap = Math.max(maxCheckedGap, relativeGap);
  }
  return {
    numModels: models,
    numTrain: train,
    numTargets: targets,
    gram: design.gram(),
    generateSeconds,
    wallSeconds,
    cpuSeconds: (user + system) / 1e6,
    secondsPerTarget: wallSeconds / targets,
    cpuSecondsPerTarget: (user + system) / 1e6 / targets,
    maxRelativeGap: fitted.gap.reduce((largest, gap) => Math.max(largest, gap), 0),
    maxCheckedGap,
    checkedTargets,
    numConverged: fitted.status.filter((status) => status === 'converged').length,
    meanNonzero: fitted.rowStart[targets] / targets,
    peakMemoryBytes: process.resourceUsage().maxRSS * 1024,
  };
}

/** Core hours of the paper's scale from the growth between the two measured sizes, beside bounds that assume less. */
function estimate(half, full, rates) {
  const growth = full.cpuSecondsPerTarget / half.cpuSecondsPerTarget;
  const exponent = Math.log2(growth);
  const factor = Math.sqrt((paper.numModels * paper.numTrain) / (full.numModels * full.numTrain));
  const coreHours = (power) => (full.cpuSecondsPerTarget * factor ** power * paper.numTargets) / 3600;
  const sweep = rates.find(({ kernel }) => kernel === 'X^T R, 16 bits');
  return {
    ...paper,
    coreHours: coreHours(exponent),
    coreHoursIfProportionalToMN: coreHours(2),
    coreHoursIfProportionalToMNN: coreHours(3),
    coreHoursOfOnePassOverAllTargets: (2 * paper.numModels * paper.numTrain * paper.numTargets) / (sweep.rate * 1e9) / 3600,
    bytes: { bits: (paper.numModels * paper.numTrain) / 8, outputs: 4 * paper.numModels * paper.numTargets },
    measured: { growthWhenBothDouble: growth, exponent, passRate: sweep },
    assumptions: [
      "CPU seconds a target grow from this fit to the paper's scale by the power of the common factor of m and n that was measured between " +
        'half and full size here: coreHours. The other two lines assume growth with m n (passes X^T R dominate) and with m n^2 (Gram entries of a ' +
        'working set proportional to n dominate).',
      'Targets are as sparse as the synthetic ones: n / 20 true weights of falling size, noise as strong as the signal. Real margins may differ.',
      "Set-up is part of the seconds a target of both measured fits; at the paper's scale it is shared by many more targets.",
      'A table of all Gram counts no longer fits there: entries are counted from the bits, whose cost the growth only partly shows.',
      'Cores scale linearly: divide coreHours by their number. Memory bandwidth of many cores is not modelled.',
    ],
  };
}

const machine = await describeMachine([]);
const rates = await kernelRates([machine.isa]);
// an eighth of the work, and enough targets to keep every core busy
const half = await fit(numModels >> 1, numTrain >> 1, Math.max(numTargets >> 3, 20));
const full = await fit(numModels, numTrain, numTargets);
const document = { document: 'lethe.bench-lasso-large', version: 1, machine, threads, full, half, paperScale: estimate(half, full, rates) };
if (values.out) {
  fs.mkdirSync(path.dirname(path.resolve(values.out)), { recursive: true });
  fs.writeFileSync(values.out, `${JSON.stringify(document, null, 1)}\n`);
}
console.log(JSON.stringify(document, null, 1));
