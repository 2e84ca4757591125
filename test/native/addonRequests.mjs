/** Small, right requests of every function of the addon, fresh arrays each time, for the programs that misuse them. */

const floats = (length, of = (i) => ((i * 7919) % 101) / 50 - 1) => Float32Array.from({ length }, (_, i) => of(i));
const doubles = (length, of = (i) => ((i * 104729) % 97) / 97) => Float64Array.from({ length }, (_, i) => of(i));
const ints = (length, of = (i) => i) => Int32Array.from({ length }, (_, i) => of(i));
const bytes = (length, of = (i) => (i * 151) & 255) => Uint8Array.from({ length }, (_, i) => of(i));

export const net = () => ({
  name: 'tiny',
  input: { height: 4, width: 4, channels: 3 },
  numClasses: 2,
  layers: [
    { op: 'conv', name: 'conv', inputs: ['image'], outChannels: 4, kernel: 3, stride: 1, pad: 1 },
    { op: 'batchNorm', name: 'norm', inputs: ['conv'], epsilon: 1e-5, momentum: 0.1 },
    { op: 'relu', name: 'relu', inputs: ['norm'] },
    { op: 'globalAveragePool', name: 'pool', inputs: ['relu'] },
    { op: 'linear', name: 'head', inputs: ['pool'], outFeatures: 2, bias: true },
  ],
});

const data = () => ({ numPoints: 12, pixels: bytes(12 * 48), labels: ints(12, (i) => i % 2), mean: [0.5, 0.5, 0.5], std: [0.2, 0.2, 0.2] });
const training = () => ({ net: net(), isa: '', device: 'cpu', precision: 'fp32', threads: 2, data: data() });

const job = (numParameters, epochs) => ({
  modelIndex: 0,
  seed: 1,
  epochs,
  passes: [
    {
      batchNorm: 'train',
      augment: { cropPadding: 1, flip: true },
      terms: [{ indices: ints(12), targets: floats(24), objective: { crossEntropy: 1, labelSmoothing: 0.1, matchLogits: 0.5 }, weight: 1, batchSize: 4 }],
    },
  ],
  optimizer: { kind: 'sgd', momentum: 0.9, weightDecay: 1e-4 },
  schedule: { kind: 'steps', learningRate: 0.01, factor: 0.5, atEpochs: [1] },
  logits: floats(2 * 4 * 2, () => 0),
  parameters: floats(numParameters, () => 0),
});

const design = (numModels, numTrain, numTargets) => ({
  isa: '',
  device: 'cpu',
  threads: 2,
  numModels,
  numTrain,
  numTargets,
  bits: bytes(numModels * Math.ceil(numTrain / 8)),
  estimator: 'lasso',
  fold: ints(numModels, (i) => (i % 4 === 0 ? 0 : -1)),
  lambdas: doubles(0),
  pathLength: 10,
  lambdaMinRatio: 0.1,
  refit: true,
  pooled: false,
  relaxation: 0.5,
  lambda: 0.1,
  standardise: false,
  gapTolerance: 1e-3,
  gramBytes: 1e6,
  setBytes: 1e6,
});

const linear = () => ({
  problems: [
    { numTrain: 6, numForget: 2, dim: 3, spanSize: 2, lambda: 0.1, x: doubles(18), y: doubles(6), thetaFull: doubles(3), thetaStar: doubles(3) },
  ],
  runs: [
    { problem: 0, method: 0, ascentWeight: 0.5, batchSize: 2, repetition: 0, inSpan: doubles(4), orthogonal: doubles(4), endings: bytes(2), iterates: doubles(12) },
  ],
  steps: doubles(2, (i) => 0.01 * (i + 1)),
  loggedAt: ints(2, (i) => i * 5),
  seed: 1,
  divergedAbove: 1e6,
  convergedBelow: 1e-9,
  threads: 1,
  isa: '',
});

