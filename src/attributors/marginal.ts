/** The Lasso with X^T X replaced by its diagonal: soft-thresholded differences of means, in closed form and one pass. */
import type { LassoOptions } from '../types.js';
import type { Attributor } from './attributor.js';
import { describePath, pathOptions, pathRules } from './lasso.js';
import { openPathDesign } from './pathDesign.js';

export const marginal: Attributor = {
  name: 'marginal',
  title: 'marginal (difference of means)',
  mark: { color: '#e69f00', shape: 'square' },
  description: 'soft-thresholded correlations of outputs and masks: one pass',
  needs: () => ['subset-outputs'],
  devices: ['cpu', 'cuda'],
  isDense: () => false,
  options: pathOptions,
  rules: pathRules,
  baselineOf: 'lasso',
  isPooled: ({ select }) => select === 'pooled',
  describe: (options) => describePath('marginal', options),
  cost: (_, numModels) => numModels / 10000,
  open: (source, options, where) => openPathDesign('marginal', source, options as LassoOptions, [0], where),
};
