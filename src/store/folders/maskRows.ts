/** mask-rows.npy: which masks a fit has seen, beside its datamodels. Tells held-out masks from the fit's own, wherever the folder goes. */
import path from 'node:path';
import { errorCode } from '../../errors.js';
import type { Masks } from '../../types.js';
import { readWhole, sha256 } from '../disk/files.js';
import { decodeJson } from '../disk/json.js';
import { fitLayout } from './layout.js';
import { type NpyArray, readNpy, writeNpy } from '../formats/npy.js';

/** Of each sha256: two of 20,000 masks agree by chance with a probability of 1e-11. */
const digestBytes = 8;

/** Writes (models, 8) bytes into the folder of the datamodels. @throws LETHE_DISK_FULL, LETHE_FILE_UNWRITABLE (exit code 4) */
export async function writeMaskRows(folder: string, masks: Masks): Promise<string> {
  const rows = Buffer.concat(digests(masks).map((digest) => Buffer.from(digest, 'hex')));
  await writeNpy(path.join(folder, fitLayout.maskRows), [masks.numModels, digestBytes], rows);
  return fitLayout.maskRows;
}

/**
 * How many of the masks are among those of the fit whose datamodels lie in the folder; undefined where the folder does not say.
 * @throws LETHE_NPY_DAMAGED (exit code 3)
 */
export async function countSeenMasks(folder: string, masks: Masks): Promise<number | undefined> {
  const stored = await readIfThere(path.join(folder, fitLayout.maskRows));
  if (!stored) return (await fittedMasks(folder)) === sha256(masks.bits) ? masks.numModels : undefined;
  const rows = Buffer.from(stored.data as Uint8Array).toString('hex');
  const width = 2 * digestBytes;
  const seen = new Set(Array.from({ length: rows.length / width }, (_, row) => rows.slice(row * width, (row + 1) * width)));
  return digests(masks).filter((digest) => seen.has(digest)).length;
}

/** The sha256 of all masks together: all that fits of earlier versions say. */
async function fittedMasks(folder: string): Promise<string | undefined> {
  const bytes = await readWhole(path.join(folder, fitLayout.record));
  const record = bytes && (decodeJson(bytes, fitLayout.record) as { command?: { masks?: { sha256?: string } } });
  return record?.command?.masks?.sha256;
}

async function readIfThere(file: string): Promise<NpyArray | undefined> {
  try {
    return await readNpy(file);
  } catch (error) {
    if (errorCode(error) === 'LETHE_FILE_MISSING') return undefined;
    throw error;
  }
}

/** Hexadecimal. */
function digests({ numModels, bits }: Masks): string[] {
  const rowBytes = bits.length / numModels;
  return Array.from({ length: numModels }, (_, row) =>
    sha256(bits.subarray(row * rowBytes, (row + 1) * rowBytes)).slice(0, 2 * digestBytes),
  );
}
