/** The LDS of datamodels, masks and outputs in files. */
import { readMaskFile } from '../data/maskFile.js';
import { centreOutputs } from '../datamodels/centre.js';
import { predict, type DenseDatamodels } from '../datamodels/predict.js';
import { LetheError } from '../errors.js';
import { correlatePoints, type Lds, type PointCorrelations, summariseLds } from '../evaluate/lds.js';
import { chooseDevice, type DeviceName } from '../native/device.js';
import { defaultMemory } from '../native/limits.js';
import { formatBytes } from '../store/disk/byteSize.js';
import { readDatamodelBatches } from '../store/contents/datamodels.js';
import { requireRecordedDatamodels } from '../store/folders/fitFolder.js';
import { sliceTargets } from '../store/contents/datamodelRows.js';
import { NpyFile } from '../store/formats/npyFile.js';
import { readNpy, toFloat32 } from '../store/formats/npy.js';
import type { NpyValues } from '../store/formats/npyValues.js';
import type { Datamodels, Masks, RunOptions } from '../types.js';
import { type MaskOrigin, originOfMasks } from './ldsMasks.js';
import { namedRows } from './namedRows.js';
import type { Note } from './talk.js';

export interface LdsFiles {
  /** datamodels.arrow of fitFiles(), or dense weights .npy (targets, train) and biases .npy (targets) */
  datamodels: string | { weights: string; bias: string };
  /** .npy (models, train), of models held out from the fit */
  masks: string;
  /** .npy (models, targets) or (models, points, classes), float16, float32 or float64: what these models really put out */
  outputs: string;
}

export interface LdsFilesOptions extends RunOptions {
  /** Of the bootstrap interval. */
  seed?: number;
  device?: DeviceName;
  /** Bytes to use; default: half of what is free. */
  memory?: number;
  /** Also score models whose masks the fit has seen. */
  allowFitMasks?: boolean;
  note?: Note;
}

export type LdsOfFiles = Lds & MaskOrigin & { numModels: number; device: string };

/**
 * Linear datamodeling score (Section 4.3) of datamodels in files: by blocks of targets, so that neither weights nor outputs need fit in memory.
 * Progress counts targets.
 *
 * @example
 * const files = { datamodels: 'fits/datamodels.arrow', masks: 'held-out-masks.npy', outputs: 'held-out-outputs.npy' };
 * const { mean, low, high } = await ldsFiles(files);
 * console.log(`${mean.toFixed(3)} (95 % ${low.toFixed(3)} to ${high.toFixed(3)})`);
 *
 * @throws LETHE_SHAPE_MISMATCH, LETHE_OUTPUTS_SHAPE, LETHE_MASKS_SEEN, LETHE_MEMORY_LIMIT (exit code 2), LETHE_NPY_DAMAGED,
 *   LETHE_DATAMODELS_INVALID (3), LETHE_TASK_ABORTED (75)
 */
export async function ldsFiles(files: LdsFiles, options: LdsFilesOptions = {}): Promise<LdsOfFiles> {
  const { seed = 0, memory = defaultMemory(), allowFitMasks = false, note, onProgress, signal, threads = 0 } = options;
  const run = { threads, ...(signal ? { signal } : {}) };
  const device = chooseDevice(options.device ?? 'cpu');
  const masks = await readMaskFile(files.masks, signal);
  const outputs = await NpyFile.open(files.outputs);
  const { rows: numModels, columns: numTargets } = outputs;
  try {
    checkOutputs(outputs, masks);
    const weights = typeof files.datamodels === 'string' ? files.datamodels : files.datamodels.weights;
    const origin = await originOfMasks(weights, masks, files.masks, allowFitMasks);
    const parts: PointCorrelations[] = [];
    const leftOut = new Set<number>();
    let first = 0;
    for await (const datamodels of datamodelBlocks(files, { memory, note }, masks, outputs)) {
      const end = first + datamodels.numTargets;
      requireEqual(Math.max(end, numTargets), numTargets, `targets in the datamodels, as in ${files.outputs}`);
      const actual = varyingPart(await outputs.readColumns(first, end), end - first);
      for (let at = 0; at < actual.length; at++) if (!Number.isFinite(actual[at]!)) leftOut.add(Math.floor(at / (end - first)));
      const predicted = await predict(withoutBias(datamodels), masks, run);
      parts.push(await correlatePoints({ predicted, actual, numModels, numPoints: end - first }, {}, { ...run, device }));
      first = end;
      onProgress?.({ done: first, total: numTargets });
    }
    requireEqual(first, numTargets, `targets in the datamodels, as in ${files.outputs}`);
    const score = await summariseLds(parts, seed, run);
    if (leftOut.size > 0) note?.(`lds: NaN or infinite: ${namedRows([...leftOut].sort((a, b) => a - b))}; left out where they are`);
    return { ...score, ...origin, numModels, device };
  } finally {
    await outputs.close();
  }
}