/** Of each function a maker of its arguments; `scale` >= 1 multiplies the work. */
export async function requests(addon) {
  const { numParameters } = addon.describeNet(net(), '', 'fp32', 4);
  const opened = await addon.openDesign(design(40, 20, 5));
  return {
    klom: (scale = 1) => [
      {
        oracleMargins: floats(20 * 30 * scale),
        unlearnedMargins: floats(10 * 30 * scale),
        numOracles: 20,
        numUnlearned: 10,
        numPoints: 30 * scale,
        bins: 20,
        clip: 100,
        epsilon: 1e-5,
        variant: 'default',
        isa: '',
        device: 'cpu',
        threads: 2,
        scores: doubles(30 * scale, () => 0),
        nonFinite: ints(30 * scale, () => 0),
      },
    ],
    margins: (scale = 1) => [
      {
        logits: floats(4 * 30 * 3 * scale),
        labels: ints(30 * scale, (i) => i % 3),
        numModels: 4,
        numPoints: 30 * scale,
        numClasses: 3,
        threads: 2,
        margins: floats(120 * scale, () => 0),
        predicted: bytes(120 * scale, () => 0),
      },
    ],
    divergences: (scale = 1) => [
      {
        oracleMargins: floats(8 * 30 * scale),
        unlearnedMargins: floats(6 * 30 * scale),
        numOracles: 8,
        numUnlearned: 6,
        numPoints: 30 * scale,
        clip: 100,
        threads: 2,
        gaussian: doubles(30 * scale, () => 0),
        neighbours: doubles(30 * scale, () => 0),
      },
    ],
    moments: (scale = 1) => [
      {
        margins: floats(4 * 30 * scale),
        numModels: 4,
        numPoints: 30 * scale,
        threads: 2,
        mean: doubles(30 * scale, () => 0),
        variance: doubles(30 * scale, () => 0),
        nonFinite: ints(30 * scale, () => 0),
      },
    ],
    spearman: (scale = 1) => [
      {
        predicted: floats(8 * 30 * scale),
        actual: floats(8 * 30 * scale, (i) => (i * 31) % 57),
        numModels: 8,
        numPoints: 30 * scale,
        firstPoint: 2,
        endPoint: 30 * scale,
        device: 'cpu',
        threads: 2,
        correlation: doubles(30 * scale - 2, () => 0),
      },
    ],
    crossProduct: (scale = 1) => [
      {
        a: floats(9 * 7),
        b: floats(9 * 30 * scale),
        rows: 9,
        aColumns: 7,
        bColumns: 30 * scale,
        isa: '',
        threads: 2,
        product: floats(7 * 30 * scale, () => 0),
      },
    ],
    bootstrapMeans: (scale = 1) => [{ values: doubles(50), means: doubles(20 * scale, () => 0), seed: 1, threads: 2 }],
    predict: (scale = 1) => [
      {
        bias: floats(6 * scale),
        dense: floats(6 * scale * 20),
        numModels: 5,
        numTrain: 20,
        numTargets: 6 * scale,
        bits: bytes(5 * 3),
        isa: '',
        threads: 2,
        predicted: floats(5 * 6 * scale, () => 0),
      },
    ],
    predictSparse: () => [
      {
        bias: floats(3),
        rowStart: Float64Array.of(0, 2, 2, 5),
        indices: Int32Array.of(1, 19, 0, 5, 7),
        weights: floats(5),
        numModels: 5,
        numTrain: 20,
        numTargets: 3,
        bits: bytes(5 * 3),
        isa: '',
        threads: 2,
        predicted: floats(15, () => 0),
      },
    ],
    openDesign: (scale = 1) => [design(40, 20 * scale, 5)],
    fitDatamodels: (scale = 1) => [
      { design: opened.handle, numTargets: 5 * scale, outputs: floats(40 * 5 * scale), rowWeights: bytes(40 * 5 * scale, (i) => +(i % 9 > 0)), targetsPerRowWeight: 1 },
    ],
    scorePaths: (scale = 1) => [
      {
        design: opened.handle,
        numTargets: 5 * scale,
        outputs: floats(40 * 5 * scale),
        targetsPerRowWeight: 1,
        relaxations: doubles(2, (i) => i),
        error: floats(5 * scale * 20, () => 0),
        correlation: floats(5 * scale * 20, () => 0),
      },
    ],
    ridgeStudy: () => [linear()],
    trainMany: (scale = 1) => [{ ...training(), jobs: [job(numParameters, 2 * scale)], evalPoints: ints(4), evalEpochs: [1, 2] }],
    forwardMany: () => [{ ...training(), parameters: [floats(numParameters)], points: ints(4), logits: floats(8, () => 0) }],
    describeNet: () => [net(), '', 'fp32', 4],
    trainLayerRates: () => [net(), '', 'fp32', 4, 0],
    systemInfo: () => [],
    allocate: () => [100],
  };
}

/** Names of the arrays that a function fills. */
export const filledBy = {
  scorePaths: ['error', 'correlation'],
  klom: ['scores', 'nonFinite'],
  margins: ['margins', 'predicted'],
  divergences: ['gaussian', 'neighbours'],
  moments: ['mean', 'variance', 'nonFinite'],
  spearman: ['correlation'],
  bootstrapMeans: ['means'],
  crossProduct: ['product'],
  predict: ['predicted'],
  ridgeStudy: ['inSpan', 'orthogonal', 'endings', 'iterates'],
  trainMany: ['logits', 'parameters'],
  forwardMany: ['logits'],
};

/** The function that a name of `requests` stands for. */
export const functionOf = (name) => (name === 'predictSparse' ? 'predict' : name);
