/** Whether the masks of an LDS are held out: a model whose mask the fit has seen says little about others. */
import path from 'node:path';
import { LetheError } from '../errors.js';
import { countSeenMasks } from '../store/folders/maskRows.js';
import type { Masks } from '../types.js';

/** Of the masks, as the fit sees them: none of its own, some, all, or the folder of the datamodels does not say. */
export interface MaskOrigin {
  masks: 'held-out' | 'partly-fit' | 'fit' | 'unknown';
  /** NaN where unknown. */
  numSeen: number;
}

/**
 * `datamodels`: the file they are read from; what the fit has seen lies beside it.
 * @throws LETHE_MASKS_SEEN (exit code 2) when the fit has seen some, unless that is allowed
 */
export async function originOfMasks(datamodels: string, masks: Masks, file: string, allowSeen: boolean): Promise<MaskOrigin> {
  const numSeen = await countSeenMasks(path.dirname(datamodels), masks);
  if (numSeen === undefined) return { masks: 'unknown', numSeen: NaN };
  if (numSeen === 0) return { masks: 'held-out', numSeen };
  if (allowSeen) return { masks: numSeen === masks.numModels ? 'fit' : 'partly-fit', numSeen };
  throw new LetheError('LETHE_MASKS_SEEN', `${numSeen} of the ${masks.numModels} masks in ${file} are masks of the fit`, {
    expected: 'masks that the fit has not seen, of models held out from it',
    received: numSeen === masks.numModels ? 'only masks of the fit' : `${numSeen} that are equal to one of the fit`,
    action: 'Leave these models out, or give --allow-fit-masks: the score is then one of the fit, which is higher, and is called so.',
  });
}
