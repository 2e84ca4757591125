/** A made-up report of the size of a real one: two forget sets, every method, several settings, N = 100. The numbers follow a small CPU run. */
import { splitNames } from '../../src/types.js';
import type {
  MethodName,
  KlomFloor,
  MethodScore,
  MethodSetting,
  ReportData,
  SettingChoice,
  SplitName,
  SplitSummary,
} from '../../src/types.js';

/** Park and Miller's generator: the fixture is the same everywhere. */
function generator(seed: number): () => number {
  let state = seed;
  return () => (state = (state * 48271) % 2147483647) / 2147483647;
}

function normal(uniform: () => number): number {
  return Math.sqrt(-2 * Math.log(uniform())) * Math.cos(2 * Math.PI * uniform());
}

const floorMean = 0.34;
const forgetSets = [
  { name: 'random-40', size: 40 },
  { name: 'pc1-100', size: 100 },
];

/** Summary of a split whose mean lies `excess` above the floor. */
function summary(excess: number, uniform: () => number): SplitSummary {
  const noise = 1 + 0.06 * (uniform() - 0.5);
  const mean = Math.min((floorMean + excess) * noise, 10);
  const p95 = Math.min(mean * 1.35 + 0.2, 11.3);
  return { mean, p50: mean * 0.93, p85: mean + (p95 - mean) * 0.6, p95, p99: Math.min(p95 * 1.12 + 0.08, 11.5) };
}

interface Run {
  setting: MethodSetting;
  variant?: string;
  cost: number;
  /** Excess over the floor on forget, retain, validation. */
  excess: [number, number, number];
}

const runs: Record<MethodName, Run[]> = {
  'do-nothing': [{ setting: {}, cost: 0, excess: [5.8, 0.05, 0.03] }],
  'full-retrain': [{ setting: {}, cost: 1, excess: [0, 0, 0] }],
  'partial-retrain': [0.2, 0.4, 0.6, 0.8].flatMap((cost): Run[] => [
    {
      setting: { epochs: 20 * cost, schedule: 'cut' },
      cost,
      excess: [4.2 * (1 - cost) ** 1.2, 3.2 * (1 - cost), 2.1 * (1 - cost)],
    },
    {
      setting: { epochs: 20 * cost, schedule: 'compressed' },
      variant: 'compressed',
      cost,
      excess: [1.2 * (1 - cost), 0.9 * (1 - cost), 0.6 * (1 - cost)],
    },
  ]),
  'gradient-ascent': [1e-5, 3e-5, 1e-4, 3e-4].flatMap((learningRate, rate) =>
    [1, 3, 5].map((epochs, step) => ({
      setting: { learningRate, epochs },
      cost: 0.002 * epochs,
      excess: [
        5.6 - 0.5 * rate - 0.3 * step + (rate === 3 ? 3 * step : 0),
        0.05 + 0.12 * rate ** 2 * (step + 1),
        0.04 + 0.1 * rate ** 2 * (step + 1),
      ] as [number, number, number],
    })),
  ),
  'gradient-descent': [1e-4, 1e-3, 1e-2].flatMap((learningRate, rate) =>
    [1, 3, 5].map((epochs, step) => ({
      setting: { learningRate, epochs },
      cost: 0.048 * epochs,
      excess: [5.75 - 0.35 * rate - 0.15 * step, 0.06 + 0.3 * rate, 0.04 + 0.25 * rate] as [number, number, number],
    })),
  ),
  scrub: [1e-4, 1e-3, 5e-3].flatMap((learningRate, rate) =>
    [1, 3, 5].map((maximisationEpochs, step) => ({
      setting: { learningRate, maximisationEpochs, epochs: 5 },
      cost: 0.11 + 0.012 * maximisationEpochs,
      excess: [5.2 - 0.9 * rate - 0.35 * step + (rate === 2 ? 1.1 * step : 0), 0.2 + 0.55 * rate, 0.15 + 0.4 * rate] as [
        number,
        number,
        number,
      ],
    })),
  ),
  'oracle-matching': [1e-4, 1e-3].flatMap((learningRate, rate) =>
    [1, 2, 4, 10].map((epochs, step) => ({
      setting: { learningRate, epochs, retainMultiplier: 5 },
      cost: 0.006 * epochs,
      excess: [3.4 - 1.2 * rate - 0.6 * step, 0.12 + 0.09 * rate, 0.06 + 0.05 * rate] as [number, number, number],
    })),
  ),
  'dm-direct': [
    { setting: { scale: 1, diagonalOnly: false }, cost: 0, excess: [0.9, 0.04, 0.03] },
    { setting: { scale: 1, diagonalOnly: true }, variant: 'diagonal only', cost: 0, excess: [0.8, 0.04, 0.03] },
  ],
  dmm: [1e-4, 1e-3].flatMap((learningRate, rate) =>
    [1, 2, 4, 10].map((epochs, step) => ({
      setting: { learningRate, epochs, retainMultiplier: 5 },
      cost: 0.006 * epochs,
      excess: [3.5 - 1.1 * rate - 0.52 * step, 0.13 + 0.08 * rate, 0.06 + 0.05 * rate] as [number, number, number],
    })),
  ),
};

