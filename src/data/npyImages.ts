/**
 * Images of one's own as NumPy files in a folder: train_images.npy and validation_images.npy, uint8 (images, height, width, channels) or
 * (images, height, width) for grey ones; train_labels.npy and validation_labels.npy, integers (images); and, optionally, meta.json.
 */
import fs from 'node:fs';
import path from 'node:path';
import { ExitCode, LetheError } from '../errors.js';
import { nativeBuffer } from '../native/memory.js';
import { damaged, sha256 } from '../store/disk/files.js';
import { decodeJson, readJsonBytes } from '../store/disk/json.js';
import { NpyFile } from '../store/formats/npyFile.js';
import { readWholeNumbers } from '../store/formats/npyIntegers.js';
import { type Dataset, mostClasses } from '../types.js';
import { createDataset } from './dataset.js';
import { firstPerClass } from './perClass.js';
import type { DataSelection, DataSource } from './source.js';
import { Sums } from './sums.js';

const npyFileNames = ['train_images.npy', 'train_labels.npy', 'validation_images.npy', 'validation_labels.npy'] as const;
const metaName = 'meta.json';
/** Images are read in pieces of about this size. */
const pieceBytes = 1 << 24;

interface Meta {
  description?: string | undefined;
  classNames?: string[] | undefined;
  /** Per channel on the 0..1 scale; both or none. */
  mean?: number[] | undefined;
  std?: number[] | undefined;
}

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
  const content = await readJsonBytes(file);
  if (content === undefined) return {};
  const { z } = await import('zod'); // loaded where such a file is there
  const schema = z.strictObject({
    description: z.string().max(200).optional(),
    classNames: z.array(z.string()).min(1).max(mostClasses).optional(),
    mean: z.array(z.number()).optional(),
    std: z.array(z.number().positive()).optional(),
  });
  const parsed = schema.safeParse(decodeJson(content, file));
  if (parsed.success && (parsed.data.mean === undefined) === (parsed.data.std === undefined)) {
    checkScale(parsed.data, file);
    return parsed.data;
  }
  const received = parsed.success
    ? 'one of mean and std'
    : parsed.error.issues.map(({ path: at, message }) => `${at.join('.')}: ${message}`);
  const expected =
    'an object with description, classNames, mean and std (per channel, on the 0..1 scale), each optional, mean and std together';
  throw damaged('LETHE_DATA_META', `${file} does not describe a data set`, expected, String(received));
}

/** Mean and std of pixels / 255. Where the pixels differ at all, their deviation is about one grey level at least. */
function checkScale({ mean = [], std = [] }: Meta, file: string): void {
  if (mean.every((value) => value >= 0 && value <= 1) && std.every((value) => value >= 1 / 255 && value <= 1)) return;
  const ofBytes =
    mean.some((value) => value > 1) &&
    mean.every((value) => value >= 0 && value <= 255) &&
    std.every((value) => value >= 1 && value <= 255);
  throw damaged(
    'LETHE_DATA_META',
    `mean and std of ${file} are not on the scale of the pixels`,
    'mean from 0 to 1 and std from 1/255 to 1, as pixels are divided by 255',
    `mean ${mean.join(', ')}; std ${std.join(', ')}${ofBytes ? ', which are of the 0..255 scale' : ''}`,
    ofBytes ? 'Divide them by 255.' : `Leave both out of ${metaName}: those of the train images are taken.`,
  );
}

function readLabels(file: string): Promise<Int32Array> {
  return readWholeNumbers(file, mostClasses, (received, action) =>
    damaged('LETHE_DATA_LABEL', `${file} holds no labels`, `whole numbers (images), from 0 to ${mostClasses - 1}`, received, action),
  );
}

/** channelsGiven: of meta.json, in which an unusual number of channels can be stated. */
function imageShape(file: NpyFile, labels: Int32Array, channelsGiven: number | undefined): ImageShape {
  const [images, height, width, channels = 1] = file.shape;
  const expected = `uint8 (${labels.length}, height, width, channels), an image for each label`;
  const received = `${file.dtype} (${file.shape.join(', ')})`;
  const refused = (action?: string): LetheError =>
    damaged('LETHE_DATA_SHAPE', `${file.path} holds no such images`, expected, received, action);
  const fits = file.shape.length >= 3 && file.shape.length <= 4 && images === labels.length && file.columns > 0;
  if (fits && channels > mostUsualChannels && height! <= mostUsualChannels && channels !== channelsGiven) {
    throw refused(
      'These look like (N, C, H, W): save numpy.transpose(images, (0, 2, 3, 1)). ' +
        `If there are ${channels} channels indeed, state their mean and std in ${metaName}.`,
    );
  }
  if (fits && file.dtype === 'uint8') return { height: height!, width: width!, channels };
  throw refused(fits ? adviceForPixels(file) : undefined);
}

/** Grey, with alpha, colour, colour with alpha. */
const mostUsualChannels = 4;

function adviceForPixels({ dtype }: NpyFile): string {
  if (!dtype.startsWith('float')) return 'If they lie between 0 and 255, save images.astype(numpy.uint8).';
  return 'If they lie between 0 and 1, save numpy.rint(255 * images).astype(numpy.uint8).';
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
 * @throws LETHE_DATA_MISSING, LETHE_DATA_SUMS, LETHE_DATA_CHECKSUM, LETHE_DATA_META, LETHE_DATA_LABEL, LETHE_DATA_SHAPE, LETHE_NPY_DAMAGED, LETHE_NPY_UNSUPPORTED
 * (exit code 3), LETHE_DATA_TOO_FEW, LETHE_MEMORY_SHORT
 */
export async function loadNpyImages(directory: string, selection: DataSelection): Promise<Dataset> {
  const [trainFile, trainLabelFile, validationFile, validationLabelFile] = findNpyImages(directory);
  const sums = await Sums.read(directory);
  for (const name of [...npyFileNames, metaName]) await sums.requireFile(name);
  const meta = await readMeta(directory);
  const labels = { train: await readLabels(trainLabelFile!), validation: await readLabels(validationLabelFile!) };
  const largest = [labels.train, labels.validation].reduce((top, values) => values.reduce((most, label) => Math.max(most, label), top), 0);
  const classNames = meta.classNames ?? Array.from({ length: largest + 1 }, (_, k) => `class ${k}`);
  if (largest >= classNames.length) {
    const expected = `labels from 0 to ${classNames.length - 1}, the classNames of ${metaName}`;
    throw damaged('LETHE_DATA_LABEL', `${directory} has labels without a class name`, expected, String(largest));
  }
  const chosen = {
    train: firstPerClass(labels.train, classNames.length, selection.trainPerClass, 'train'),
    validation: firstPerClass(labels.validation, classNames.length, selection.validationPerClass, 'validation'),
  };
  const { shape, pixels } = await readPixels([trainFile!, validationFile!], labels, chosen, meta.mean?.length);
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
async function readPixels(
  files: string[],
  labels: PerSplit,
  chosen: PerSplit,
  channelsGiven: number | undefined,
): Promise<{ shape: ImageShape; pixels: Uint8Array }> {
  const train = await NpyFile.open(files[0]!);
  try {
    const validation = await NpyFile.open(files[1]!);
    try {
      const [shape, other] = [imageShape(train, labels.train, channelsGiven), imageShape(validation, labels.validation, channelsGiven)];
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
