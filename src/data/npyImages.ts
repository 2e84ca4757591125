/**
 * Images of one's own as NumPy files in a folder: train_images.npy and validation_images.npy, uint8 (images, height, width, channels) or
 * (images, height, width) for grey ones; train_labels.npy and validation_labels.npy, integers (images); and, optionally, meta.json.
 */
import fs from 'node:fs';
import path from 'node:path';
import { z } from 'zod';
import { ExitCode, LetheError } from '../errors.js';
import { nativeBuffer } from '../native/memory.js';
import { damaged, readWhole, sha256 } from '../store/files.js';
import { decodeJson } from '../store/json.js';
import { readNpy } from '../store/npy.js';
import { NpyFile } from '../store/npyFile.js';
import type { Dataset } from '../types.js';
import { createDataset } from './dataset.js';
import { firstPerClass } from './perClass.js';
import type { DataSelection, DataSource } from './source.js';

const npyFileNames = ['train_images.npy', 'train_labels.npy', 'validation_images.npy', 'validation_labels.npy'] as const;
const metaName = 'meta.json';
/** Images are read in pieces of about this size. */
const pieceBytes = 1 << 24;
const maxClasses = 65536;

const metaSchema = z.strictObject({
  description: z.string().max(200).optional(),
  classNames: z.array(z.string()).min(1).max(maxClasses).optional(),
  /** Per channel on the 0..1 scale; both or none. */
  mean: z.array(z.number()).optional(),
  std: z.array(z.number().positive()).optional(),
});
type Meta = z.output<typeof metaSchema>;

/** True for a folder with any of the files, complete or not. */
export function holdsNpyImages(directory: string): boolean {
  return npyFileNames.some((name) => fs.existsSync(path.join(directory, name)));
}

/** Paths of the files. @throws LETHE_DATA_MISSING naming those that are not there (exit code 3) */
export function findNpyImages(directory: string): string[] {
  const missing = npyFileNames.filter((name) => !fs.existsSync(path.join(directory, name)));
  if (missing.length === 0) return npyFileNames.map((name) => path.join(directory, name));
  throw damaged('LETHE_DATA_MISSING', `${directory} does not hold a data set`, npyFileNames.join(', '), `no ${missing.join(', ')}`);
}

interface ImageShape {
  height: number;
  width: number;
  channels: number;
}

async function readMeta(directory: string): Promise<Meta> {
  const file = path.join(directory, metaName);
  const content = await readWhole(file);
  if (content === undefined) return {};
  const parsed = metaSchema.safeParse(decodeJson(content, file));
  if (parsed.success && (parsed.data.mean === undefined) === (parsed.data.std === undefined)) return parsed.data;
  const received = parsed.success
    ? 'one of mean and std'
    : parsed.error.issues.map(({ path: at, message }) => `${at.join('.')}: ${message}`);
  const expected =
    'an object with description, classNames, mean and std (per channel, on the 0..1 scale), each optional, mean and std together';
  throw damaged('LETHE_DATA_META', `${file} does not describe a data set`, expected, String(received));
}

async function readLabels(file: string): Promise<Int32Array> {
  const { dtype, shape, data } = await readNpy(file);
  const wrong = data.findIndex((label) => label < 0 || label >= maxClasses);
  if (shape.length === 1 && ['uint8', 'int32', 'int64'].includes(dtype) && wrong < 0) return Int32Array.from(data);
  const received = wrong < 0 || shape.length !== 1 ? `${dtype} (${shape.join(', ')})` : `${data[wrong]!} at position ${wrong}`;
  throw damaged('LETHE_DATA_LABEL', `${file} holds no labels`, `uint8, int32 or int64 (images), from 0 to ${maxClasses - 1}`, received);
}

function imageShape(file: NpyFile, labels: Int32Array): ImageShape {
  const [images, height, width, channels = 1] = file.shape;
  if (file.dtype === 'uint8' && file.shape.length >= 3 && file.shape.length <= 4 && images === labels.length && file.columns > 0) {
    return { height: height!, width: width!, channels };
  }
  const expected = `uint8 (${labels.length}, height, width, channels), an image for each label`;
  throw damaged('LETHE_DATA_SHAPE', `${file.path} holds no such images`, expected, `${file.dtype} (${file.shape.join(', ')})`);
}

/** Copies the images at `selected` (ascending) to `target`, neighbours in one read. */
async function readImages(file: NpyFile, selected: Int32Array, target: Uint8Array): Promise<void> {
  const most = Math.max(1, Math.floor(pieceBytes / file.columns));
  for (let at = 0; at < selected.length;) {
    let count = 1;
    while (count < most && selected[at + count] === selected[at]! + count) count++;
    target.set(await file.readRows(selected[at]!, selected[at]! + count), at * file.columns);
    at += count;
  }
}

/** Mean and standard deviation of every channel on the 0..1 scale; 1 for the deviation of a constant channel. pixels: (..., channels) */
function channelStatistics(pixels: Uint8Array, channels: number): { mean: number[]; std: number[] } {
  const counts = Array.from({ length: channels }, () => new Float64Array(256));
  for (let at = 0; at < pixels.length; at += channels) for (let c = 0; c < channels; c++) counts[c]![pixels[at + c]!]!++;
  const perChannel = pixels.length / channels;
  const mean = counts.map((histogram) => histogram.reduce((sum, count, value) => sum + count * value, 0) / perChannel);
  const variance = counts.map(
    (histogram, c) => histogram.reduce((sum, count, value) => sum + count * (value - mean[c]!) ** 2, 0) / perChannel,
  );
  return { mean: mean.map((value) => value / 255), std: variance.map((value) => (value > 0 ? Math.sqrt(value) / 255 : 1)) };
}

