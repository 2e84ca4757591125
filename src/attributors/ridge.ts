/**
 * Ridge regression on the masks: min over w, b of 1/(2m) ||y - X w - b||^2 + lambda/2 ||w||^2 for all targets on one Gram matrix, over the
 * models or over the examples, whichever are fewer. In double precision. Weights are dense: every example has one.
 */
import { maskIndices } from '../data/masks.js';
import { requireRunning } from '../errors.js';
import type { NativeFits } from '../native/types.js';
import type { FitOptions, Masks, PenaltyChoice, TargetGroups } from '../types.js';
import type { AttributionSource, Attributor, Design, SampleBlock } from './attributor.js';
import { centre, emptyFits, meanMask, refuseRowWeights, statusesOf, tick } from './dense.js';
import { positive, seed } from './options.js';
import { membersOf } from './pooled.js';

export const ridge: Attributor = {
  name: 'ridge',
  title: 'ridge',
  mark: { color: '#cc79a7', shape: 'diamond' },
  description: 'dense ridge regression on one Gram matrix, for up to a few thousand models or examples',
  needs: () => ['subset-outputs'],
  devices: ['cpu'],
  isDense: () => true,
  options: {
    lambdaRatio: positive(
      'lambda as a share of the mean eigenvalue of the Gram matrix / models (default: by generalised cross-validation, for all targets of a group)',
    ),
    seed,
  },
  rules: () => [],
  isPooled: ({ lambdaRatio }) => lambdaRatio === undefined,
  describe: ({ lambdaRatio }) =>
    lambdaRatio === undefined
      ? 'ridge, lambda of a kind of target by generalised cross-validation'
      : `ridge, lambda ${lambdaRatio as number} of the mean eigenvalue`,
  cost: (_, numModels) => (numModels / 250) ** 2,
  open: openRidge,
};

/** Shares of the mean eigenvalue: at the first, weights are a hundredth of what they could be. */
const candidates = Array.from({ length: 51 }, (_, k) => 10 ** (2 - k / 10));

/** Eigenvalues below this share of the largest, and sums of counts, are zero. */
const rounding = 1e-12;

/** Targets that are solved between two looks at the clock. */
const chunkSize = 64;

function openRidge({ masks }: AttributionSource, options: FitOptions): Design {
  const { numModels, numTrain } = masks;
  const isDual = numModels <= numTrain;
  const size = Math.min(numModels, numTrain);
  const rows = Array.from({ length: numModels }, (_, model) => maskIndices(masks, model));
  const shares = meanMask(rows, masks);
  let made: Float64Array | undefined;
  const gram = (): Float64Array => (made ??= isDual ? gramOfModels(rows, numTrain) : gramOfExamples(rows, shares));
  /** Mean eigenvalue of X^T X / m over the directions that masks differ in; masks that are all alike have none. */
  const unit = (): number => {
    const mean = trace(gram(), size) / numModels / Math.max(1, Math.min(numModels - 1, numTrain));
    return mean > rounding ? mean : 1;
  };
  return {
    numModels,
    numTrain,
    options,
    pooled: ridge.isPooled(options),
    heldOut: new Int32Array(0),
    chosenOn: 'all models by generalised cross-validation',
    backend: 'cpu',
    describeChoice: ({ lambdaRatio = NaN }) => `lambda ${lambdaRatio.toPrecision(2)} of the mean eigenvalue`,
    memoryBytes: 8 * (5 * size * size + chunkSize * (2 * numModels + numTrain)) + 4 * numModels * numTrain,
    weightsPerTarget: numTrain,
    mostTargets: 4096,
    gram: () => undefined,
    async choose(sample, groups, { signal } = {}) {
      refuseRowWeights(ridge.name, sample);
      requireRunning(signal);
      return chooseByGcv(await spectrumOf(gram(), size), { sample, groups, masks, rows, isDual, unit: unit() });
    },
    async fit(block, run = {}, chosen) {
      refuseRowWeights(ridge.name, block);
      const fits = emptyFits(statusesOf(block, numModels), numTrain);
      let done = 0;
      const given = options['lambdaRatio'] as number | undefined;
      const ratioOf = (target: number): number => chosen?.[target]?.lambdaRatio ?? given!;
      for (const [ratio, targets] of groupBy(block.numTargets, ratioOf)) {
        const lambda = ratio * unit();
        const solve = await solver(gram(), size, numModels * lambda);
        for (let at = 0; at < targets.length; at += chunkSize) {
          await tick(run.signal);
          const chunk = targets.slice(at, at + chunkSize);
          const { centred, means } = centre(block, numModels, chunk);
          const width = chunk.length;
          const weights = isDual
            ? transposeTimes(rows, numTrain, solve(centred, width), width)
            : solve(transposeTimes(rows, numTrain, centred, width), width);
          fill(fits, chunk, { weights, means, shares, lambda });
          done += width;
          run.onProgress?.({ done, total: block.numTargets });
        }
      }
      return fits;
    },
  };
}

