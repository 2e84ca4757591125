/** The files of a fit, opened and checked; large ones are read by columns later. */
import type { TargetPoints } from '../attributors/attributor.js';
import { readMaskFile } from '../data/maskFile.js';
import { LetheError } from '../errors.js';
import { sha256 } from '../store/disk/files.js';
import { readNpy } from '../store/formats/npy.js';
import { NpyFile } from '../store/formats/npyFile.js';
import { nativeMargins } from '../native/margins.js';
import { firstOutside, readWholeNumbers } from '../store/formats/npyIntegers.js';
import type { NpyValues } from '../store/formats/npyValues.js';
import type { Masks, TargetGroups } from '../types.js';
import type { OutputBlocks, RowWeightBlocks } from './blocks.js';
import { targetsPerRowWeight } from './check.js';

export interface FitInputs {
  masks: Masks;
  outputs: OutputBlocks & { numClasses: number };
  outputShape: readonly number[];
  rowWeights?: RowWeightBlocks;
  groups?: TargetGroups;
  /** Where labels say what the targets are. */
  points?: TargetPoints;
  /** Bytes that reading an output takes above the 4 of its value, and a byte for a row weight. */
  extraBytes: number;
  /** What tells these inputs from others, for the folder of the fit; not their paths and times. */
  identity: Record<string, unknown>;
  close(): Promise<void>;
}

/**
 * Masks are identified by their sha256; outputs and row weights by NpyFile.fingerprint(), which finds other files at once, while the
 * sha256 of the columns of every finished block finds single values that changed.
 * @throws LETHE_FILE_MISSING, LETHE_MASKS_SHAPE, LETHE_MASKS_VALUE, LETHE_OUTPUTS_SHAPE, LETHE_ROW_WEIGHTS_SHAPE, LETHE_SHAPE_MISMATCH
 * (exit code 2), LETHE_NPY_DAMAGED, LETHE_NPY_UNSUPPORTED (exit code 3)
 */
export async function openFitInputs(
  paths: { masks: string; outputs: string; rowWeights?: string; groups?: string; labels?: string },
  signal?: AbortSignal,
): Promise<FitInputs> {
  const masks = await readMaskFile(paths.masks, signal);
  const { numModels, numTrain } = masks;
  const files: NpyFile[] = [];
  const close = async (): Promise<void> => {
    for (const file of files) await file.close();
  };
  try {
    const outputs = await NpyFile.open(paths.outputs);
    files.push(outputs);
    checkOutputs(outputs, masks);
    const numClasses = Math.max(outputs.shape[2] ?? 1, 1);
    const identity: FitInputs['identity'] = {
      masks: { numModels, numTrain, sha256: sha256(masks.bits) },
      outputs: { dtype: outputs.dtype, shape: outputs.shape, fingerprint: await outputs.fingerprint() },
    };
    const groups = paths.groups === undefined ? undefined : await readGroups(paths.groups, outputs.columns, numClasses);
    if (groups) identity['groups'] = { names: groups.names, sha256: sha256(groups.of) };
    const blocks = outputBlocks(outputs, numClasses);
    const points = paths.labels === undefined ? undefined : await readPoints(paths.labels, outputs, masks, numClasses);
    if (points) identity['labels'] = sha256(points.labels);
    const known = { ...(groups ? { groups } : {}), ...(points ? { points } : {}) };
    const inputs = { masks, outputs: blocks, outputShape: outputs.shape, identity, close, ...known };
    if (paths.rowWeights === undefined) return { ...inputs, extraBytes: outputs.extraBytes };
    const weights = await NpyFile.open(paths.rowWeights);
    files.push(weights);
    identity['rowWeights'] = { shape: weights.shape, fingerprint: await weights.fingerprint() };
    const rowWeights = rowWeightBlocks(weights, outputs, numClasses);
    return { ...inputs, rowWeights, extraBytes: outputs.extraBytes + 1 + weights.extraBytes };
  } catch (error) {
    await close();
    throw error;
  }
}

function outputBlocks(file: NpyFile, numClasses: number): FitInputs['outputs'] {
  return {
    numModels: file.rows,
    numTargets: file.columns,
    numClasses,
    read: async (first, end) => (await file.readColumns(first, end)) as Float32Array | Float64Array,
  };
}

/**
 * Labels of the points of logits (models, points, classes) or margins (models, points): the train examples first, in the order of the masks.
 * @throws LETHE_FILE_MISSING, LETHE_LABEL_RANGE, LETHE_SHAPE_MISMATCH (exit code 2), LETHE_NPY_DAMAGED, LETHE_NPY_UNSUPPORTED (exit code 3)
 */
