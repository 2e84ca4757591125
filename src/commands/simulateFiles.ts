/** Targets of Datamodel Matching for models that are fine-tuned elsewhere. */
import fs from 'node:fs';
import path from 'node:path';
import { readForgetSet } from '../data/forgetSets.js';
import { retainIndices } from '../data/indices.js';
import { LetheError } from '../errors.js';
import { readDatamodelBatches } from '../store/contents/datamodels.js';
import { requireRecordedDatamodels } from '../store/folders/fitFolder.js';
import { readNpy, toFloat32, writeNpy } from '../store/formats/npy.js';
import type { RunOptions } from '../types.js';
import { fineTuneSet, forgetShift, simulate } from '../unlearn/index.js';

export interface SimulateFiles {
  /** datamodels.arrow of fitFiles(), of logits: target point * classes + class, train examples first */
  datamodels: string;
  /** .npy (points, classes) of one model trained on all examples, or (models, points, classes) */
  logits: string;
  /** .npy of train indices, integers */
  forgetSet: string;
  /** Folder for targets.npy and fine-tune.npy. */
  out: string;
}

export interface SimulateFilesOptions extends RunOptions {
  /** Global factor of the weights; default 1. */
  scale?: number;
  /** Use memorisation scores only (Appendix G.2). */
  diagonalOnly?: boolean;
  /** Times each forget point is in the fine-tune set; default 1. */
  forgetMultiplier?: number;
  /** Retain points for each forget point; default 5. */
  retainMultiplier?: number;
  /** Of the retain sample; default 0. */
  seed?: number;
}

export interface Simulated {
  numModels: number;
  numPoints: number;
  numClasses: number;
  numTrain: number;
  numForget: number;
  /** Indices of the fine-tune set of one model, forget points first. */
  numFineTune: number;
}

/**
 * What a model retrained without the forget set would put out, h(x) = f(x) - scale * sum over the forget set of the weights (Algorithm C.2), for
 * every point and model; and which points Datamodel Matching fine-tunes each model on (Algorithm C.3): forget points, then a retain sample of
 * its own. Writes OUT/targets.npy, float32 in the shape of the logits, and OUT/fine-tune.npy, int32 (numFineTune) or (models, numFineTune).
 * Fine-tune a copy of each model on these points by the squared error between its logits and the targets.
 *
 * @example
 * const files = { datamodels: 'fits/datamodels.arrow', logits: 'original-logits.npy', forgetSet: 'forget.npy', out: 'targets' };
 * const { numForget, numFineTune } = await simulateFiles(files, { retainMultiplier: 20 });
 * console.log(`${numForget} forget points, ${numFineTune} points to fine-tune on`);
 *
 * @throws LETHE_SHAPE_MISMATCH, LETHE_FORGET_SET_INVALID, LETHE_FILE_MISSING (exit code 2), LETHE_NPY_DAMAGED, LETHE_DATAMODELS_INVALID (3)
 */
export async function simulateFiles(files: SimulateFiles, options: SimulateFilesOptions = {}): Promise<Simulated> {
  const { scale = 1, diagonalOnly = false, forgetMultiplier = 1, retainMultiplier = 5, seed = 0 } = options;
  const logits = await readLogits(files.logits);
  const { numModels, numPoints, numClasses, values } = logits;
  const { shift, forget, numTrain } = await readShift(files, numPoints * numClasses, numClasses);
  const size = numPoints * numClasses;
  const targets = new Float32Array(values.length);
  const fineTune: Int32Array[] = [];
  const retain = retainIndices(numTrain, forget);
  const setting = { forgetMultiplier, retainMultiplier, retainSampling: 'once' };
  for (let model = 0; model < numModels; model++) {
    const originalLogits = values.subarray(model * size, (model + 1) * size);
    targets.set(simulate({ originalLogits, shift, scale, diagonalOnly }), model * size);
    fineTune.push(fineTuneSet({ seed, modelIndex: model, forget, retain }, setting).indices);
  }
  await fs.promises.mkdir(files.out, { recursive: true });
  const numFineTune = fineTune[0]!.length;
  const all = new Int32Array(numModels * numFineTune);
  fineTune.forEach((indices, model) => {
    all.set(indices, model * numFineTune);
  });
  await writeNpy(path.join(files.out, 'targets.npy'), logits.shape, targets);
  await writeNpy(path.join(files.out, 'fine-tune.npy'), logits.shape.length === 3 ? [numModels, numFineTune] : [numFineTune], all);
  return { numModels, numPoints, numClasses, numTrain, numForget: forget.length, numFineTune };
}

async function readLogits(file: string) {
  const array = await readNpy(file);
  const { shape, dtype } = array;
  const [numModels, numPoints, numClasses] = shape.length === 2 ? [1, ...shape] : shape;
  if (!dtype.startsWith('float') || (shape.length !== 2 && shape.length !== 3) || shape.includes(0)) {
    throw new LetheError('LETHE_OUTPUTS_SHAPE', `${file} does not hold logits`, {
      expected: 'float16, float32 or float64 of shape (points, classes) or (models, points, classes)',
      received: `${dtype} of shape (${shape.join(', ')})`,
    });
  }
  return { numModels: numModels!, numPoints: numPoints!, numClasses: numClasses!, shape: [...shape], values: toFloat32(array) };
}

/** Sums over the forget set, batch by batch. */
async function readShift({ datamodels: file, forgetSet, logits }: SimulateFiles, numTargets: number, numClasses: number) {
  await requireRecordedDatamodels(file);
  const shift = { full: new Float32Array(numTargets), diagonal: new Float32Array(numTargets) };
  let forget: Int32Array | undefined;
  let [first, numTrain] = [0, 0];
  for await (const datamodels of readDatamodelBatches(file)) {
    numTrain = datamodels.numTrain;
    forget ??= await readForgetSet(forgetSet, numTrain);
    if (first + datamodels.numTargets <= numTargets) {
      const part = forgetShift({ datamodels, firstTarget: first, numClasses, forget });
      shift.full.set(part.full, first);
      shift.diagonal.set(part.diagonal, first);
    }
    first += datamodels.numTargets;
  }
  if (first !== numTargets || !forget) {
    throw new LetheError('LETHE_SHAPE_MISMATCH', 'datamodels and logits do not fit', {
      expected: `a datamodel of each of the ${numTargets} logits of a model in ${logits}`,
      received: `${first} datamodels in ${file}`,
      action: 'Fit datamodels of the logits: lethe fit with outputs (models, points, classes).',
    });
  }
  return { shift, forget, numTrain };
}
