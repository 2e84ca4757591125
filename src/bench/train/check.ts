/** The check that comes before any time: the first steps of an engine beside somebody else's arithmetic, from the same parameters and images. */
import type { Dataset, Engine, RunOptions, TrainJob } from '../../types.js';
import type { Precision } from '../../native/types.js';
import type { StepCase, TrainCheck } from './types.js';
import { randomImages, stepsJob } from './work.js';

const numSteps = 3;
const settings = { learningRate: 0.05, momentum: 0.9, weightDecay: 5e-4 };

/**
 * Rounding flips a few ReLU and max-pool decisions: PyTorch's own fp32 gradient of a batch of 128 to 512 differs from its double-precision one by
 * 2e-3 to 6e-3, and by 2e-6 where none flips; its gradient under bf16 autocast differs from the fp32 one by 0.25. Losses are smooth.
 */
const tolerances: Record<Precision, { loss: number; gradient: number; update: number }> = {
  fp32: { loss: 1e-4, gradient: 2e-2, update: 5e-2 },
  bf16: { loss: 1e-2, gradient: 0.4, update: 0.3 },
};

export interface CheckInputs {
  /** numSteps batches, one after the other. */
  dataset: Dataset;
  /** (numParameters) where the steps start */
  parameters: Float32Array;
  settings: typeof settings;
}

export interface CheckRun {
  /** Mean over the steps. */
  loss: number;
  /** (numTrainable) of the first batch, before any step */
  gradient: Float32Array;
  /** (numParameters) after the steps */
  updated: Float32Array;
}

/** Random images, and the engine's own initial parameters. */
export async function checkInputs(engine: Engine, { net, batchSize }: StepCase, options: RunOptions = {}): Promise<CheckInputs> {
  const dataset = randomImages(net, numSteps * batchSize, 1);
  const untrained = { ...job(batchSize, 1), epochs: 0 };
  const [result] = await engine.trainMany(net, dataset, [untrained], parametersOnly, options);
  return { dataset, parameters: result!.parameters!, settings };
}

const parametersOnly = { evalPoints: new Int32Array(0), evalEpochs: [], parameters: true };

function job(batchSize: number, steps: number): TrainJob {
  const batches = Array.from({ length: steps }, (_, step) => Int32Array.from({ length: batchSize }, (_, i) => step * batchSize + i));
  return stepsJob(batches, settings);
}

/** An engine's first steps. The gradient is what one step of plain descent at rate 1 subtracts. */
export async function checkEngine(
  engine: Engine,
  { net, batchSize }: StepCase,
  inputs: CheckInputs,
  numTrainable: number,
  options: RunOptions = {},
): Promise<CheckRun> {
  const { dataset, parameters } = inputs;
  const plain = {
    ...job(batchSize, 1),
    optimizer: { kind: 'sgd', momentum: 0, weightDecay: 0 },
    schedule: { kind: 'constant', learningRate: 1 },
  } as const;
  const jobs = [plain, job(batchSize, numSteps)].map((each) => ({ ...each, initialParameters: parameters }));
  const [descended, stepped] = await engine.trainMany(net, dataset, jobs, parametersOnly, { threads: 1, ...options });
  const gradient = descended!.parameters!.subarray(0, numTrainable).map((value, i) => parameters[i]! - value);
  return { loss: stepped!.loss, gradient, updated: stepped!.parameters! };
}

/** Euclidean norm of the difference, relative to that of `expected`. */
export function relativeDifference(expected: ArrayLike<number>, actual: ArrayLike<number>): number {
  let difference = 0;
  let norm = 0;
  for (let i = 0; i < expected.length; i++) {
    difference += (actual[i]! - expected[i]!) ** 2;
    norm += expected[i]! ** 2;
  }
  return Math.sqrt(difference / norm);
}

export function compareRuns(against: string, precision: Precision, start: Float32Array, expected: CheckRun, actual: CheckRun): TrainCheck {
  const moved = (run: CheckRun): Float32Array => run.updated.map((value, i) => value - start[i]!);
  const found = {
    lossDifference: Math.abs(actual.loss - expected.loss) / Math.abs(expected.loss),
    gradientDifference: relativeDifference(expected.gradient, actual.gradient),
    updateDifference: relativeDifference(moved(expected), moved(actual)),
  };
  const allowed = tolerances[precision];
  const wrong = (
    [
      ['loss', found.lossDifference, allowed.loss],
      ['gradient', found.gradientDifference, allowed.gradient],
      [`parameters after ${numSteps} steps`, found.updateDifference, allowed.update],
    ] as const
  ).filter(([, difference, most]) => !(difference <= most));
  if (wrong.length === 0) return { passed: true, against, ...found };
  const reason = wrong.map(([what, difference, most]) => `${what} differs by ${difference.toExponential(1)}, more than ${most}`).join('; ');
  return { passed: false, against, ...found, reason: `${reason} (against ${against})` };
}
