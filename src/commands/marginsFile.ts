/** Margins of logits in files. */
import { nativeMargins } from '../native/margins.js';
import { publishResult } from '../store/folders/claim.js';
import { encodeNpy } from '../store/formats/npy.js';
import { readLabelledLogits } from './labelledLogits.js';

/**
 * Writes z_y - logsumexp over j != y of z_j of every model and point: what LDS and KLOM are of.
 *
 * @example
 * await marginsOfFiles({ logits: 'oracle-logits.npy', labels: 'labels.npy', out: 'oracle-margins.npy' });
 *
 * @throws LETHE_LABEL_RANGE, LETHE_SHAPE_MISMATCH, LETHE_OUT_TAKEN (exit code 2), LETHE_NPY_DAMAGED (3)
 */
export async function marginsOfFiles({ logits: file, labels: labelFile, out }: { logits: string; labels: string; out: string }) {
  const { numModels, numPoints, ...given } = await readLabelledLogits(file, labelFile);
  const { margins } = await nativeMargins(given);
  await publishResult(out, encodeNpy([numModels, numPoints], margins));
  return { numModels, numPoints };
}
