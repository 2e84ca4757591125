/** lethe fit: datamodels from masks and outputs in files. */
import path from 'node:path';
import { packMasks } from '../data/masks.js';
import { defaultFitOptions, denseWeights, fitDatamodels } from '../datamodels/fit.js';
import { holdoutModels } from '../datamodels/selection.js';
import { didYouMean, ExitCode, LetheError } from '../errors.js';
import { nativeAddon } from '../native/addon.js';
import { encodeDatamodels } from '../store/datamodels.js';
import { encodeJson } from '../store/json.js';
import { readNpy, toFloat32, writeNpy } from '../store/npy.js';
import { publishFile } from '../store/publish.js';
import type { Datamodels, FitOptions, Masks } from '../types.js';
import { action, compact, createProgress, emitJson, finiteNumber, integerAtLeast, interruptSignal, say, type Command } from './common.js';

interface FitVerbOptions {
  masks: string;
  outputs: string;
  out: string;
  estimator: string;
  pathLength: number;
  lambdaMinRatio: number;
  select?: string;
  holdoutFraction: number;
  lambda?: number;
  refit: boolean;
  gapTolerance: number;
  device: string;
  threads: number;
  seed: number;
  export?: string;
  json?: boolean;
}

export function registerFit(program: Command): void {
  const defaults = defaultFitOptions;
  program
    .command('fit')
    .description('datamodels: one sparse linear regression per output on the subset masks, with a certified duality gap each')
    .requiredOption('--masks <file>', '.npy (models, train examples), bool or uint8: 1 where the model was trained on the example')
    .requiredOption('--outputs <file>', '.npy (models, targets) or (models, points, classes), float16, float32 or float64')
    .requiredOption('--out <dir>', 'folder for datamodels.arrow and fit.json')
    .option('--estimator <name>', 'lasso, or marginal (soft-thresholded correlations: one pass)', defaults.estimator)
    .option('--path-length <count>', 'number of lambdas to choose from', integerAtLeast(1), defaults.pathLength)
    .option('--lambda-min-ratio <ratio>', 'smallest lambda as a share of lambda_max', finiteNumber, defaults.lambdaMinRatio)
    .option('--select <how>', 'holdout: lambda per target by error on held-out models; none: needs --lambda (default: holdout)')
    .option('--holdout-fraction <share>', 'share of the models that choose lambda', finiteNumber, defaults.holdoutFraction)
    .option('--lambda <value>', 'one lambda for all targets', finiteNumber)
    .option('--no-refit', 'keep the fit of the models that are not held out, instead of fitting again on all')
    .option('--gap-tolerance <gap>', 'relative duality gap at which a target is solved', finiteNumber, defaults.gapTolerance)
    .option('--device <name>', 'auto, cpu or cuda', 'auto')
    .option('--threads <count>', 'processors to use, 0 for all allowed', integerAtLeast(0), 0)
    .option('--seed <number>', 'seed of the choice of held-out models', integerAtLeast(0), defaults.seed)
    .option('--export <format>', 'npy: also write dense weights.npy, bias.npy, lambda.npy, gap.npy')
    .option('--json', 'print a JSON document to stdout')
    .action(action(fitVerb));
}

async function fitVerb(verb: FitVerbOptions): Promise<void> {
  const options = fitOptions(verb);
  const exportFormat = verb.export === undefined ? undefined : oneOf('--export', verb.export, ['npy']);
  const backend = chooseBackend(verb.device);
  const { masks, outputs, numTargets, shape } = await readInputs(verb);
  const progress = createProgress('fit', 'targets');
  const started = performance.now();
  const run = {
    threads: verb.threads,
    signal: interruptSignal(),
    onProgress: ({ done, total }: { done: number; total: number }): void => {
      progress.update(done, total);
    },
  };
  const fitted = await fitDatamodels({ masks, outputs, numTargets }, options, run).finally(() => {
    progress.stop();
  });
  const seconds = (performance.now() - started) / 1000;
  const summary = {
    numModels: masks.numModels,
    numTrain: masks.numTrain,
    numTargets,
    ...summarise(fitted),
    backend,
    threads: verb.threads || nativeAddon().systemInfo().threads,
  };
  await writeResults(verb.out, fitted, exportFormat === 'npy', {
    document: 'lethe.fit',
    version: 1,
    masks: verb.masks,
    outputs: verb.outputs,
    outputShape: shape,
    options,
    holdoutModels: holdoutModels(masks.numModels, options),
    summary,
  });
  const timed = { ...summary, seconds, secondsPerTarget: numTargets === 0 ? 0 : seconds / numTargets };
  if (verb.json) emitJson('fit', timed);
  else report(verb.out, timed);
}

function fitOptions(verb: FitVerbOptions): FitOptions {
  const { pathLength, lambdaMinRatio, holdoutFraction, refit, gapTolerance, seed, lambda } = verb;
  return {
    estimator: oneOf('--estimator', verb.estimator, ['lasso', 'marginal']),
    pathLength,
    lambdaMinRatio,
    select: oneOf('--select', verb.select ?? (lambda === undefined ? 'holdout' : 'none'), ['holdout', 'none']),
    holdoutFraction,
    refit,
    gapTolerance,
    seed,
    ...(lambda === undefined ? {} : { lambda }),
  };
}

function oneOf<T extends string>(name: string, given: string, known: readonly T[]): T {
  const found = known.find((word) => word === given);
  if (found !== undefined) return found;
  throw new LetheError('LETHE_OPTION_UNKNOWN', `${name} has no such value`, {
    expected: known.join(' or '),
    received: JSON.stringify(given),
    action: didYouMean(given, known),
  });
}