/**
 * Loads a folder. Without meta.json the classes are numbers, and mean and std are those of the selected train images.
 * @throws LETHE_DATA_MISSING, LETHE_DATA_META, LETHE_DATA_LABEL, LETHE_DATA_SHAPE, LETHE_NPY_DAMAGED, LETHE_NPY_UNSUPPORTED
 * (exit code 3), LETHE_DATA_TOO_FEW, LETHE_MEMORY_SHORT
 */
export async function loadNpyImages(directory: string, selection: DataSelection): Promise<Dataset> {
  const [trainFile, trainLabelFile, validationFile, validationLabelFile] = findNpyImages(directory);
  const meta = await readMeta(directory);
  const labels = { train: await readLabels(trainLabelFile!), validation: await readLabels(validationLabelFile!) };
  const largest = Math.max(...[labels.train, labels.validation].map((values) => values.reduce((top, label) => Math.max(top, label), 0)));
  const classNames = meta.classNames ?? Array.from({ length: largest + 1 }, (_, k) => `class ${k}`);
  if (largest >= classNames.length) {
    const expected = `labels from 0 to ${classNames.length - 1}, the classNames of ${metaName}`;
    throw damaged('LETHE_DATA_LABEL', `${directory} has labels without a class name`, expected, String(largest));
  }
  const chosen = {
    train: firstPerClass(labels.train, classNames.length, selection.trainPerClass, 'train'),
    validation: firstPerClass(labels.validation, classNames.length, selection.validationPerClass, 'validation'),
  };
  const { shape, pixels } = await readPixels([trainFile!, validationFile!], labels, chosen);
  const numTrain = chosen.train.length;
  const imageBytes = shape.height * shape.width * shape.channels;
  const normalisation =
    meta.mean && meta.std
      ? { mean: meta.mean, std: meta.std }
      : channelStatistics(pixels.subarray(0, numTrain * imageBytes), shape.channels);
  if (normalisation.mean.length !== shape.channels || normalisation.std.length !== shape.channels) {
    const received = `${normalisation.mean.length} and ${normalisation.std.length}`;
    throw damaged(
      'LETHE_DATA_META',
      `mean and std of ${metaName} do not fit the images`,
      `${shape.channels} values each, one a channel`,
      received,
    );
  }
  const dataset = createDataset({
    name: 'npy',
    description: `${meta.description ?? 'images of one’s own'}, ${numTrain} train and ${chosen.validation.length} validation images in .npy files`,
    ...shape,
    numClasses: classNames.length,
    classNames,
    numTrain,
    numValidation: chosen.validation.length,
    pixels,
    labels: Int32Array.from([...pick(labels.train, chosen.train), ...pick(labels.validation, chosen.validation)]),
    sourceIndices: chosen.train,
    ...normalisation,
  });
  // unlike that of a published data set the normalisation can change under the same pixels
  return { ...dataset, sha256: sha256(`${dataset.sha256} ${JSON.stringify(normalisation)}`) };
}

function pick(values: Int32Array, at: Int32Array): Int32Array {
  return at.map((position) => values[position]!);
}

interface PerSplit {
  train: Int32Array;
  validation: Int32Array;
}

/** (train and validation, height, width, channels) of the chosen images; files: of train and validation images. */
async function readPixels(files: string[], labels: PerSplit, chosen: PerSplit): Promise<{ shape: ImageShape; pixels: Uint8Array }> {
  const train = await NpyFile.open(files[0]!);
  try {
    const validation = await NpyFile.open(files[1]!);
    try {
      const [shape, other] = [imageShape(train, labels.train), imageShape(validation, labels.validation)];
      if (JSON.stringify(shape) !== JSON.stringify(other)) {
        const received = `(${train.shape.join(', ')}) and (${validation.shape.join(', ')})`;
        throw damaged(
          'LETHE_DATA_SHAPE',
          'train and validation images differ in shape',
          'one height, width and number of channels',
          received,
        );
      }
      const pixels = pixelBytes((chosen.train.length + chosen.validation.length) * train.columns, files[0]!);
      const trainBytes = chosen.train.length * train.columns;
      await readImages(train, chosen.train, pixels.subarray(0, trainBytes));
      await readImages(validation, chosen.validation, pixels.subarray(trainBytes));
      return { shape, pixels };
    } finally {
      await validation.close();
    }
  } finally {
    await train.close();
  }
}

/** One array holds all pixels, and an array ends at 4 GiB. */
function pixelBytes(bytes: number, file: string): Uint8Array {
  if (bytes <= 2 ** 32) return new Uint8Array(nativeBuffer(bytes));
  throw new LetheError('LETHE_MEMORY_SHORT', `${file} and its validation images are too large for one data set`, {
    expected: `at most ${2 ** 32} bytes of pixels`,
    received: `${bytes} bytes`,
    action: 'Use smaller images or fewer examples per class.',
    exitCode: ExitCode.environment,
  });
}

export const npySource: DataSource = {
  name: 'npy',
  describe: `images of your own: a data directory with ${npyFileNames.join(', ')}`,
  async load({ directory, ...selection }) {
    if (directory !== undefined) return loadNpyImages(directory, selection);
    throw new LetheError('LETHE_DATA_DIRECTORY', 'images in .npy files need a data directory', {
      expected: '--data DIR or the environment variable LETHE_DATA',
      received: 'neither',
    });
  },
};
