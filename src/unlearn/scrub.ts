/** SCRUB (Kurmanji et al. 2023; paper, D.4 IV): away from the original on the forget set, close to it on the retain set. */
import type { MethodSetting, TrainJob } from '../types.js';
import { baselineOptimizer } from './gradient.js';
import { forwardCost, gatherRows } from './method.js';
import type { JobMethod, UnlearnInput, UnlearnSizes } from './method.js';
import { numberOf, positive, wholeNumber } from './setting.js';

const temperature = 4;

export const scrub: JobMethod = {
  name: 'scrub',
  label: 'SCRUB',
  mark: { color: '#cc79a7', shape: 'cross' },
  description:
    'Each epoch maximises the divergence from the original on the forget set (in the first epochs only), then minimises ' +
    '0.99 cross-entropy + 0.1 divergence on the retain set (paper, D.4 IV).',
  kind: 'job',
  parameters: {
    forgetBatchSize: wholeNumber(32, 'images per step of the forget pass'),
    maximizationEpochs: wholeNumber(3, 'epochs that have a forget pass'),
    learningRate: positive(1e-3, 'learning rate, x 0.1 after epochs 3, 5 and 9'),
    epochs: wholeNumber(10, 'epochs in all'),
    retainBatchSize: wholeNumber(64, 'images per step of the retain pass'),
  },
  paperGrid: () => ({
    forgetBatchSize: [32, 64],
    maximizationEpochs: [1, 3, 5, 7, 9],
    learningRate: [3e-1, 1e-1, 3e-2, 1e-2, 3e-3, 1e-3, 3e-4, 1e-4, 3e-5, 1e-5, 3e-6, 1e-6],
    epochs: [5, 7, 10],
  }),
  presets: {},
  needs: { matchedOracles: false, datamodels: false },
  buildJob,
  computeFraction,
};

/** The teacher is the original, so its logits are a table of targets: no teacher network runs, and none can be trained by mistake. */
function buildJob(input: UnlearnInput, setting: MethodSetting): TrainJob {
  const { forget, retain, originalLogits, numClasses } = input;
  const labelSmoothing = input.recipe.labelSmoothing;
  const awayTerm = {
    indices: forget,
    objective: { distill: -1, temperature },
    weight: 1,
    batchSize: numberOf(setting, 'forgetBatchSize'),
    targets: gatherRows(originalLogits, numClasses, forget),
  };
  const closeTerm = {
    indices: retain,
    objective: { crossEntropy: 0.99, labelSmoothing, distill: 0.1, temperature },
    weight: 1,
    batchSize: numberOf(setting, 'retainBatchSize'),
    targets: gatherRows(originalLogits, numClasses, retain),
  };
  return {
    modelIndex: input.modelIndex,
    seed: input.seed,
    epochs: numberOf(setting, 'epochs'),
    passes: [
      { terms: [awayTerm], activeEpochs: numberOf(setting, 'maximizationEpochs'), batchNorm: 'train' },
      { terms: [closeTerm], batchNorm: 'train' },
    ],
    optimizer: baselineOptimizer,
    schedule: { kind: 'steps', learningRate: numberOf(setting, 'learningRate'), factor: 0.1, atEpochs: [3, 5, 9] },
    initialParameters: input.originalParameters,
  };
}

function computeFraction(sizes: UnlearnSizes, setting: MethodSetting, atEpoch: number): number {
  const maximizing = Math.min(atEpoch, numberOf(setting, 'maximizationEpochs'));
  const gradientImages = maximizing * sizes.numForget + atEpoch * sizes.numRetain;
  const teacherImages = sizes.numForget + sizes.numRetain;
  return (gradientImages + forwardCost * teacherImages) / (sizes.numRetain * sizes.recipeEpochs);
}
