/** What every data set has in common once its pixels are in memory: checks and identity. */
import crypto from 'node:crypto';
import { ExitCode, LetheError } from '../errors.js';
import { type Dataset, mostClasses } from '../types.js';

/**
 * Completes a data set with its identity: sha256 over the shape, the pixels and the labels.
 * @throws LETHE_DATA_SHAPE when lengths do not fit the shape, LETHE_DATA_CLASSES for one class or too many, LETHE_DATA_LABEL for a label
 * outside the classes (exit code 3)
 */
export function createDataset(parts: Omit<Dataset, 'sha256'>): Dataset {
  const numPoints = parts.numTrain + parts.numValidation;
  const numPixels = numPoints * parts.height * parts.width * parts.channels;
  const numIndices = parts.sourceIndices?.length ?? parts.numTrain;
  if (parts.pixels.length !== numPixels || parts.labels.length !== numPoints || parts.numTrain < 1 || numIndices !== parts.numTrain) {
    throw new LetheError('LETHE_DATA_SHAPE', `data set "${parts.name}" does not fit its shape`, {
      expected: `at least one train example, ${numPixels} pixel bytes and ${numPoints} labels`,
      received: `${parts.numTrain} train examples (${numIndices} source indices), ${parts.pixels.length} pixel bytes and ${parts.labels.length} labels`,
      exitCode: ExitCode.damagedInput,
    });
  }
  if (!(parts.numClasses >= 2 && parts.numClasses <= mostClasses)) {
    throw new LetheError('LETHE_DATA_CLASSES', `data set "${parts.name}" has a number of classes that cannot be learned here`, {
      expected: `2 to ${mostClasses} classes`,
      received: String(parts.numClasses),
      action: parts.numClasses < 2 ? 'A margin needs a second class.' : 'Keep the examples of fewer classes, and number these from 0.',
      exitCode: ExitCode.damagedInput,
    });
  }
  const wrong = parts.labels.findIndex((label) => label < 0 || label >= parts.numClasses);
  if (wrong >= 0) {
    throw new LetheError('LETHE_DATA_LABEL', `data set "${parts.name}" has a label outside its classes`, {
      expected: `labels from 0 to ${parts.numClasses - 1}`,
      received: `${parts.labels[wrong]} at point ${wrong}`,
      exitCode: ExitCode.damagedInput,
    });
  }
  return { ...parts, sha256: identity(parts) };
}

function identity(parts: Omit<Dataset, 'sha256'>): string {
  const shape = [parts.height, parts.width, parts.channels, parts.numClasses, parts.numTrain, parts.numValidation];
  const labels = new DataView(new ArrayBuffer(parts.labels.length * 4));
  parts.labels.forEach((label, point) => {
    labels.setInt32(point * 4, label, true);
  }); // little-endian everywhere
  return crypto.createHash('sha256').update(JSON.stringify(shape)).update(parts.pixels).update(labels).digest('hex');
}

/** Examples per class of the train points and of the validation points, each (numClasses). */
export function classCounts(dataset: Dataset): { train: number[]; validation: number[] } {
  const train = new Array<number>(dataset.numClasses).fill(0);
  const validation = new Array<number>(dataset.numClasses).fill(0);
  dataset.labels.forEach((label, point) => (point < dataset.numTrain ? train : validation)[label]!++);
  return { train, validation };
}
