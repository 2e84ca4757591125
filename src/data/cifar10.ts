/**
 * CIFAR-10 (A. Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", 2009) from a folder in the official binary layout:
 * records of one label byte, then 1,024 red, 1,024 green and 1,024 blue bytes (planes of 32 rows).
 */
import fs from 'node:fs/promises';
import path from 'node:path';
import { ExitCode, LetheError } from '../errors.js';
import { nativeBuffer } from '../native/memory.js';
import { damaged, readText } from '../store/disk/files.js';
import type { Dataset } from '../types.js';
import { type FoundFile, findFile, readFound } from './compressedFile.js';
import { createDataset } from './dataset.js';
import { type ForeignData, isCifar100, recogniseForeign } from './foreign.js';
import { firstPerClass } from './perClass.js';
import type { DataSelection, DataSource } from './source.js';
import { Sums } from './sums.js';

const side = 32;
const planeBytes = side * side;
const channels = 3;
export const imageBytes = planeBytes * channels;
const recordBytes = 1 + imageBytes;
const numClasses = 10;

/** One way to lay CIFAR-10 out in files; `records`: exact number in each file, or undefined for any number up to the official one. */
interface Layout {
  name: 'official' | 'single';
  train: string[];
  test: string[];
  records: number | undefined;
}

const layouts: Layout[] = [
  { name: 'official', train: [1, 2, 3, 4, 5].map((k) => `data_batch_${k}.bin`), test: ['test_batch.bin'], records: 10000 },
  { name: 'single', train: ['train.bin'], test: ['test.bin'], records: undefined },
];
const maxTrain = 50000;
const maxTest = 10000;
/** Class names, or an index for each train record. */
const maxTextBytes = 1 << 20;
/** No file of any layout is larger. */
export const maxFileBytes = maxTrain * recordBytes;
const officialClassNames = ['airplane', 'automobile', 'bird', 'cat', 'deer', 'dog', 'frog', 'horse', 'ship', 'truck'];
/** Folder inside the official archive: accepted below the data directory for those who unpacked it by hand. */
export const archiveFolder = 'cifar-10-batches-bin';

export interface Cifar10Files {
  directory: string;
  layout: Layout['name'];
  train: FoundFile[];
  test: FoundFile[];
  sums: Sums;
  /** Choices made, for people. */
  notes: string[];
}

async function whatIsAt(directory: string): Promise<string> {
  const there = await fs.stat(directory).catch(() => undefined);
  return there ? 'none of these files' : 'no such folder';
}

/**
 * @throws LETHE_DATA_MISSING when the folder holds no complete layout, LETHE_DATA_AMBIGUOUS when it holds two, LETHE_DATA_FOREIGN when it
 * holds CIFAR in a form that is not read, LETHE_DATA_SUMS (exit code 3)
 */
export async function findCifar10(directory: string): Promise<Cifar10Files> {
  const candidates: { folder: string; layout: Layout; train: (FoundFile | undefined)[]; test: (FoundFile | undefined)[] }[] = [];
  for (const folder of [directory, path.join(directory, archiveFolder)]) {
    for (const layout of layouts) {
      const train = await Promise.all(layout.train.map((name) => findFile(folder, name)));
      const test = await Promise.all(layout.test.map((name) => findFile(folder, name)));
      if ([...train, ...test].some((file) => file !== undefined)) candidates.push({ folder, layout, train, test });
    }
  }
  if (candidates.length > 1) {
    throw new LetheError('LETHE_DATA_AMBIGUOUS', `${directory} holds CIFAR-10 files of more than one layout`, {
      expected: 'either data_batch_1..5.bin and test_batch.bin, or train.bin and test.bin',
      received: candidates.map(({ folder, layout }) => `${layout.name} files in ${folder}`).join(' and '),
      action: 'Keep each set in a folder of its own.',
      exitCode: ExitCode.damagedInput,
    });
  }
  const found = candidates[0];
  const missing = found
    ? [...found.layout.train, ...found.layout.test].filter((_, k) => [...found.train, ...found.test][k] === undefined)
    : ['data_batch_1.bin'];
  const foreign = await foreignIn(directory, missing.length === 0 ? found : undefined);
  if (foreign) {
    const expected = 'the binary version of CIFAR-10, or images in .npy files';
    throw damaged('LETHE_DATA_FOREIGN', `${directory} holds data in a form that is not read`, expected, foreign.found, foreign.action);
  }
  if (!found || missing.length > 0) {
    throw new LetheError('LETHE_DATA_MISSING', `${directory} does not hold CIFAR-10`, {
      expected: 'data_batch_1..5.bin and test_batch.bin, or train.bin and test.bin, plain or as .gz or .br',
      received: found ? `no ${missing.join(', ')}` : await whatIsAt(directory),
      action: (await folderBelow(directory)) ?? `Run: lethe data fetch cifar10 --to ${directory}`,
      exitCode: ExitCode.damagedInput,
    });
  }
  const files = { train: found.train as FoundFile[], test: found.test as FoundFile[] };
  const notes = [...files.train, ...files.test]
    .filter((file) => file.alternatives.length > 0)
    .map((file) => `${path.basename(file.path)} is read, ${file.alternatives.join(' and ')} beside it is not`);
  return { directory: found.folder, layout: found.layout.name, ...files, sums: await Sums.read(found.folder), notes };
}