/** Only 'auto' may choose; fits run on the processor. */
function chooseBackend(device: string): string {
  const { isa, cuda } = nativeAddon().systemInfo();
  if (oneOf('--device', device, ['auto', 'cpu', 'cuda']) !== 'cuda') return `cpu-${isa}`;
  throw new LetheError('LETHE_DEVICE_UNAVAILABLE', 'datamodels cannot be fitted on a GPU here', {
    expected: 'a build with the CUDA backend of lethe fit, and a device',
    received: cuda.problem === '' ? 'a build whose CUDA backend does not fit datamodels' : cuda.problem,
    action: 'Use --device cpu.',
    exitCode: ExitCode.environment,
  });
}

interface Inputs {
  masks: Masks;
  /** (numModels, numTargets) */
  outputs: Float32Array;
  numTargets: number;
  shape: number[];
}

async function readInputs(verb: FitVerbOptions): Promise<Inputs> {
  const masks = await readMaskFile(verb.masks);
  const outputs = await readNpy(verb.outputs);
  const { dtype, shape } = outputs;
  if (!dtype.startsWith('float') || (shape.length !== 2 && shape.length !== 3)) {
    throw new LetheError('LETHE_OUTPUTS_SHAPE', `${verb.outputs} does not hold model outputs`, {
      expected: 'float16, float32 or float64 of shape (models, targets) or (models, points, classes)',
      received: `${dtype} of shape (${shape.join(', ')})`,
    });
  }
  if (shape[0] !== masks.numModels) {
    throw new LetheError('LETHE_SHAPE_MISMATCH', 'masks and outputs are of different numbers of models', {
      expected: `outputs (${masks.numModels}, ...) to match masks (${masks.numModels}, ${masks.numTrain})`,
      received: `outputs (${shape.join(', ')})`,
      action: 'Row i of both files must belong to the same model.',
    });
  }
  const numTargets = shape.slice(1).reduce((product, size) => product * size, 1);
  return { masks, outputs: toFloat32(outputs), numTargets, shape };
}

async function readMaskFile(file: string): Promise<Masks> {
  const { dtype, shape, data } = await readNpy(file);
  if ((dtype !== 'bool' && dtype !== 'uint8') || shape.length !== 2 || !(data instanceof Uint8Array)) {
    throw new LetheError('LETHE_MASKS_SHAPE', `${file} does not hold masks`, {
      expected: 'bool or uint8 of shape (models, train examples)',
      received: `${dtype} of shape (${shape.join(', ')})`,
      action: 'Write them with numpy.save(file, masks.astype(bool)).',
    });
  }
  if (dtype === 'uint8') {
    let wrong = 0;
    while (wrong < data.length && data[wrong]! <= 1) wrong++;
    if (wrong < data.length) {
      throw new LetheError('LETHE_MASKS_VALUE', `${file} holds a mask that is neither 0 nor 1`, {
        expected: '1 where the model was trained on the example, else 0',
        received: `${data[wrong]!} at element ${wrong}`,
        action: 'Write them with numpy.save(file, masks.astype(bool)).',
      });
    }
  }
  return packMasks(data, shape[0]!, shape[1]!);
}

/** Gaps of targets that have one: the others are counted by status. */
function summarise({ status, gap, rowStart, numTargets }: Datamodels): {
  maxRelativeGap: number;
  numConverged: number;
  numUnconverged: number;
  numConstant: number;
  numNonFinite: number;
  meanNonzero: number;
} {
  const count = (wanted: string): number => status.filter((word) => word === wanted).length;
  let maxRelativeGap = 0;
  for (let target = 0; target < numTargets; target++) {
    if (status[target] !== 'nonfinite') maxRelativeGap = Math.max(maxRelativeGap, gap[target]!);
  }
  return {
    maxRelativeGap,
    numConverged: count('converged'),
    numUnconverged: count('unconverged'),
    numConstant: count('constant'),
    numNonFinite: count('nonfinite'),
    meanNonzero: numTargets === 0 ? 0 : rowStart[numTargets]! / numTargets,
  };
}

async function writeResults(folder: string, fitted: Datamodels, dense: boolean, description: object): Promise<void> {
  const { numTargets, numTrain, bias, lambda, gap } = fitted;
  await publishFile(path.join(folder, 'datamodels.arrow'), encodeDatamodels(fitted));
  if (dense) {
    await writeNpy(path.join(folder, 'weights.npy'), [numTargets, numTrain], denseWeights(fitted));
    await writeNpy(path.join(folder, 'bias.npy'), [numTargets], bias);
    await writeNpy(path.join(folder, 'lambda.npy'), [numTargets], lambda);
    await writeNpy(path.join(folder, 'gap.npy'), [numTargets], gap);
  }
  await publishFile(path.join(folder, 'fit.json'), encodeJson(description));
}

function report(
  folder: string,
  summary: ReturnType<typeof summarise> & { numTargets: number; seconds: number; secondsPerTarget: number; backend: string },
): void {
  const { numTargets, numConverged, numUnconverged, numConstant, numNonFinite } = summary;
  say(
    `${numTargets} datamodels in ${compact(summary.seconds)} s (${(summary.secondsPerTarget * 1000).toPrecision(3)} ms each, ${summary.backend}), ` +
      `${summary.meanNonzero.toFixed(1)} weights each, largest relative gap ${summary.maxRelativeGap.toExponential(1)}`,
  );
  if (numConverged < numTargets) {
    say(
      `${numConverged} converged, ${numUnconverged} unconverged, ${numConstant} constant, ${numNonFinite} non-finite: see column "status"`,
    );
  }
  say(`written to ${path.join(folder, 'datamodels.arrow')}`);
}
