/** The simple gradient baselines (D.4 II and III). */
import type { MethodSetting, Optimizer, TrainJob } from '../types.js';
import type { JobMethod, UnlearnInput } from './method.js';
import { numberOf, positive, wholeNumber } from './setting.js';

/** Of all baselines: docs/method-notes.md, "Baselines". */
export const baselineOptimizer: Optimizer = { kind: 'sgd', momentum: 0.9, weightDecay: 5e-4 };

const parameters = {
  learningRate: positive(1e-3, 'constant learning rate'),
  epochs: wholeNumber(5, 'passes over the set'),
  batchSize: wholeNumber(64, 'images per step'),
};
const paperGrid = () => ({ learningRate: [1e-5, 1e-4, 1e-3, 1e-2], epochs: [1, 3, 5, 7, 10] });

export const gradientAscent: JobMethod = {
  name: 'gradient-ascent',
  label: 'gradient ascent',
  mark: { color: '#e69f00', shape: 'triangle-up' },
  description: 'Raises the cross-entropy on the forget set (paper, D.4 II).',
  kind: 'job',
  parameters,
  paperGrid,
  presets: {},
  needs: { matchedOracles: false, datamodels: false },
  buildJob: (input, setting) => fineTune(input, setting, input.forget, -1),
  computeFraction: (sizes, _setting, atEpoch) => (atEpoch * sizes.numForget) / (sizes.numRetain * sizes.recipeEpochs),
};

export const gradientDescent: JobMethod = {
  name: 'gradient-descent',
  label: 'gradient descent',
  mark: { color: '#704214', shape: 'triangle-down' },
  description: 'Lowers the cross-entropy on the retain set only (paper, D.4 III).',
  kind: 'job',
  parameters,
  paperGrid,
  presets: {},
  needs: { matchedOracles: false, datamodels: false },
  buildJob: (input, setting) => fineTune(input, setting, input.retain, 1),
  computeFraction: (sizes, _setting, atEpoch) => atEpoch / sizes.recipeEpochs,
};

/** The loss is that of the recipe, with its label smoothing: the one the original was trained on. */
function fineTune(input: UnlearnInput, setting: MethodSetting, indices: Int32Array, crossEntropy: number): TrainJob {
  const objective = { crossEntropy, labelSmoothing: input.recipe.labelSmoothing };
  const batchSize = numberOf(setting, 'batchSize');
  return {
    modelIndex: input.modelIndex,
    seed: input.seed,
    epochs: numberOf(setting, 'epochs'),
    passes: [{ terms: [{ indices, objective, weight: 1, batchSize }], batchNorm: 'train' }],
    optimizer: baselineOptimizer,
    schedule: { kind: 'constant', learningRate: numberOf(setting, 'learningRate') },
    initialParameters: input.originalParameters,
  };
}
