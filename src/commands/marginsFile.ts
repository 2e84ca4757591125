/** Margins of logits in files. */
import { LetheError } from '../errors.js';
import { centreLogits } from '../evaluate/centre.js';
import { nativeMargins } from '../native/margins.js';
import { publishResult } from '../store/folders/claim.js';
import { encodeNpy, readNpy, toFloat32 } from '../store/formats/npy.js';
import { readWholeNumbers } from '../store/formats/npyIntegers.js';

/**
 * Writes z_y - logsumexp over j != y of z_j of every model and point: what LDS and KLOM are of.
 *
 * @example
 * await marginsOfFiles({ logits: 'oracle-logits.npy', labels: 'labels.npy', out: 'oracle-margins.npy' });
 *
 * @throws LETHE_OUTPUTS_SHAPE, LETHE_LABEL_RANGE, LETHE_SHAPE_MISMATCH, LETHE_OUT_TAKEN (exit code 2), LETHE_NPY_DAMAGED (3)
 */
export async function marginsOfFiles({ logits: file, labels: labelFile, out }: { logits: string; labels: string; out: string }) {
  const array = await readNpy(file);
  const { dtype, shape } = array;
  const [numModels, numPoints, numClasses] = shape.length === 2 ? [1, ...shape] : shape;
  if (!dtype.startsWith('float') || (shape.length !== 2 && shape.length !== 3) || numClasses! < 2) {
    throw new LetheError('LETHE_OUTPUTS_SHAPE', `${file} does not hold logits`, {
      expected: 'float16, float32 or float64 of shape (points, classes) or (models, points, classes)',
      received: `${dtype} of shape (${shape.join(', ')})`,
    });
  }
  const labels = await readWholeNumbers(labelFile, numClasses!, (received, action) => {
    const expected = `whole numbers from 0 to ${numClasses! - 1}, one a point`;
    return new LetheError('LETHE_LABEL_RANGE', `${labelFile} holds no labels of these logits`, {
      expected,
      received,
      ...(action === undefined ? {} : { action }),
    });
  });
  if (labels.length !== numPoints) {
    throw new LetheError('LETHE_SHAPE_MISMATCH', 'labels and logits do not fit', {
      expected: `${numPoints!} labels, one a point of ${file}`,
      received: `${labels.length}`,
    });
  }
  const logits = array.data instanceof Float64Array ? centreLogits(array.data, numClasses!) : toFloat32(array);
  const { margins } = await nativeMargins({ logits, labels, numClasses: numClasses! });
  await publishResult(out, encodeNpy([numModels!, numPoints], margins));
  return { numModels: numModels!, numPoints: numPoints };
}
