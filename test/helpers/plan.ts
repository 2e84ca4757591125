import type { Plan } from '../../src/types.js';

/** A small valid plan for tests of files and jobs. */
export function samplePlan(): Plan {
  return {
    version: 1,
    name: 'sample',
    seed: 7,
    data: { name: 'synthetic', trainPerClass: 0, validationPerClass: 0 },
    net: { name: 'resnet9', width: 8 },
    recipe: {
      epochs: 4,
      batchSize: 16,
      optimizer: { kind: 'sgd', momentum: 0.9, weightDecay: 5e-4 },
      schedule: { kind: 'triangle', learningRate: 0.15, peakEpoch: 1 },
      labelSmoothing: 0,
    },
    subsetModels: { count: 40, subsetFraction: 0.5, modelsPerShard: 20 },
    originals: { count: 10 },
    oracles: { scored: 10, matched: 10 },
    fit: {
      estimator: 'lasso',
      pathLength: 100,
      lambdaMinRatio: 0.01,
      select: 'holdout',
      holdoutFraction: 0.1,
      refit: true,
      gapTolerance: 1e-4,
      seed: 7,
    },
    lds: { heldOutFraction: 0.1, numModels: [] },
    forgetSets: [{ name: 'random-10', kind: 'random', size: 10, seed: 7 }],
    methods: [{ method: 'dmm', grid: {} }],
    tuning: { numModels: 10, criterion: 'average-p95' },
    klom: { variant: 'default', bins: 20, clip: 100, epsilon: 1e-5 },
  };
}

/** A plan that runs in a second, as a user would write it: for tests of verbs on finished runs. */
export const tinyPlan = {
  version: 1,
  name: 'tiny',
  data: { name: 'synthetic', trainPerClass: 6, validationPerClass: 2 },
  net: { name: 'smallcnn', width: 2 },
  recipe: { epochs: 2, batchSize: 8, schedule: { kind: 'triangle', learningRate: 0.1, peakEpoch: 1 } },
  subsetModels: { count: 24, modelsPerShard: 10 },
  originals: { count: 3 },
  oracles: { scored: 2, matched: 2 },
  lds: { numModels: [12] },
  forgetSets: [{ name: 'random-4', kind: 'random', size: 4, seed: 1 }],
};