/** Ranks do not depend on what is taken off every output of a target: float64 keeps the digits that float32 would spend on an offset. */
function varyingPart(values: NpyValues, numTargets: number): Float32Array {
  return values instanceof Float64Array ? centreOutputs(values, numTargets).outputs : (values as Float32Array);
}

/** For the same reason. The NaN of a target without a fit stays. */
function withoutBias<Models extends Datamodels | DenseDatamodels>(datamodels: Models): Models {
  return { ...datamodels, bias: datamodels.bias.map((value) => (Number.isNaN(value) ? NaN : 0)) };
}

function checkOutputs({ dtype, shape, rows, path }: NpyFile, masks: Masks): void {
  if (!dtype.startsWith('float') || (shape.length !== 2 && shape.length !== 3) || shape.includes(0)) {
    throw new LetheError('LETHE_OUTPUTS_SHAPE', `${path} does not hold model outputs`, {
      expected: 'float16, float32 or float64 of shape (models, targets) or (models, points, classes), no dimension empty',
      received: `${dtype} of shape (${shape.join(', ')})`,
    });
  }
  requireEqual(rows, masks.numModels, `models in ${path}, as many as masks`);
}

/** All datamodels in order, each time as many as fit: predictions, outputs and ranks of a block lie in memory together. */
async function* datamodelBlocks(
  files: LdsFiles,
  { memory, note }: { memory: number; note: Note | undefined },
  masks: Masks,
  outputs: NpyFile,
): AsyncGenerator<Datamodels | DenseDatamodels> {
  const { numModels, numTrain } = masks;
  const { datamodels } = files;
  // masks, and the copy of them that predictions read
  const room = memory - 3 * masks.bits.length - 2 ** 26;
  const perTarget = numModels * (8 + outputs.extraBytes) + 24;
  if (typeof datamodels !== 'string') {
    const { weights, bias } = datamodels;
    yield* denseBlocks(weights, bias, numTrain, (extraBytes) => blockSize(room, perTarget + numTrain * (4 + extraBytes), memory));
    return;
  }
  const step = blockSize(room - 2 ** 28, perTarget, memory);
  await requireRecordedDatamodels(datamodels);
  for await (const batch of readDatamodelBatches(datamodels, { numTrain, note: note ?? (() => undefined) })) {
    requireEqual(batch.numTrain, numTrain, `train examples in the datamodels, as in ${files.masks}`);
    for (let first = 0; first < batch.numTargets; first += step) {
      yield sliceTargets(batch, first, Math.min(first + step, batch.numTargets));
    }
  }
}

async function* denseBlocks(
  weightsPath: string,
  biasPath: string,
  numTrain: number,
  blockOf: (extraBytes: number) => number,
): AsyncGenerator<DenseDatamodels> {
  const bias = toFloat32(await readNpy(biasPath));
  const file = await NpyFile.open(weightsPath);
  try {
    if (!file.dtype.startsWith('float') || file.shape.length !== 2) {
      throw new LetheError('LETHE_SHAPE_MISMATCH', `${weightsPath} does not hold weights`, {
        expected: 'float16, float32 or float64 of shape (targets, train)',
        received: `${file.dtype} of shape (${file.shape.join(', ')})`,
      });
    }
    requireEqual(bias.length, file.rows, `biases in ${biasPath}, one a row of ${weightsPath}`);
    requireEqual(file.columns, numTrain, `train examples in ${weightsPath}, as in the masks`);
    const step = blockOf(file.extraBytes);
    for (let first = 0; first < file.rows; first += step) {
      const end = Math.min(first + step, file.rows);
      const read = await file.readRows(first, end);
      const weights = read instanceof Float32Array ? read : new Float32Array(read);
      yield { numTargets: end - first, numTrain, bias: bias.subarray(first, end), weights };
    }
  } finally {
    await file.close();
  }
}

const mostTargets = 8192;

/** @throws LETHE_MEMORY_LIMIT (exit code 2) */
function blockSize(room: number, perTarget: number, memory: number): number {
  if (room >= perTarget) return Math.min(mostTargets, Math.floor(room / perTarget));
  throw new LetheError('LETHE_MEMORY_LIMIT', 'not even one target fits', {
    expected: `at least ${formatBytes(memory - room + perTarget)} of memory`,
    received: formatBytes(memory),
    action: 'Raise --memory.',
  });
}

function requireEqual(received: number, expected: number, what: string): void {
  if (received === expected) return;
  throw new LetheError('LETHE_SHAPE_MISMATCH', 'the files do not fit together', {
    expected: `${expected} ${what}`,
    received: String(received),
  });
}
