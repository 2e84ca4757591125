/** The ends of the scale (D.4 I and V): do nothing, retrain fully, retrain partly. */
import type { DirectMethod, ReferenceMethod } from './method.js';
import { wholeNumber } from './setting.js';

export const doNothing: DirectMethod = {
  name: 'do-nothing',
  title: 'Do nothing',
  description: 'The original model as it is (paper, D.4 V).',
  kind: 'direct',
  parameters: {},
  paperGrid: () => ({}),
  presets: {},
  needs: { matchedOracles: false, datamodels: false },
  logits: (input) => input.originalLogits,
  computeFraction: () => 0,
};

export const fullRetrain: ReferenceMethod = {
  name: 'full-retrain',
  title: 'Full retraining',
  description: 'A new model trained on the retain set with the recipe of the originals: perfect unlearning (paper, D.4 I).',
  kind: 'reference',
  parameters: {},
  paperGrid: () => ({}),
  presets: {},
  needs: { matchedOracles: true, datamodels: false },
  computeFraction: () => 1,
};

/** The paper names no lengths. */
const partialFractions = [0.25, 0.5, 0.75];

export const partialRetrain: ReferenceMethod = {
  name: 'partial-retrain',
  title: 'Partial retraining',
  description: 'The first epochs of a full retraining, on the same learning rate schedule (paper, D.4 I).',
  kind: 'reference',
  parameters: { epochs: wholeNumber(1, 'epochs of the recipe to train for') },
  paperGrid: (recipe) => {
    const lengths = partialFractions.map((fraction) => Math.max(1, Math.round(fraction * recipe.epochs)));
    const possible = [...new Set(lengths)].filter((epochs) => epochs < recipe.epochs);
    return possible.length > 0 ? { epochs: possible } : {};
  },
  presets: {},
  needs: { matchedOracles: true, datamodels: false },
  computeFraction: (sizes, _setting, atEpoch) => atEpoch / sizes.recipeEpochs,
};
