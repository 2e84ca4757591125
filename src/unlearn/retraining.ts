/** The ends of the scale (D.4 I and V): do nothing, retrain fully, retrain partly. */
import type { MethodSetting, Schedule, TrainRecipe } from '../types.js';
import type { DirectMethod, ReferenceMethod } from './method.js';
import { choice, numberOf, wholeNumber } from './setting.js';

/** Polygons in the square from -1 to 1, for symbols that vega has no name for. */
const star = 'M0,-1.25L0.29,-0.4L1.19,-0.39L0.47,0.15L0.73,1.01L0,0.5L-0.73,1.01L-0.47,0.15L-1.19,-0.39L-0.29,-0.4Z';
const crosswise = 'M-1,-0.6L-0.6,-1L0,-0.4L0.6,-1L1,-0.6L0.4,0L1,0.6L0.6,1L0,0.4L-0.6,1L-1,0.6L-0.4,0Z';

export const doNothing: DirectMethod = {
  name: 'do-nothing',
  label: 'do nothing',
  mark: { color: '#606060', shape: crosswise },
  description: 'The original model as it is (paper, D.4 V).',
  kind: 'direct',
  parameters: {},
  paperGrid: () => ({}),
  presets: {},
  needs: { matchedOracles: false, datamodels: false },
  isBound: true,
  logits: (input) => input.originalLogits,
  computeFraction: () => 0,
};

export const fullRetrain: ReferenceMethod = {
  name: 'full-retrain',
  label: 'full retrain',
  mark: { color: '#000000', shape: star },
  description: 'A new model trained on the retain set with the recipe of the originals: perfect unlearning (paper, D.4 I).',
  kind: 'reference',
  parameters: {},
  paperGrid: () => ({}),
  presets: {},
  needs: { matchedOracles: true, datamodels: false },
  isBound: true,
  computeFraction: () => 1,
};

/** The paper names no lengths. */
const partialFractions = [0.25, 0.5, 0.75];

/** How a partial retraining meets its end. The paper says neither; 'cut' needs no models of its own. */
const endings = ['cut', 'compressed'] as const;

export const partialRetrain: ReferenceMethod = {
  name: 'partial-retrain',
  label: 'partial retrain',
  mark: { color: '#56b4e9', shape: 'square' },
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
  ownRecipe: (recipe, setting) => (isCompressed(setting) ? compressRecipe(recipe, numberOf(setting, 'epochs')) : undefined),
  computeFraction: (sizes, _setting, atEpoch) => atEpoch / sizes.recipeEpochs,
};

/** Such a retraining shares no snapshots with another length. */
function isCompressed(setting: MethodSetting): boolean {
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