function averaged(splits: Record<SplitName, SplitSummary>): SplitSummary {
  const mean = (key: keyof SplitSummary): number => splitNames.reduce((sum, split) => sum + splits[split][key], 0) / splitNames.length;
  return { mean: mean('mean'), p50: mean('p50'), p85: mean('p85'), p95: mean('p95'), p99: mean('p99') };
}

function splitSummaries(excess: [number, number, number], uniform: () => number): MethodScore['splits'] {
  const splits = { forget: summary(excess[0], uniform), retain: summary(excess[1], uniform), validation: summary(excess[2], uniform) };
  return { ...splits, average: averaged(splits) };
}

function scoresOf(forgetSet: string, hardness: number, uniform: () => number): MethodScore[] {
  return Object.entries(runs).flatMap(([method, own]) => {
    const scores = own.map(({ setting, variant, cost, excess }): MethodScore => {
      const left = Math.max(excess[0] * hardness, 0);
      return {
        forgetSet,
        method,
        setting,
        ...(variant === undefined ? {} : { variant }),
        computeFraction: cost,
        numUnlearned: 100,
        numOracles: 100,
        splits: splitSummaries([left, excess[1] * hardness, excess[2] * hardness], uniform),
        accuracy: { forget: Math.min(0.48 + 0.085 * left, 0.99), retain: 0.985 - 0.02 * excess[1], validation: 0.4 - 0.015 * excess[2] },
        numNonFinite: 0,
        best: false,
      };
    });
    const lowest = (own: MethodScore[]): MethodScore => own.reduce((a, b) => (b.splits.average.p95 < a.splits.average.p95 ? b : a));
    return scores.map((score) => ({ ...score, best: score === lowest(scores.filter(({ variant }) => variant === score.variant)) }));
  });
}

function samplesOf(forgetSet: string, uniform: () => number): ReportData['marginSamples'] {
  const labels = ['cat', 'ship', 'horse', 'truck'];
  return (['forget', 'retain'] as const).flatMap((split) =>
    labels.map((label, index) => {
      const draw = (mean: number, deviation: number): number[] => Array.from({ length: 100 }, () => mean + deviation * normal(uniform));
      const original = 1.2 + index * 0.5;
      const oracle = split === 'forget' ? original - 2.4 : original;
      return {
        forgetSet,
        split,
        point: 17 + 211 * index,
        label,
        original: draw(original, 0.9),
        oracle: draw(oracle, 1.3),
        dmDirect: draw(oracle + 0.25, 1.0),
      };
    }),
  );
}

/** Of tuned methods, of DM-Direct's scale and of the length of partial retraining. */
function choicesOf(): SettingChoice[] {
  const compared: [MethodName, SettingChoice['models'], number, number][] = [
    ['partial-retrain', 'matched-oracles', 50, 50],
    ['scrub', 'tuning-originals', 24, 100],
    ['dmm', 'tuning-originals', 24, 100],
    ['dm-direct', 'scored-originals', 100, 100],
  ];
  return compared.map(([method, models, numModels, numOracles]) => {
    const lossy = { accuracy: { retain: 0.93, validation: 0.4 }, accuracyLost: 0.052, keepsAccuracy: false };
    const kept = { accuracy: { retain: 0.98, validation: 0.4 }, accuracyLost: 0.002, keepsAccuracy: true };
    const settings = runs[method]!.map(({ setting }, index) => ({
      setting,
      score: 1,
      ...(method === 'scrub' ? lossy : kept),
      chosen: index === 0,
    }));
    return { method, criterion: 'average-p95', models, numModels, numOracles, allowedAccuracyLoss: 0.02, run: 0, settings };
  });
}