async function readPoints(path: string, outputs: NpyFile, { numTrain }: Masks, numClasses: number): Promise<TargetPoints> {
  const mostLabels = numClasses > 1 ? numClasses : 2 ** 31;
  const labels = await readWholeNumbers(path, mostLabels, (received, action) => {
    const expected = `(points) whole numbers from 0${numClasses > 1 ? ` to ${numClasses - 1}` : ' on'}`;
    const advice = action === undefined ? {} : { action };
    return new LetheError('LETHE_LABEL_RANGE', `${path} holds no labels of these outputs`, { expected, received, ...advice });
  });
  const numPoints = outputs.columns / numClasses;
  if (labels.length !== numPoints || numPoints < numTrain) {
    throw new LetheError('LETHE_SHAPE_MISMATCH', 'labels, outputs and masks do not fit', {
      expected: `${Math.max(numPoints, numTrain)} labels and points, the ${numTrain} train examples of the masks first`,
      received: `${labels.length} labels, outputs (${outputs.shape.join(', ')})`,
    });
  }
  const trainMargins = async (): Promise<Float32Array> => {
    const values = Float32Array.from((await outputs.readColumns(0, numTrain * numClasses)) as Float32Array | Float64Array);
    if (numClasses === 1) return values;
    return (await nativeMargins({ logits: values, labels: labels.slice(0, numTrain), numClasses })).margins;
  };
  return { labels, targetsPerPoint: numClasses, trainMargins };
}

/** Most groups a choice is made for: each needs targets enough for a mean. */
const mostGroups = 256;

/** @throws LETHE_FILE_MISSING, LETHE_GROUPS_SHAPE (exit code 2), LETHE_NPY_DAMAGED, LETHE_NPY_UNSUPPORTED (exit code 3) */
async function readGroups(path: string, numTargets: number, numClasses: number): Promise<TargetGroups> {
  const { dtype, shape, data } = await readNpy(path);
  const perPoint = data.length !== numTargets && data.length * numClasses === numTargets;
  const numbers = Array.from(data as ArrayLike<number | bigint>, Number);
  const known = [...new Set(numbers)].sort((a, b) => a - b);
  const whole = dtype === 'bool' || dtype.startsWith('int') || dtype.startsWith('uint');
  if (!whole || (data.length !== numTargets && !perPoint) || known.length > mostGroups) {
    throw new LetheError('LETHE_GROUPS_SHAPE', `${path} does not hold groups of targets`, {
      expected: `integers (${numTargets}), one a target${numClasses > 1 ? `, or (${numTargets / numClasses}), one a point` : ''}; at most ${mostGroups} different ones`,
      received: `${dtype} of shape (${shape.join(', ')}), ${known.length} different values`,
      action: 'Write them with numpy.save(file, groups.astype(numpy.int32)).',
    });
  }
  const position = new Map(known.map((value, index) => [value, index]));
  const of = Uint8Array.from({ length: numTargets }, (_, target) =>
    position.get(numbers[perPoint ? Math.floor(target / numClasses) : target]!)!,
  );
  return { names: known.map((value) => `group ${value}`), of };
}

function rowWeightBlocks(file: NpyFile, outputs: NpyFile, numClasses: number): RowWeightBlocks {
  const { dtype, shape, rows, columns, path } = file;
  if (dtype.startsWith('float')) {
    throw new LetheError('LETHE_ROW_WEIGHTS_SHAPE', `${path} does not hold row weights`, {
      expected: 'integers or bool of shape (models, targets) or (models, points)',
      received: `${dtype} of shape (${shape.join(', ')})`,
      action: 'Row weights count models: if they are whole numbers up to 255, save weights.astype(numpy.uint8).',
    });
  }
  requireModels(rows, outputs.rows, 'row weights', shape);
  return {
    targetsPerRowWeight: targetsPerRowWeight(columns, outputs.columns, numClasses),
    read: async (first, end) => toCounts(await file.readColumns(first, end), { first, width: end - first }, path),
  };
}

/** @throws LETHE_ROW_WEIGHTS_VALUE (exit code 2) */
function toCounts(values: NpyValues, { first, width }: { first: number; width: number }, path: string): Uint8Array {
  if (values instanceof Uint8Array) return values;
  const wrong = firstOutside(values, 256);
  if (wrong < 0) return Uint8Array.from(values);
  throw new LetheError('LETHE_ROW_WEIGHTS_VALUE', `${path} holds a row weight that is out of range`, {
    expected: 'whole numbers from 0 to 255',
    received: `${values[wrong]!} of model ${Math.floor(wrong / width)}, column ${first + (wrong % width)}`,
  });
}

function checkOutputs({ dtype, shape, rows, columns, path }: NpyFile, { numModels }: Masks): void {
  if (!dtype.startsWith('float') || (shape.length !== 2 && shape.length !== 3) || columns === 0) {
    throw new LetheError('LETHE_OUTPUTS_SHAPE', `${path} does not hold model outputs`, {
      expected: 'float16, float32 or float64 of shape (models, targets) or (models, points, classes)',
      received: `${dtype} of shape (${shape.join(', ')})`,
      action: 'Write them with numpy.save(file, outputs.reshape(len(outputs), -1).astype(numpy.float32)).',
    });
  }
  requireModels(rows, numModels, 'outputs', shape);
}

function requireModels(received: number, numModels: number, what: string, shape: readonly number[]): void {
  if (received === numModels) return;
  throw new LetheError('LETHE_SHAPE_MISMATCH', `masks and ${what} are of different numbers of models`, {
    expected: `${what} (${numModels}, ...) to match the ${numModels} masks`,
    received: `${what} (${shape.join(', ')})`,
    action: 'Row i of both files must belong to the same model.',
  });
}
