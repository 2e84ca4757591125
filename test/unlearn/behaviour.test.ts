/** What the methods do to real models: a small network on the built-in images, forgetting its mislabelled examples. */
import { range, retainIndices } from '../../src/data/indices.js';
import { syntheticDataset } from '../../src/data/synthetic.js';
import { NativeEngine } from '../../src/engines/native.js';
import { buildNet } from '../../src/models/index.js';
import { modelKey, trainingJob } from '../../src/train/jobs.js';
import type { MethodName, MethodSetting, TrainRecipe, TrainResult } from '../../src/types.js';
import { checkSetting, forgetShift, unlearnedLogits, unlearnJob, unlearnMethod } from '../../src/unlearn/index.js';
import type { UnlearnInput } from '../../src/unlearn/index.js';
import { sparse } from './fixture.js';

const { dataset, facts } = syntheticDataset({ trainPerClass: 30, validationPerClass: 4 });
const { numTrain, numClasses, labels } = dataset;
const net = buildNet({ name: 'smallcnn', width: 1, input: { height: 16, width: 16, channels: 3 }, numClasses });
const engine = new NativeEngine();
const recipe: TrainRecipe = {
  epochs: 30,
  batchSize: 16,
  optimizer: { kind: 'sgd', momentum: 0.9, weightDecay: 5e-4 },
  schedule: { kind: 'triangle', learningRate: 0.2, peakEpoch: 6 },
  labelSmoothing: 0,
};
const forget = Int32Array.from(facts.mislabelled);
const retain = retainIndices(numTrain, forget);
const evalPoints = range(numTrain + dataset.numValidation);
let input: UnlearnInput;

beforeAll(async () => {
  const jobs = [
    trainingJob(recipe, 5, modelKey({ kind: 'original' }, 0), range(numTrain)),
    trainingJob(recipe, 5, modelKey({ kind: 'oracle', forgetSetIndex: 0, role: 'matched' }, 0), retain),
  ];
  const outputs = { evalPoints, evalEpochs: [recipe.epochs], parameters: true };
  const [original, oracle] = await engine.trainMany(net, dataset, jobs, outputs);
  const originalLogits = original!.logits;
  const difference = originalLogits.map((logit, i) => logit - oracle!.logits[i]!);
  // datamodels that know this oracle: forget example 0 carries the whole difference
  const row = (weight: number) => Array.from({ length: numTrain }, (_, i) => (i === forget[0] ? weight : 0));
  const datamodels = sparse(Array.from(difference, row));
  input = {
    modelIndex: 0,
    seed: 5,
    numTrain,
    numClasses,
    forget,
    retain,
    labels,
    originalParameters: original!.parameters!,
    originalLogits,
    matchedOracleLogits: oracle!.logits,
    shift: forgetShift({ datamodels, numClasses, forget }),
    recipe,
  };
});

async function unlearn(name: MethodName, setting: MethodSetting): Promise<TrainResult & { expectedImages: number }> {
  const method = unlearnMethod(name);
  if (method.kind !== 'job') throw new Error(`${name} is no job method`);
  const job = unlearnJob(method, input, setting);
  const [result] = await engine.trainMany(net, dataset, [job], { evalPoints, evalEpochs: [job.epochs], parameters: false });
  const sizes = { numForget: forget.length, numRetain: retain.length, recipeEpochs: recipe.epochs };
  const fraction = method.computeFraction(sizes, checkSetting(method, setting), job.epochs);
  return { ...result!, expectedImages: fraction * retain.length * recipe.epochs };
}

/** Mean squared difference to the oracle's logits. */
function distance(logits: Float32Array, points: Int32Array): number {
  let sum = 0;
  for (const point of points) {
    for (let i = point * numClasses; i < (point + 1) * numClasses; i++) sum += (logits[i]! - input.matchedOracleLogits![i]!) ** 2;
  }
  return sum / (points.length * numClasses);
}

function crossEntropy(logits: Float32Array, points: Int32Array): number {
  let sum = 0;
  for (const point of points) {
    const row = [...logits.subarray(point * numClasses, (point + 1) * numClasses)];
    sum += Math.log(row.reduce((total, logit) => total + Math.exp(logit - row[labels[point]!]!), 0));
  }
  return sum / points.length;
}

