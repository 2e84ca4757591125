/** The ends of the scale (D.4 I and V): do nothing, retrain fully, retrain partly. */
import type { TrainJob, TrainRecipe } from '../types.js';
import type { DirectMethod, ReferenceMethod, UnlearnInput } from './method.js';
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
  buildJob: retrainingJob,
  computeFraction: () => 1,
};

/** The paper gives no lengths: a dozen-fold range that shows where retraining overtakes the fine-tuning methods. */
const partialFractions = [1 / 12, 1 / 6, 1 / 3, 1 / 2, 2 / 3, 5 / 6];

export const partialRetrain: ReferenceMethod = {
  name: 'partial-retrain',
  title: 'Partial retraining',
  description: 'The first epochs of a full retraining, on the same learning rate schedule (paper, D.4 I).',
  kind: 'reference',
  parameters: { epochs: wholeNumber(1, 'epochs of the recipe to train for') },
  paperGrid: (recipe) => {
    const lengths = partialFractions.map((fraction) => Math.round(fraction * recipe.epochs));
    const possible = [...new Set(lengths)].filter((epochs) => epochs >= 1 && epochs < recipe.epochs);
    return possible.length > 0 ? { epochs: possible } : {};
  },
  presets: {},
  needs: { matchedOracles: true, datamodels: false },
  buildJob: retrainingJob,
  computeFraction: (sizes, _setting, atEpoch) => atEpoch / sizes.recipeEpochs,
};

/** A whole oracle training; a partial retraining is a snapshot of it, as the schedule is stated over all epochs. */
function retrainingJob(input: UnlearnInput): TrainJob {
  return recipeJob(input.recipe, input.retain, input.seed, input.modelIndex);
}

function recipeJob(recipe: TrainRecipe, indices: Int32Array, seed: number, modelIndex: number): TrainJob {
  const objective = { crossEntropy: 1, labelSmoothing: recipe.labelSmoothing };
  return {
    modelIndex,
    seed,
    epochs: recipe.epochs,
    passes: [{ terms: [{ indices, objective, weight: 1, batchSize: recipe.batchSize }], batchNorm: 'train' }],
    optimizer: recipe.optimizer,
    schedule: recipe.schedule,
  };
}
