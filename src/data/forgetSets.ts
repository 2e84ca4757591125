/** Forget sets: random (NumPy-compatible), from an index file, or extreme projections on a principal component (METHOD: D.2). */
import path from 'node:path';
import { LetheError } from '../errors.js';
import { readText } from '../store/disk/files.js';
import { readWholeNumbers } from '../store/formats/npyIntegers.js';
import { type Datamodels, type ForgetSet, type ForgetSetSpec, largestForgetSeed } from '../types.js';
import { legacyChoice } from './numpyLegacy.js';
import { principalProjection } from './principalComponents.js';

export interface ForgetSetContext {
  numTrain: number;
  /** Of the plan: paths in it count from there. Absent: the current folder. */
  planFolder?: string | undefined;
  /** Margin datamodels of the train points, row = point; principal components need them. */
  datamodels?: Datamodels;
}

/**
 * Resolves a specification to sorted train indices.
 * 'random' equals numpy.random.seed(seed); numpy.random.choice(numTrain, size, replace=False), sorted: the published sets 1-3.
 * @throws LETHE_FORGET_SET_INVALID for sizes, ranges, duplicates; LETHE_DATAMODELS_MISSING
 */
export async function resolveForgetSet(spec: ForgetSetSpec, context: ForgetSetContext): Promise<ForgetSet> {
  const indices = await chooseIndices(spec, context);
  return { name: spec.name, indices: checked(spec.name, indices, context.numTrain) };
}

/**
 * What can be known of a forget set before anything is trained, so that a mistake does not cost a night. `doneAlready`: sets that a run
 * has resolved, whose files it needs no more.
 * @throws LETHE_FORGET_SET_INVALID, LETHE_FILE_MISSING
 */
export async function checkForgetSets(
  specs: readonly ForgetSetSpec[],
  context: Omit<ForgetSetContext, 'datamodels'>,
  doneAlready: (name: string) => boolean,
): Promise<void> {
  for (const spec of specs) {
    requireSpecSize(spec, context.numTrain);
    if (spec.kind === 'file' && !doneAlready(spec.name)) await resolveForgetSet(spec, context);
  }
}

async function chooseIndices(spec: ForgetSetSpec, { numTrain, datamodels, planFolder = '' }: ForgetSetContext): Promise<Int32Array> {
  requireSpecSize(spec, numTrain);
  switch (spec.kind) {
    case 'random':
      return legacyChoice(spec.seed, numTrain, spec.size);
    case 'file':
      return readIndexFile(path.resolve(planFolder, spec.path), numTrain);
    case 'principalComponent': {
      if (!datamodels) {
        throw new LetheError('LETHE_DATAMODELS_MISSING', `forget set ${spec.name} needs datamodels of the train points`, {
          action: 'Fit datamodels first, or choose a random set or an index file.',
        });
      }
      const { numTargets: numRows, numTrain: numColumns, rowStart, indices, weights } = datamodels;
      return extremes(principalProjection({ numRows, numColumns, rowStart, indices, weights }, spec.component), spec.top, spec.bottom);
    }
  }
}

/** Rows of the `top` largest and `bottom` smallest projections; ties go to the smaller index. */
export function extremes(projection: Float64Array, top: number, bottom: number): Int32Array {
  const order = [...projection.keys()].sort((a, b) => projection[b]! - projection[a]! || a - b);
  return Int32Array.from([...order.slice(0, top), ...order.slice(order.length - bottom)]);
}

/** Of ten million indices. */
const maxIndexBytes = 2 ** 27;

/** Train indices of a file, ascending. @throws LETHE_FORGET_SET_INVALID, LETHE_FILE_MISSING (exit code 2), LETHE_NPY_DAMAGED (3) */
export async function readForgetSet(file: string, numTrain: number): Promise<Int32Array> {
  return checked(file, await readIndexFile(file, numTrain), numTrain);
}

/** A .npy file of integers, or text with one index a line ("#" starts a comment). */
async function readIndexFile(file: string, numTrain: number): Promise<Int32Array> {
  if (file.endsWith('.npy')) {
    return readWholeNumbers(file, numTrain, (received, action) =>
      invalid(file, `train indices from 0 to ${numTrain - 1}`, received, action),
    );
  }
  const text = await readText(file, maxIndexBytes);
  if (text === undefined) throw new LetheError('LETHE_FILE_MISSING', `there is no index file ${file}`, { action: 'Check the path.' });
  const lines = text
    .split(/\r?\n/)
    .map((line) => line.replace(/#.*/, '').trim())
    .filter((line) => line !== '');
  return Int32Array.from(lines, (line) => {
    if (!/^\d{1,9}$/.test(line)) throw invalid(file, 'one train index a line', JSON.stringify(line.slice(0, 40)));
    return Number(line);
  });
}

/** Sizes that the specification says; a file is looked into. */
function requireSpecSize(spec: ForgetSetSpec, numTrain: number): void {
  if (spec.kind === 'random') {
    requireSize(spec.name, spec.size, numTrain);
    if (!(Number.isInteger(spec.seed) && spec.seed >= 0 && spec.seed <= largestForgetSeed)) {
      throw invalid(spec.name, `a seed from 0 to ${largestForgetSeed}, as numpy.random.seed takes`, `seed ${spec.seed}`);
    }
  }
  if (spec.kind === 'principalComponent') requireSize(spec.name, spec.top + spec.bottom, numTrain);
}

function requireSize(name: string, size: number, numTrain: number): void {
  if (size >= 1 && size < numTrain) return;
  throw invalid(name, `between 1 and ${numTrain - 1} points, so that something is left to retain`, String(size));
}

function checked(name: string, indices: Int32Array, numTrain: number): Int32Array {
  requireSize(name, indices.length, numTrain);
  const sorted = indices.slice().sort();
  sorted.forEach((index, i) => {
    if (index < 0 || index >= numTrain) throw invalid(name, `train indices from 0 to ${numTrain - 1}`, String(index));
    if (i > 0 && sorted[i - 1] === index) throw invalid(name, 'every index once', `${index} twice`);
  });
  return sorted;
}

function invalid(what: string, expected: string, received: string, action?: string): LetheError {
  const advice = action === undefined ? {} : { action };
  return new LetheError('LETHE_FORGET_SET_INVALID', `${what} is no usable forget set`, { expected, received, ...advice });
}
