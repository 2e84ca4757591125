/** Every default of a plan but those of attributors and methods, which stand in their declarations; the resolved plan (plan.json) writes them out. */
import type { MethodPlan, Plan } from '../types.js';
import { methods } from '../unlearn/registry.js';

export const planDefaults = {
  version: 1,
  seed: 0,
  data: { name: 'synthetic', trainPerClass: 0, validationPerClass: 0 },
  net: { name: 'resnet9', width: 8 },
  recipe: { epochs: 20, batchSize: 64, labelSmoothing: 0 },
  optimizer: {
    sgd: { kind: 'sgd', momentum: 0.9, weightDecay: 5e-4 },
    adam: { kind: 'adam', beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weightDecay: 0 },
  },
  /** The peak lies at this fraction of the epochs: 5 of 24 in the paper's recipe. */
  schedule: { kind: 'triangle', learningRate: 0.15, peakFraction: 5 / 24 },
  subsetModels: { count: 1000, subsetFraction: 0.5, modelsPerShard: 50 },
  originals: { count: 100 },
  oracles: { scored: 100, matched: 100 },
  lds: { heldOutFraction: 0.1, numModels: [] as number[] },
  forgetSets: [] as Plan['forgetSets'],
  /** All of them, each with its published setting. */
  methods: methods.filter(({ onlyListed }) => onlyListed !== true).map(({ name }): MethodPlan => ({ method: name, grid: {} })),
  tuning: { numModels: 24, criterion: 'average-p95' },
  klom: { variant: 'default', bins: 20, clip: 100, epsilon: 1e-5 },
} as const;
