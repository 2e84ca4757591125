/** Oracle Matching (Algorithm C.1) and Datamodel Matching (Algorithm C.3): fine-tune towards the logits a retrained model would have. */
import { LetheError } from '../errors.js';
import type { MethodSetting, Optimizer, PassTerm, TrainJob } from '../types.js';
import { simulatedLogits, simulationParameters, simulationVariant } from './dmDirect.js';
import { forwardCost, gatherRows, sampleRetain } from './method.js';
import type { JobMethod, MethodParameter, UnlearnInput, UnlearnSizes } from './method.js';
import { choice, numberOf, positive, stringOf, wholeNumber } from './setting.js';

const adam: Optimizer = { kind: 'adam', beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weightDecay: 0 };

const parameters: Record<string, MethodParameter> = {
  learningRate: positive(1e-3, 'first learning rate, x 0.95 after each epoch'),
  epochs: wholeNumber(10, 'passes over the fine-tune set'),
  batchSize: wholeNumber(512, 'images per step'),
  forgetMultiplier: wholeNumber(1, 'times each forget point is in the fine-tune set'),
  retainSampling: choice(['once', 'each-epoch'], 'draw the retain sample once (published code) or at each epoch (Algorithm C.1)'),
  retainMultiplier: { ...positive(5, 'retain points per forget point'), when: { retainSampling: 'once' } },
  retainFraction: { ...positive(0.04, 'part of the retain set in an epoch', 1), when: { retainSampling: 'each-epoch' } },
  batchNorm: choice(['train', 'eval'], 'batch statistics that move, or fixed running statistics'),
};

/** The best of the published sweep; the parameters' defaults. */
const publishedGrid = () => ({ learningRate: [1e-3], epochs: [10], batchSize: [512], forgetMultiplier: [1], retainMultiplier: [5] });
const sweepBest = { epochs: 10, learningRate: 1e-3, batchSize: 512, retainMultiplier: 5, forgetMultiplier: 1 };
const uLira = { epochs: 4, learningRate: 1e-4, batchSize: 512, retainMultiplier: 20, forgetMultiplier: 5 };
const living17 = { epochs: 2, learningRate: 1e-4, batchSize: 512, retainMultiplier: 20, forgetMultiplier: 1 };

export const oracleMatching: JobMethod = {
  name: 'oracle-matching',
  label: 'oracle matching',
  mark: { color: '#0072b2', shape: 'diamond' },
  description: 'Matches the logits of a retrained model on the forget set and a sample of the retain set (paper, C.1). An upper bound.',
  kind: 'job',
  parameters: { ...parameters, oracleTargets: choice(['one', 'mean'], 'match one matched oracle or the mean of all') },
  paperGrid: publishedGrid,
  presets: { published: sweepBest, 'u-lira': uLira, 'living17-om': living17 },
  needs: { matchedOracles: true, datamodels: false },
  isBound: true,
  buildJob: (input, setting) => matchingJob(input, setting, oracleLogits(input, stringOf(setting, 'oracleTargets'))),
  computeFraction,
};

export const datamodelMatching: JobMethod = {
  name: 'dmm',
  label: 'DMM',
  mark: { color: '#d55e00', shape: 'circle' },
  description: 'Matches the logits that DM-Direct predicts for the same original (paper, C.3). Datamodel estimation is not in its compute.',
  kind: 'job',
  parameters: { ...parameters, ...simulationParameters },
  paperGrid: publishedGrid,
  presets: { published: sweepBest, 'u-lira': uLira },
  needs: { matchedOracles: false, datamodels: true },
  variant: simulationVariant,
  buildJob: (input, setting) => matchingJob(input, setting, simulatedLogits(input, setting)),
  computeFraction,
};

function oracleLogits(input: UnlearnInput, which: string): Float32Array {
  const logits = which === 'mean' ? input.meanOracleLogits : input.matchedOracleLogits;
  if (logits) return logits;
  throw new LetheError('LETHE_ORACLES_MISSING', 'oracle matching needs matched oracles', {
    expected: which === 'mean' ? 'mean logits of the matched oracles' : 'logits of one matched oracle',
    action: 'Train matched oracles: "oracles.matched" in the plan.',
  });
}

/** Squared error to `target` (points, numClasses), mean over batch and classes. */
function matchingJob(input: UnlearnInput, setting: MethodSetting, target: Float32Array): TrainJob {
  const { indices, ...redraw } = fineTuneSet(input, setting);
  const term: PassTerm = {
    indices,
    ...redraw,
    objective: { matchLogits: 1 },
    weight: 1,
    batchSize: numberOf(setting, 'batchSize'),
    targets: gatherRows(target, input.numClasses, indices),
  };
  return {
    modelIndex: input.modelIndex,
    seed: input.seed,
    epochs: numberOf(setting, 'epochs'),
    passes: [{ terms: [term], batchNorm: stringOf(setting, 'batchNorm') === 'eval' ? 'eval' : 'train' }],
    optimizer: adam,
    schedule: { kind: 'exponential', learningRate: numberOf(setting, 'learningRate'), factor: 0.95 },
    initialParameters: input.originalParameters,
  };
}

/**
 * Forget points (repeated) and the retain sample are one term in both samplings: shuffled together they share batches, and with them
 * BatchNorm statistics and weights in proportion to their counts, as published. Two terms would give the forget set batches of its own.
 */
export function fineTuneSet(
  input: Pick<UnlearnInput, 'seed' | 'modelIndex' | 'retain' | 'forget'>,
  setting: MethodSetting,
): Pick<PassTerm, 'indices' | 'samplePerEpoch' | 'alwaysIncluded'> {
  const multiplier = numberOf(setting, 'forgetMultiplier');
  const numSampled = retainSampleSize(setting, input.forget.length, input.retain.length);
  const eachEpoch = setting['retainSampling'] === 'each-epoch';
  const retain = eachEpoch ? input.retain : sampleRetain(input, numSampled);
  const numForget = multiplier * input.forget.length;
  const indices = new Int32Array(numForget + retain.length);
  for (let copy = 0; copy < multiplier; copy++) indices.set(input.forget, copy * input.forget.length);
  indices.set(retain, numForget);
  return eachEpoch ? { indices, samplePerEpoch: numSampled, alwaysIncluded: numForget } : { indices };
}

/** Without replacement, so at most the whole retain set. */
function retainSampleSize(setting: MethodSetting, numForget: number, numRetain: number): number {
  const wanted =
    setting['retainSampling'] === 'each-epoch'
      ? numberOf(setting, 'retainFraction') * numRetain
      : numberOf(setting, 'retainMultiplier') * numForget;
  return Math.min(numRetain, Math.max(1, Math.round(wanted)));
}

/** Targets are computed once per distinct image: an expectation when the retain sample is redrawn. */
function computeFraction(sizes: UnlearnSizes, setting: MethodSetting, atEpoch: number): number {
  const { numForget, numRetain } = sizes;
  const sample = retainSampleSize(setting, numForget, numRetain);
  const gradientImages = atEpoch * (numberOf(setting, 'forgetMultiplier') * numForget + sample);
  const draws = setting['retainSampling'] === 'each-epoch' ? atEpoch : 1;
  const distinctRetain = numRetain * (1 - (1 - sample / numRetain) ** draws);
  return (gradientImages + forwardCost * (numForget + distinctRetain)) / (numRetain * sizes.recipeEpochs);
}