/** `complete`: files that have the names of a layout; those of CIFAR-100 have the same. */
async function foreignIn(directory: string, complete?: { folder: string; layout: Layout }): Promise<ForeignData | undefined> {
  const official = complete && (complete.layout.name === 'official' || !(await isCifar100(complete.folder)));
  return official ? undefined : recogniseForeign(complete?.folder ?? directory);
}

/** What to do where a folder directly below holds the files; undefined: none does. */
async function folderBelow(directory: string): Promise<string | undefined> {
  const entries = await fs.readdir(directory, { withFileTypes: true }).catch(() => []);
  for (const { name } of entries.filter((entry) => entry.isDirectory()).sort((a, b) => a.name.localeCompare(b.name))) {
    const folder = path.join(directory, name);
    const present = await Promise.all(layouts.flatMap(({ train, test }) => [...train, ...test]).map((file) => findFile(folder, file)));
    if (present.some((file) => file !== undefined)) return `Give the folder of the files: ${folder}`;
  }
  return undefined;
}

/**
 * All records of the files in order.
 * @throws LETHE_DATA_SIZE when a file is no whole number of records or not as many as its layout has (exit code 3)
 */
async function readRecords(files: FoundFile[], layout: Layout['name'], maxRecords: number, sums: Sums): Promise<Buffer> {
  const exact = layouts.find((candidate) => candidate.name === layout)!.records;
  const limit = (exact ?? maxRecords) * recordBytes;
  const parts: Buffer[] = [];
  for (const file of files) {
    const bytes = await readFound(file, limit, sums);
    if (bytes.length === 0 || bytes.length % recordBytes !== 0 || (exact !== undefined && bytes.length !== limit)) {
      throw new LetheError('LETHE_DATA_SIZE', `${file.path} has the wrong size`, {
        expected: exact === undefined ? `a multiple of ${recordBytes} bytes, not 0` : `${limit} bytes`,
        received: `${bytes.length} bytes${file.compression === 'none' ? '' : ' after decompression'}`,
        action: 'Copy or fetch the file again.',
        exitCode: ExitCode.damagedInput,
      });
    }
    parts.push(bytes);
  }
  return parts.length === 1 ? parts[0]! : Buffer.concat(parts);
}

/** Positions of the first `perClass` records of every class, ascending; 0 takes all. */
function selectRecords(records: Buffer, perClass: number, split: string): Int32Array {
  const labels = Uint8Array.from({ length: records.length / recordBytes }, (_, record) => records[record * recordBytes]!);
  const wrong = labels.findIndex((label) => label >= numClasses);
  if (wrong < 0) return firstPerClass(labels, numClasses, perClass, split);
  throw new LetheError('LETHE_DATA_LABEL', `record ${wrong} of the ${split} records has no CIFAR-10 label`, {
    expected: `0 to ${numClasses - 1}`,
    received: String(labels[wrong]),
    action: 'The file is damaged or in another layout; lethe data info shows what is there.',
    exitCode: ExitCode.damagedInput,
  });
}

/** Writes the pixels of one record as (32, 32, 3) and returns its label. */
function unpackRecord(records: Buffer, record: number, pixels: Uint8Array): number {
  const start = record * recordBytes;
  for (let p = 0; p < planeBytes; p++) {
    for (let c = 0; c < channels; c++) pixels[p * channels + c] = records[start + 1 + c * planeBytes + p]!;
  }
  return records[start]!;
}