function groupBy(numTargets: number, ratioOf: (target: number) => number): Map<number, number[]> {
  const groups = new Map<number, number[]>();
  for (let target = 0; target < numTargets; target++) {
    const ratio = ratioOf(target);
    const group = groups.get(ratio);
    if (group) group.push(target);
    else groups.set(ratio, [target]);
  }
  return groups;
}

// ---- the Gram matrix

/** X X^T of centred columns: (models, models) */
function gramOfModels(rows: readonly Int32Array[], numTrain: number): Float64Array {
  const size = rows.length;
  const counts = new Float64Array(size * size);
  const isIn = new Uint8Array(numTrain);
  rows.forEach((row, i) => {
    isIn.fill(0);
    for (const example of row) isIn[example] = 1;
    for (let j = 0; j <= i; j++) {
      let common = 0;
      for (const example of rows[j]!) common += isIn[example]!;
      counts[i * size + j] = counts[j * size + i] = common;
    }
  });
  const means = Float64Array.from({ length: size }, (_, i) => counts.subarray(i * size, (i + 1) * size).reduce((a, b) => a + b, 0) / size);
  const mean = means.reduce((a, b) => a + b, 0) / size;
  return counts.map((count, k) => count - (means[Math.floor(k / size)]! + means[k % size]!) + mean);
}

/** X^T X of centred columns: (examples, examples) */
function gramOfExamples(rows: readonly Int32Array[], shares: Float64Array): Float64Array {
  const size = shares.length;
  const counts = new Float64Array(size * size);
  for (const row of rows) for (const i of row) for (const j of row) counts[i * size + j]!++;
  return counts.map((count, k) => count - rows.length * (shares[Math.floor(k / size)]! * shares[k % size]!));
}

function trace(gram: Float64Array, size: number): number {
  let sum = 0;
  for (let i = 0; i < size; i++) sum += gram[i * size + i]!;
  return sum;
}

/** X^T times (models, width): (numTrain, width) */
function transposeTimes(rows: readonly Int32Array[], numTrain: number, values: Float64Array, width: number): Float64Array {
  const product = new Float64Array(numTrain * width);
  rows.forEach((row, model) => {
    for (const example of row) for (let k = 0; k < width; k++) product[example * width + k]! += values[model * width + k]!;
  });
  return product;
}

/** Solves (gram + shift I) x = values for (size, width) values, in place. */
async function solver(gram: Float64Array, size: number, shift: number): Promise<(values: Float64Array, width: number) => Float64Array> {
  const { CholeskyDecomposition, Matrix } = await import('ml-matrix');
  const shifted = Matrix.from1DArray(size, size, gram);
  for (let i = 0; i < size; i++) shifted.set(i, i, shifted.get(i, i) + shift);
  const factor = Float64Array.from(new CholeskyDecomposition(shifted).lowerTriangularMatrix.to1DArray());
  return (x, width) => {
    const subtract = (from: number, times: number, row: number): void => {
      for (let k = 0; k < width; k++) x[from * width + k]! -= times * x[row * width + k]!;
    };
    const divide = (row: number): void => {
      for (let k = 0; k < width; k++) x[row * width + k]! /= factor[row * size + row]!;
    };
    for (let i = 0; i < size; i++) {
      for (let j = 0; j < i; j++) subtract(i, factor[i * size + j]!, j);
      divide(i);
    }
    for (let i = size - 1; i >= 0; i--) {
      divide(i);
      for (let j = 0; j < i; j++) subtract(j, factor[i * size + j]!, i);
    }
    return x;
  };
}

