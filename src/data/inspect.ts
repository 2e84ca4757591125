/** What a data directory holds, problems included: `lethe data info`. */
import path from 'node:path';
import { LetheError } from '../errors.js';
import { hashFile, sha256 } from '../store/disk/files.js';
import type { Dataset } from '../types.js';
import { type Cifar10Files, findCifar10, loadCifar10, maxFileBytes } from './cifar10.js';
import { readFound } from './compressedFile.js';
import { classCounts } from './dataset.js';
import { cifar10Archive } from './fetch.js';
import { findNpyImages, holdsNpyImages, loadNpyImages } from './npyImages.js';
import type { DataSelection } from './source.js';

export interface FileReport {
  /** Below the directory. */
  file: string;
  compression: 'none' | 'gzip' | 'brotli';
  /** Of the content, after decompression. */
  bytes: number;
  sha256: string;
  /** Whether the content is that of the official file of this name; absent where there is none. */
  official?: boolean;
}

export interface DirectoryReport {
  directory: string;
  layout?: Cifar10Files['layout'] | 'npy';
  files: FileReport[];
  dataset?: Omit<Dataset, 'pixels' | 'labels' | 'classNames' | 'sourceIndices'> & {
    classes: { name: string; train: number; validation: number }[];
    pixelBytes: number;
  };
  notes: string[];
  problems: { code: string; message: string }[];
}

/** Runs a step; what is wrong with the data goes into the report. */
type Collect = (step: () => Promise<void>) => Promise<void>;

const everything: DataSelection = { trainPerClass: 0, validationPerClass: 0 };

/** Never throws for what is wrong with the data: that is what it reports. */
export async function inspectDirectory(directory: string): Promise<DirectoryReport> {
  const report: DirectoryReport = { directory, files: [], notes: [], problems: [] };
  const collect: Collect = async (step) => {
    try {
      await step();
    } catch (error) {
      if (!(error instanceof LetheError)) throw error;
      if (!report.problems.some(({ message }) => message === error.message))
        report.problems.push({ code: error.code, message: error.message });
    }
  };
  await collect(() => (holdsNpyImages(directory) ? inspectNpyImages(report) : inspectCifar10(report, collect)));
  return report;
}

async function inspectNpyImages(report: DirectoryReport): Promise<void> {
  const files = findNpyImages(report.directory);
  report.layout = 'npy';
  for (const file of files) report.files.push({ file: path.basename(file), compression: 'none', ...(await hashFile(file))! });
  report.dataset = summary(await loadNpyImages(report.directory, everything));
}

async function inspectCifar10(report: DirectoryReport, collect: Collect): Promise<void> {
  const { directory } = report;
  const found = await findCifar10(directory);
  report.layout = found.layout;
  for (const file of [...found.train, ...found.test]) {
    await collect(async () => {
      const content = await readFound(file, maxFileBytes, found.sums);
      report.files.push({
        file: path.relative(directory, file.path),
        compression: file.compression,
        bytes: content.length,
        ...identify(file.name, content),
      });
    });
  }
  report.dataset = summary(await loadCifar10(directory, everything, (line) => report.notes.push(line)));
  if (report.files.some(({ official }) => official === false)) {
    report.notes.push('not the official pixels: results are not comparable with those on CIFAR-10 as published');
  }
}

function identify(name: string, content: Uint8Array): { sha256: string; official?: boolean } {
  const sum = sha256(content);
  const member = cifar10Archive.members.find((candidate) => path.posix.basename(candidate.name) === name);
  return member ? { sha256: sum, official: sum === member.sha256 } : { sha256: sum };
}

function summary(dataset: Dataset): NonNullable<DirectoryReport['dataset']> {
  const { name, description, height, width, channels, numClasses, numTrain, numValidation, mean, std, sha256: identity } = dataset;
  const { train, validation } = classCounts(dataset);
  return {
    name,
    description,
    height,
    width,
    channels,
    numClasses,
    numTrain,
    numValidation,
    mean,
    std,
    sha256: identity,
    classes: dataset.classNames.map((className, k) => ({ name: className, train: train[k]!, validation: validation[k]! })),
    pixelBytes: dataset.pixels.length,
  };
}