export function fixture(): ReportData {
  const uniform = generator(20250601);
  const floors = forgetSets.map(({ name }): KlomFloor => ({
    forgetSet: name,
    numOracles: 100,
    numHeldOut: 100,
    measured: splitSummaries([0, 0, 0], uniform),
    tabulatedMean: 0.34,
    tabulatedP95: 0.65,
  }));
  const lds: ReportData['lds'] = (['lasso', 'marginal'] as const).flatMap((estimator) =>
    (['train', 'validation'] as const).flatMap((points) =>
      [50, 100, 200, 400].map((numModels, step) => {
        const top = points === 'train' ? (estimator === 'lasso' ? 0.3 : 0.12) : 0.03;
        const mean = top + (points === 'train' ? 0.1 : 0.02) * step * (estimator === 'lasso' ? 1 : 0.6);
        return { estimator, numModels, points, mean, median: mean + 0.01, low: mean - 0.02, high: mean + 0.02 };
      }),
    ),
  );
  return {
    version: 2,
    runName: 'cifar10-small',
    dataDescription: 'cifar10-small: 1,000 training and 1,000 validation images of 32 x 32 pixels in 10 classes',
    facts: [
      { name: 'network', value: 'resnet9, width 8' },
      { name: 'subset models', value: '480, each on half of the training set' },
      { name: 'original models', value: '100' },
      { name: 'oracle models per forget set', value: '100 scored, 100 matched' },
      { name: 'datamodels', value: 'Lasso, largest relative duality gap 8.1e-5, 12,500 of 12,500 targets converged' },
      { name: 'KLOM', value: 'variant default, 20 bins, margins clipped to [-100, 100], epsilon 1e-5' },
      { name: 'seed', value: '1' },
      { name: 'engine', value: 'native, avx2, fp32' },
    ],
    forgetSets,
    scores: [...scoresOf('random-40', 1, uniform), ...scoresOf('pc1-100', 1.25, uniform)],
    floors,
    unbiased: [],
    choices: forgetSets.map(({ name }) => ({ forgetSet: name, choices: choicesOf() })),
    attributors: [{ name: 'lasso', curve: 'lasso', models: 480, isAll: true }],
    lds,
    marginSamples: forgetSets.flatMap(({ name }) => samplesOf(name, uniform)),
    originalAccuracy: forgetSets.map(({ name }) => ({ forgetSet: name, accuracy: { forget: 0.98, retain: 0.982, validation: 0.401 } })),
  };
}

/** Two attributors, one also on a tenth of the models, and DM-Direct with each; three factors of the weights. */
export function comparedFixture(): ReportData {
  const data = fixture();
  const point = (estimator: string, numModels: number, points: 'train' | 'validation', mean: number) => {
    return { estimator, numModels, points, mean, median: mean, low: mean - 0.01, high: mean + 0.01 };
  };
  const [published] = data.scores.filter(({ method, best }) => method === 'dm-direct' && best);
  const score = (setting: MethodScore['setting'], p95: number, best = true): MethodScore[] =>
    data.forgetSets.map(({ name: forgetSet }) => {
      const splits = Object.fromEntries(Object.entries(published!.splits).map(([name, split]) => [name, { ...split, p95 }]));
      const { attributor, diagonalOnly } = setting;
      const variant = [attributor, diagonalOnly === true ? 'diagonal only' : undefined].filter((part) => part !== undefined).join(', ');
      return { ...published!, forgetSet, setting, splits: splits as MethodScore['splits'], best, ...(variant ? { variant } : {}) };
    });
  return {
    ...data,
    attributors: [
      { name: 'covariance', curve: 'covariance', models: 1000, isAll: true },
      { name: 'lasso', curve: 'lasso', models: 1000, isAll: true },
      { name: 'few', curve: 'covariance', models: 100, isAll: false },
    ],
    lds: ['covariance', 'lasso'].flatMap((name, k) =>
      [100, 900].flatMap((count) => [
        point(name, count, 'train', (count / 1000) * (1 - k / 2)),
        point(name, count, 'validation', (count / 2000) * (1 - k / 2)),
      ]),
    ),
    ldsCeilings: [{ points: 'train', mean: 0.9, low: 0.88, high: 0.91, reliability: 0.81, numMasks: 40 }],
    scores: [
      ...data.scores.filter(({ method }) => method !== 'dm-direct'),
      // a setting without a name means the first attributor
      ...[0.8, 1, 1.2].flatMap((scale) => score({ scale, diagonalOnly: false }, 1.5 + 4 * (scale - 1) ** 2, scale === 1)),
      ...[0.8, 1, 1.2].flatMap((scale) => score({ scale, diagonalOnly: true }, 2.5 + 9 * (scale - 1.1) ** 2, scale === 1)),
      ...score({ scale: 1, diagonalOnly: false, attributor: 'lasso' }, 2.5),
      ...score({ scale: 1, diagonalOnly: false, attributor: 'few' }, 2),
    ],
  };
}
