/**
 * Random labels: fine-tune as if the forget points had other labels (Golatkar et al. 2020, "Eternal Sunshine of the Spotless Net"; Graves
 * et al. 2021, "Amnesiac Machine Learning"). Not one of the paper's baselines; it takes their grid.
 */
import { Purpose, Random } from '../native/random.js';
import type { MethodSetting, TrainJob } from '../types.js';
import { baselineOptimizer, gradientAscent } from './gradient.js';
import { sampleRetain } from './method.js';
import type { JobMethod, UnlearnInput, UnlearnSizes } from './method.js';
import { numberOf, positive, wholeNumber } from './setting.js';

/** The random stream of the labels, apart from that of the retain sample. */
const labelStream = 0x524c;
/** Probability of a class that is not wanted: its logarithm is a logit. */
const none = 1e-30;

export const randomLabels: JobMethod = {
  name: 'random-labels',
  label: 'random labels',
  mark: { color: '#999933', shape: 'triangle-left' },
  description:
    'Lowers the cross-entropy to a wrong label, drawn uniformly once for each forget point and model, on the forget set, and to the true ' +
    'labels on a sample of the retain set in the same batches (Golatkar et al. 2020, Graves et al. 2021).',
  kind: 'job',
  parameters: {
    learningRate: positive(1e-3, 'constant learning rate'),
    epochs: wholeNumber(5, 'passes over the fine-tune set'),
    batchSize: wholeNumber(64, 'images per step'),
    retainMultiplier: wholeNumber(5, 'retain points per forget point; 0: none', 0),
  },
  paperGrid: gradientAscent.paperGrid,
  presets: {},
  needs: { matchedOracles: false, datamodels: false },
  onlyListed: true,
  buildJob,
  computeFraction: (sizes, setting, atEpoch) =>
    (atEpoch * (sizes.numForget + sampleSize(sizes, setting))) / (sizes.numRetain * sizes.recipeEpochs),
};

function buildJob(input: UnlearnInput, setting: MethodSetting): TrainJob {
  const { modelIndex, seed, forget } = input;
  const sizes = { numForget: forget.length, numRetain: input.retain.length };
  const sample = sampleRetain(input, sampleSize(sizes, setting));
  const indices = new Int32Array(forget.length + sample.length);
  indices.set(forget);
  indices.set(sample, forget.length);
  // at temperature 1 the divergence from a teacher that is sure of a label is the cross-entropy to it: labels as a table of targets
  return {
    modelIndex,
    seed,
    epochs: numberOf(setting, 'epochs'),
    passes: [
      {
        terms: [
          {
            indices,
            objective: { distill: 1, temperature: 1 },
            weight: 1,
            batchSize: numberOf(setting, 'batchSize'),
            targets: certainLogits(input, indices),
          },
        ],
        batchNorm: 'train',
      },
    ],
    optimizer: baselineOptimizer,
    schedule: { kind: 'constant', learningRate: numberOf(setting, 'learningRate') },
    initialParameters: input.originalParameters,
  };
}

/** (indices, numClasses) logits whose softmax is the label, smoothed as in the recipe: a wrong one for the forget points, which go first. */
function certainLogits({ modelIndex, seed, numClasses, forget, labels, recipe }: UnlearnInput, indices: Int32Array): Float32Array {
  const random = new Random(seed, Purpose.subset, modelIndex, labelStream);
  const other = recipe.labelSmoothing / numClasses;
  const logits = new Float32Array(indices.length * numClasses).fill(Math.log(Math.max(other, none)));
  indices.forEach((point, row) => {
    const shift = row < forget.length ? 1 + random.below(numClasses - 1) : 0;
    logits[row * numClasses + ((labels[point]! + shift) % numClasses)] = Math.log(1 - recipe.labelSmoothing + other);
  });
  return logits;
}

function sampleSize({ numForget, numRetain }: Omit<UnlearnSizes, 'recipeEpochs'>, setting: MethodSetting): number {
  return Math.min(numRetain, numberOf(setting, 'retainMultiplier') * numForget);
}