// ---- targets

interface SolvedChunk {
  /** (numTrain, chunk) */
  weights: Float64Array;
  means: Float64Array;
  shares: Float64Array;
  lambda: number;
}

function fill(fits: NativeFits, chunk: readonly number[], { weights, means, shares, lambda }: SolvedChunk): void {
  chunk.forEach((target, k) => {
    if (Number.isNaN(fits.bias[target]!)) return;
    const row = fits.weights.subarray(fits.rowStart[target], fits.rowStart[target + 1]);
    let bias = means[k]!;
    row.forEach((_, example) => {
      const weight = weights[example * chunk.length + k]!;
      row[example] = weight;
      bias -= weight * shares[example]!;
    });
    fits.bias[target] = bias;
    fits.lambda[target] = lambda;
  });
}

// ---- the choice of lambda

interface Spectrum {
  values: Float64Array;
  /** (size, size) eigenvectors as columns */
  vectors: Float64Array;
}

async function spectrumOf(gram: Float64Array, size: number): Promise<Spectrum> {
  const { EigenvalueDecomposition, Matrix } = await import('ml-matrix');
  const { realEigenvalues, eigenvectorMatrix } = new EigenvalueDecomposition(Matrix.from1DArray(size, size, gram), {
    assumeSymmetric: true,
  });
  const values = Float64Array.from(realEigenvalues, (value) => Math.max(value, 0));
  return { values, vectors: Float64Array.from(eigenvectorMatrix.to1DArray()) };
}

interface GcvInput {
  sample: SampleBlock;
  groups: TargetGroups | undefined;
  masks: Masks;
  rows: readonly Int32Array[];
  isDual: boolean;
  unit: number;
}

/**
 * Golub, Heath and Wahba (1979): m ||y - prediction||^2 / (m - degrees of freedom)^2, as a share of that without weights, mean over the
 * targets of a group. On 480 real models it finds the lambda that errors on held-out models find, and keeps every model for the fit.
 */
function chooseByGcv({ values, vectors }: Spectrum, { sample, groups, masks, rows, isDual, unit }: GcvInput): PenaltyChoice[] {
  const { numModels, numTrain } = masks;
  const size = values.length;
  const targets = Array.from({ length: sample.numTargets }, (_, k) => k);
  const statuses = statusesOf(sample, numModels);
  const { centred } = centre(sample, numModels, targets);
  const width = targets.length;
  const inside = isDual ? centred : transposeTimes(rows, numTrain, centred, width);
  const total = (k: number): number => {
    let sum = 0;
    for (let at = k; at < centred.length; at += width) sum += centred[at]! ** 2;
    return sum;
  };
  // squared coordinates of outputs along the eigenvectors, over the models; what lies outside them no fit explains
  const squares = targets.map((k) => {
    const along = new Float64Array(size);
    for (let i = 0; i < size; i++) for (let j = 0; j < size; j++) along[j]! += vectors[i * size + j]! * inside[i * width + k]!;
    return along.map((value, j) => (isDual ? value ** 2 : values[j]! > rounding * values.at(-1)! ? value ** 2 / values[j]! : 0));
  });
  return membersOf(sample.sample, groups).map(({ group, members }) => {
    const fitted = members.filter((k) => statuses[k] === 'converged');
    const scores = candidates.map((ratio) => {
      const left = values.map((value) => (ratio * unit * numModels) / (value + ratio * unit * numModels));
      const freedom = left.reduce((sum, share) => sum + 1 - share, 0);
      const unexplained = (k: number): number =>
        1 - squares[k]!.reduce((sum, square, j) => sum + square * (1 - left[j]! ** 2), 0) / total(k);
      const mean = fitted.reduce((sum, k) => sum + unexplained(k), 0) / fitted.length;
      return mean * ((numModels - 1) / (numModels - 1 - freedom)) ** 2;
    });
    const best = scores.reduce((least, score, k) => (score < scores[least]! ? k : least), 0);
    const error = fitted.length > 0 ? scores[best]! : 1;
    return { group, lambdaRatio: candidates[best]!, criterion: 'generalised cross-validation', numSampled: fitted.length, error };
  });
}
