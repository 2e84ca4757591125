/** The ends of the scale (D.4 I and V): do nothing, retrain fully, retrain partly. */
import type { MethodSetting, Schedule, TrainRecipe } from '../types.js';
import type { DirectMethod, ReferenceMethod } from './method.js';
import { choice, wholeNumber } from './setting.js';

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

/** How a partial retraining meets its end. The paper says neither; 'cut' needs no models of its own. */
const endings = ['cut', 'compressed'] as const;

export const partialRetrain: ReferenceMethod = {
  name: 'partial-retrain',
  title: 'Partial retraining',
  description:
    'A shorter full retraining (paper, D.4 I): its first epochs on the same learning rate schedule (cut), or with the schedule compressed ' +
    'to the length, which ends at its small learning rates (compressed).',
  kind: 'reference',
  parameters: {
    epochs: wholeNumber(1, 'epochs to train for'),
    schedule: choice(endings, "the recipe's learning rate schedule, cut off or compressed to the length"),
  },
  paperGrid: (recipe) => {
    const lengths = partialFractions.map((fraction) => Math.max(1, Math.round(fraction * recipe.epochs)));
    const possible = [...new Set(lengths)].filter((epochs) => epochs < recipe.epochs);
    return possible.length > 0 ? { epochs: possible, schedule: [...endings] } : {};
  },
  presets: {},
  needs: { matchedOracles: true, datamodels: false },
  variant: (setting) => (isCompressed(setting) ? 'compressed' : undefined),
  ownRunPerLength: isCompressed,
  computeFraction: (sizes, _setting, atEpoch) => atEpoch / sizes.recipeEpochs,
};

/** Such a retraining shares no snapshots with another length: it has models of its own. */
export function isCompressed(setting: MethodSetting): boolean {
  return setting['schedule'] === 'compressed';
}

/** The recipe squeezed into fewer epochs: the same learning rates at the same fractions of the way. */
export function compressRecipe(recipe: TrainRecipe, epochs: number): TrainRecipe {
  return { ...recipe, epochs, schedule: compressSchedule(recipe.schedule, epochs / recipe.epochs) };
}

function compressSchedule(schedule: Schedule, ratio: number): Schedule {
  switch (schedule.kind) {
    case 'constant':
      return schedule;
    case 'triangle':
    case 'cosine':
      return { ...schedule, peakEpoch: schedule.peakEpoch * ratio };
    case 'exponential':
      return { ...schedule, factor: schedule.factor ** (1 / ratio) };
    case 'steps':
      return { ...schedule, atEpochs: schedule.atEpochs.map((epoch) => epoch * ratio) };
  }
}
