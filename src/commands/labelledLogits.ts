/** Logits and labels in files, checked against each other. */
import { LetheError } from '../errors.js';
import { centreLogits } from '../evaluate/centre.js';
import { readNpy, toFloat32 } from '../store/formats/npy.js';
import { readWholeNumbers } from '../store/formats/npyIntegers.js';
import { mostClasses } from '../types.js';

export interface LabelledLogits {
  numModels: number;
  numPoints: number;
  numClasses: number;
  /** (numModels, numPoints, numClasses) */
  logits: Float32Array;
  /** (numPoints) */
  labels: Int32Array;
}

/**
 * .npy (models, points, classes), or (points, classes) of one model, and integers (points).
 * @throws LETHE_SHAPE_MISMATCH, LETHE_LABEL_RANGE, LETHE_FILE_MISSING (exit code 2), LETHE_NPY_DAMAGED (3)
 */
export async function readLabelledLogits(file: string, labelFile: string): Promise<LabelledLogits> {
  const array = await readNpy(file);
  const { shape, data } = array;
  const received = `(${shape.join(', ')})`;
  if ((shape.length !== 2 && shape.length !== 3) || shape.includes(0)) {
    throw new LetheError('LETHE_SHAPE_MISMATCH', `${file} holds no logits`, {
      expected: '(models, points, classes) or (points, classes), none of them 0',
      received,
    });
  }
  const [numModels, numPoints, numClasses] = (shape.length === 2 ? [1, ...shape] : shape) as [number, number, number];
  if (numClasses < 2 || numClasses > mostClasses) {
    throw new LetheError('LETHE_SHAPE_MISMATCH', `${file} has a number of classes that cannot be told apart here`, {
      expected: `2 to ${mostClasses} classes`,
      received,
    });
  }
  const labels = await readWholeNumbers(labelFile, numClasses, (found, action) => {
    const advice = action === undefined ? {} : { action };
    const expected = `(points) whole numbers from 0 to ${numClasses - 1}`;
    return new LetheError('LETHE_LABEL_RANGE', `${labelFile} holds no labels of these logits`, { expected, received: found, ...advice });
  });
  if (labels.length !== numPoints) {
    throw new LetheError('LETHE_SHAPE_MISMATCH', 'logits and labels do not fit', {
      expected: `${numPoints} labels, as logits are (${shape.join(', ')})`,
      received: `${labels.length} labels`,
    });
  }
  const logits = data instanceof Float64Array ? centreLogits(data, numClasses) : toFloat32(array);
  return { numModels, numPoints, numClasses, logits, labels };
}
