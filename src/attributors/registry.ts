/**
 * The attributors, one file each. Plans, commands, stages and the report draw on this list for all they know of an attributor: adding one is
 * its file (two with native code) and its place here, which is that in figures.
 */
import { didYouMean, LetheError } from '../errors.js';
import type { AttributorName, FitOptions, Masks } from '../types.js';
import type { AttributionSource, Attributor, Design, DesignOptions } from './attributor.js';
import { covariance } from './covariance.js';
import { ensembleOf } from './ensemble.js';
import { lasso } from './lasso.js';
import { marginal } from './marginal.js';
import { checkOptions } from './options.js';
import { withPrior } from './prior.js';
import { ridge } from './ridge.js';

const priors = [ridge, covariance];

export const attributors: readonly Attributor[] = [
  withPrior(lasso, priors),
  marginal,
  withPrior(ridge, priors),
  covariance,
  ensembleOf([lasso, marginal, ridge, covariance], ['covariance', 'ridge']),
];

export const attributorNames: readonly AttributorName[] = attributors.map(({ name }) => name);

export const defaultAttributor = attributors[0]!;

/** @throws LETHE_ATTRIBUTOR_UNKNOWN (exit code 2) */
export function attributorOf({ estimator }: Pick<FitOptions, 'estimator'>): Attributor {
  const attributor = attributors.find(({ name }) => name === estimator);
  if (attributor) return attributor;
  throw new LetheError('LETHE_ATTRIBUTOR_UNKNOWN', `there is no attributor "${estimator}"`, {
    expected: attributorNames.join(', '),
    received: estimator,
    action: didYouMean(estimator, attributorNames),
  });
}

/**
 * The design that all targets of a fit share, of the attributor that the options name.
 * @throws LETHE_SHAPE_MISMATCH, LETHE_FIT_OPTION, LETHE_ATTRIBUTOR_UNKNOWN (exit code 2)
 */
export function openDesign(masks: Masks, options: FitOptions, where: DesignOptions & Pick<AttributionSource, 'points'>): Design {
  const { numModels, numTrain, bits } = masks;
  if (!(numModels >= 1 && numTrain >= 1 && bits.length === numModels * Math.ceil(numTrain / 8))) {
    throw new LetheError('LETHE_SHAPE_MISMATCH', 'the masks are not what they say', {
      expected: 'at least one model and one train example, and ceil(numTrain / 8) bytes a model',
      received: `${numModels} models, ${numTrain} examples, ${bits.length} bytes`,
    });
  }
  const attributor = attributorOf(options);
  checkOptions(attributor, options, numModels);
  const { device = 'cpu' } = where;
  if (!attributor.devices.includes(device)) {
    throw new LetheError('LETHE_FIT_OPTION', `${attributor.name} is not fitted on ${device}`, {
      expected: attributor.devices.join(', '),
      received: device,
      action: 'Use --device cpu.',
    });
  }
  const { points } = where;
  return attributor.open({ masks, ...(points ? { points } : {}) }, options, where);
}
