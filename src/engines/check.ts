/** What every engine checks before work starts, so that a wrong job fails at once, in words, and before its neighbours have run. */
import { LetheError } from '../errors.js';
import type { Dataset, NetSpec, Pass, PassTerm, TrainJob, TrainOutputs } from '../types.js';

type Code = 'LETHE_JOB_INVALID' | 'LETHE_DATASET_INVALID';

function check(holds: boolean, code: Code, where: string, expected: string, received: string | number): void {
  if (!holds) throw new LetheError(code, where, { expected, received: String(received) });
}

/** @throws LETHE_DATASET_INVALID when images or labels do not fit the network. */
export function checkDataset(net: NetSpec, dataset: Dataset): void {
  const { height, width, channels, labels } = dataset;
  const where = `data set "${dataset.name}" for network "${net.name}"`;
  const wanted = net.input;
  const fits = height === wanted.height && width === wanted.width && channels === wanted.channels;
  check(
    fits,
    'LETHE_DATASET_INVALID',
    where,
    `images of ${wanted.height} x ${wanted.width} x ${wanted.channels}`,
    `${height} x ${width} x ${channels}`,
  );
  const numPoints = dataset.numTrain + dataset.numValidation;
  const numPixels = numPoints * height * width * channels;
  check(dataset.pixels.length === numPixels, 'LETHE_DATASET_INVALID', `${where}, pixels`, `${numPixels} bytes`, dataset.pixels.length);
  check(labels.length === numPoints, 'LETHE_DATASET_INVALID', `${where}, labels`, `${numPoints} labels`, labels.length);
  const numbers = dataset.mean.length === channels && dataset.std.length === channels && dataset.std.every((value) => value > 0);
  check(
    numbers,
    'LETHE_DATASET_INVALID',
    `${where}, mean and std`,
    `${channels} values each, std > 0`,
    `${dataset.mean.length} and [${dataset.std.join(', ')}]`,
  );
  const wrong = labels.findIndex((label) => label < 0 || label >= net.numClasses);
  check(
    wrong < 0,
    'LETHE_DATASET_INVALID',
    `${where}, label of point ${wrong}`,
    `a class in 0..${net.numClasses - 1}`,
    labels[wrong] ?? '',
  );
}

/** @throws LETHE_JOB_INVALID for a point outside the data set. */
export function checkPoints(where: string, points: Int32Array, dataset: Dataset): void {
  const numPoints = dataset.numTrain + dataset.numValidation;
  const wrong = points.findIndex((point) => point < 0 || point >= numPoints);
  check(wrong < 0, 'LETHE_JOB_INVALID', `${where}, position ${wrong}`, `a point in 0..${numPoints - 1}`, points[wrong] ?? '');
}

/** @throws LETHE_JOB_INVALID naming the model, pass and term at fault. */
export function checkJobs(net: NetSpec, dataset: Dataset, jobs: TrainJob[], outputs: TrainOutputs, numParameters: number): void {
  for (const job of jobs) {
    const where = `job of model ${job.modelIndex}`;
    check(
      isCount(job.modelIndex) && isCount(job.seed) && isCount(job.epochs),
      'LETHE_JOB_INVALID',
      where,
      'modelIndex, seed and epochs to be integers >= 0',
      `${job.modelIndex}, ${job.seed}, ${job.epochs}`,
    );
    const initial = job.initialParameters?.length ?? numParameters;
    check(initial === numParameters, 'LETHE_JOB_INVALID', `${where}, initialParameters`, `${numParameters} values`, initial);
    checkEvalEpochs(where, job, outputs.evalEpochs);
    checkNumbers(where, job);
    job.passes.forEach((pass, p) => {
      checkPass(`${where}, pass ${p}`, net, dataset, pass);
    });
  }
}

function isCount(value: number): boolean {
  return Number.isSafeInteger(value) && value >= 0;
}

function checkEvalEpochs(where: string, job: TrainJob, epochs: number[]): void {
  const ascending = epochs.every((epoch, i) => isCount(epoch) && epoch <= job.epochs && (i === 0 || epoch > epochs[i - 1]!));
  const complete = epochs.length === 0 || epochs.at(-1) === job.epochs;
  check(
    ascending && complete,
    'LETHE_JOB_INVALID',
    `${where}, evalEpochs`,
    `ascending epoch counts in 0..${job.epochs} that end with ${job.epochs}`,
    `[${epochs.join(', ')}]`,
  );
}

function checkNumbers(where: string, { optimizer, schedule }: TrainJob): void {
  for (const [part, values] of [
    ['optimizer', optimizer],
    ['schedule', schedule],
  ] as const) {
    for (const [name, value] of Object.entries(values)) {
      const bad = typeof value === 'number' && !Number.isFinite(value);
      check(!bad, 'LETHE_JOB_INVALID', `${where}, ${part}.${name}`, 'a finite number', String(value));
    }
  }
}

function checkPass(where: string, net: NetSpec, dataset: Dataset, pass: Pass): void {
  check(pass.terms.length > 0, 'LETHE_JOB_INVALID', where, 'at least one term', 0);
  const padding = pass.augment?.cropPadding ?? 0;
  check(isCount(padding) && padding <= 65536, 'LETHE_JOB_INVALID', `${where}, augment.cropPadding`, 'an integer from 0 to 65536', padding);
  pass.terms.forEach((term, t) => {
    checkTerm(`${where}, term ${t}`, net, dataset, term);
  });
}

function checkTerm(where: string, net: NetSpec, dataset: Dataset, term: PassTerm): void {
  const { indices, targets, objective, alwaysIncluded = 0 } = term;
  check(indices.length > 0, 'LETHE_JOB_INVALID', where, 'at least one index', 0);
  checkPoints(`${where}, indices`, indices, dataset);
  check(isCount(term.batchSize) && term.batchSize > 0, 'LETHE_JOB_INVALID', `${where}, batchSize`, 'an integer >= 1', term.batchSize);
  const perEpoch = term.samplePerEpoch === undefined ? indices.length : alwaysIncluded + term.samplePerEpoch;
  check(
    isCount(perEpoch) && perEpoch > 0 && perEpoch <= indices.length,
    'LETHE_JOB_INVALID',
    `${where}, alwaysIncluded + samplePerEpoch`,
    `1..${indices.length}, the number of indices`,
    perEpoch,
  );
  const needsTargets = (objective.matchLogits ?? 0) !== 0 || (objective.distill ?? 0) !== 0;
  const numTargets = targets?.length ?? (needsTargets ? 0 : indices.length * net.numClasses);
  check(
    numTargets === indices.length * net.numClasses,
    'LETHE_JOB_INVALID',
    `${where}, targets`,
    `${indices.length} x ${net.numClasses} values, a row for each index`,
    `${numTargets} values`,
  );
  check((objective.temperature ?? 1) > 0, 'LETHE_JOB_INVALID', `${where}, temperature`, 'a number > 0', objective.temperature ?? 1);
}

/** @throws LETHE_JOB_INVALID when a model has another number of parameters than the network. */
export function checkParameters(net: NetSpec, parameters: Float32Array[], numParameters: number): void {
  parameters.forEach((values, model) => {
    const expected = `${numParameters} values for network "${net.name}"`;
    check(values.length === numParameters, 'LETHE_JOB_INVALID', `parameters of model ${model}`, expected, values.length);
  });
}