/** The text of a small file beside the records. */
async function readBeside({ directory, sums }: Cifar10Files, name: string): Promise<{ file: string; text: string | undefined }> {
  const file = path.join(directory, name);
  await sums.requireFile(name);
  return { file, text: await readText(file, maxTextBytes) };
}

async function readClassNames(files: Cifar10Files): Promise<string[]> {
  const { file, text } = await readBeside(files, 'batches.meta.txt');
  if (text === undefined) return officialClassNames;
  const names = text
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line !== '');
  if (names.length === numClasses && new Set(names).size === numClasses) return names;
  throw new LetheError('LETHE_DATA_CLASSES', `${file} does not name the classes`, {
    expected: `${numClasses} different names, one a line`,
    received: `${names.length} lines, ${new Set(names).size} different`,
    exitCode: ExitCode.damagedInput,
  });
}

/** Official train index of every train record: train_index.txt of a selection, else the position itself. */
async function readSourceIndices(files: Cifar10Files, numRecords: number): Promise<Int32Array> {
  const { file, text } = await readBeside(files, 'train_index.txt');
  if (text === undefined) return Int32Array.from({ length: numRecords }, (_, record) => record);
  const words = text.split(/\s+/).filter((word) => word !== '');
  const valid = words.every((word) => /^\d{1,5}$/.test(word) && Number(word) < maxTrain);
  if (valid && words.length === numRecords && new Set(words.map(Number)).size === numRecords) return Int32Array.from(words, Number);
  throw new LetheError('LETHE_DATA_INDEX', `${file} does not fit the train records`, {
    expected: `${numRecords} different whole numbers below ${maxTrain}, one a line`,
    received: `${words.length} entries${valid ? '' : ', some of them no such number'}`,
    exitCode: ExitCode.damagedInput,
  });
}

/** Loads a folder in the official layout; see findCifar10 and readRecords for the errors. */
export async function loadCifar10(
  directory: string,
  selection: DataSelection,
  note: (line: string) => void = () => undefined,
): Promise<Dataset> {
  const files = await findCifar10(directory);
  for (const line of files.notes) note(line);
  const classNames = await readClassNames(files);
  const train = await readRecords(files.train, files.layout, maxTrain, files.sums);
  const test = await readRecords(files.test, files.layout, maxTest, files.sums);
  const sourceIndices = await readSourceIndices(files, train.length / recordBytes);
  if (selection.trainPerClass === 0 && train.length < maxTrain * recordBytes) {
    note(`${directory} holds ${train.length / recordBytes} of the ${maxTrain} train images of CIFAR-10, and all of these are taken`);
  }
  const trainRecords = selectRecords(train, selection.trainPerClass, 'train');
  const testRecords = selectRecords(test, selection.validationPerClass, 'validation');
  const numPoints = trainRecords.length + testRecords.length;
  const pixels = new Uint8Array(nativeBuffer(numPoints * imageBytes));
  const labels = new Int32Array(numPoints);
  trainRecords.forEach((record, k) => {
    labels[k] = unpackRecord(train, record, pixels.subarray(k * imageBytes, (k + 1) * imageBytes));
  });
  testRecords.forEach((record, k) => {
    const point = trainRecords.length + k;
    labels[point] = unpackRecord(test, record, pixels.subarray(point * imageBytes, (point + 1) * imageBytes));
  });
  return createDataset({
    name: 'cifar10',
    description: `CIFAR-10, ${trainRecords.length} train and ${testRecords.length} validation images of the files in the data directory`,
    height: side,
    width: side,
    channels,
    numClasses,
    classNames,
    numTrain: trainRecords.length,
    numValidation: testRecords.length,
    pixels,
    labels,
    sourceIndices: trainRecords.map((record) => sourceIndices[record]!),
    mean: [0.4914, 0.4822, 0.4465],
    std: [0.2023, 0.1994, 0.201],
  });
}

export const cifar10Source: DataSource = {
  name: 'cifar10',
  describe: 'CIFAR-10, 32 x 32 colour images in 10 classes, from a data directory in the official binary layout',
  async load({ directory, note, ...selection }) {
    if (directory === undefined) {
      throw new LetheError('LETHE_DATA_DIRECTORY', 'CIFAR-10 needs a data directory', {
        expected: '--data DIR or the environment variable LETHE_DATA',
        received: 'neither',
        action: 'Run: lethe data fetch cifar10 --to DIR',
      });
    }
    return loadCifar10(directory, selection, note);
  },
};