const targetPasses = (sampled: number) => (forget.length + sampled) / 3;

describe('unlearning a small network', () => {
  it('starts from models in which forgetting matters', () => {
    expect(forget.length).toBeGreaterThan(2);
    expect(crossEntropy(input.matchedOracleLogits!, forget)).toBeGreaterThan(crossEntropy(input.originalLogits, forget) + 1);
  });

  it('moves the forget outputs to the oracle by matching, far more than gradient descent does', async () => {
    const before = distance(input.originalLogits, forget);
    const setting = { learningRate: 1e-2, epochs: 40, batchSize: 32, retainMultiplier: 10 };
    const matched = await unlearn('oracle-matching', setting);
    const simulated = await unlearn('dmm', setting);
    const descent = await unlearn('gradient-descent', { learningRate: 1e-3, epochs: 10 });
    expect(matched.status).toBe('trained');
    expect(distance(matched.logits, forget)).toBeLessThan(0.5 * before);
    expect(distance(matched.logits, forget)).toBeLessThan(0.7 * distance(descent.logits, forget));
    // these datamodels predict the oracle exactly up to rounding
    expect(distance(simulated.logits, forget)).toBeCloseTo(distance(matched.logits, forget), 1);
    expect(matched.gradientImages).toBe(40 * 11 * forget.length);
    expect(matched.expectedImages).toBeCloseTo(matched.gradientImages + targetPasses(10 * forget.length), 6);
    expect(descent.gradientImages).toBeCloseTo(descent.expectedImages, 6);
  });

  it('redraws the retain sample at each epoch with all forget points in it', async () => {
    const setting = { learningRate: 1e-2, epochs: 40, batchSize: 32, retainSampling: 'each-epoch', retainFraction: 0.4 };
    const { logits, gradientImages } = await unlearn('oracle-matching', setting);
    expect(gradientImages).toBe(40 * (forget.length + Math.round(0.4 * retain.length)));
    expect(distance(logits, forget)).toBeLessThan(0.7 * distance(input.originalLogits, forget));
  });

  it('predicts the oracle by DM-Direct with datamodels that know it', () => {
    const method = unlearnMethod('dm-direct');
    if (method.kind !== 'direct') throw new Error('dm-direct trains nothing');
    expect(distance(unlearnedLogits(method, input, {}), evalPoints)).toBeLessThan(1e-10);
    const half = distance(unlearnedLogits(method, input, { scale: 0.5 }), forget);
    expect(half).toBeCloseTo(distance(input.originalLogits, forget) / 4, 4);
  });

  it('forgets the labels by random ones and keeps those of retain points that it sees', async () => {
    const setting = { learningRate: 1e-2, epochs: 20 };
    const { logits, gradientImages, expectedImages } = await unlearn('random-labels', { ...setting, retainMultiplier: 10 });
    const alone = await unlearn('random-labels', { ...setting, retainMultiplier: 0 });
    expect(crossEntropy(logits, forget)).toBeGreaterThan(3 * crossEntropy(input.originalLogits, forget));
    expect(crossEntropy(logits, retain)).toBeLessThan(crossEntropy(alone.logits, retain));
    expect(gradientImages).toBeCloseTo(expectedImages, 6);
  });

  it('raises the forget loss by gradient ascent and by SCRUB', async () => {
    const ascent = await unlearn('gradient-ascent', { learningRate: 1e-2, epochs: 3 });
    const scrubbed = await unlearn('scrub', { learningRate: 1e-2, maximizationEpochs: 3, epochs: 5 });
    const before = crossEntropy(input.originalLogits, forget);
    expect(crossEntropy(ascent.logits, forget)).toBeGreaterThan(before);
    expect(crossEntropy(scrubbed.logits, forget)).toBeGreaterThan(before);
    expect(scrubbed.status).toBe('trained');
    expect(scrubbed.gradientImages).toBe(3 * forget.length + 5 * retain.length);
    expect(scrubbed.expectedImages).toBeCloseTo(scrubbed.gradientImages + numTrain / 3, 6);
  });
});
