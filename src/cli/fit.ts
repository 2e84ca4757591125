/** lethe fit: its options. What it does is loaded when it is done: its help needs no reader of files. */
import { InvalidArgumentError } from 'commander';
import { defaultFitOptions } from '../datamodels/fit.js';
import { choiceCriteria, defaultCriterion, defaultFolds } from '../types.js';
import { action, type Command, finiteNumber, integerAtLeast, jsonHelp, threadsHelp, processorCount } from './common.js';
import type { FitVerbOptions } from './fitVerb.js';
import { byteSize } from './memory.js';

export function registerFit(program: Command): void {
  const defaults = defaultFitOptions;
  program
    .command('fit')
    .description(
      'datamodels: one sparse linear regression per output on the subset masks, with a certified duality gap each; ' +
        'works in blocks of targets that fit in memory, and the same command resumes after an interruption',
    )
    .requiredOption('--masks <file>', '.npy (models, train examples), bool or integers: 1 where the model was trained on the example')
    .requiredOption('--outputs <file>', '.npy (models, targets) or (models, points, classes), float16, float32 or float64, of any size')
    .requiredOption('--out <dir>', 'folder for datamodels.arrow, mask-rows.npy and fit.json; unfinished, it holds the finished blocks')
    .option('--estimator <name>', 'lasso, or marginal (soft-thresholded correlations: one pass)', defaults.estimator)
    .option('--path-length <count>', 'number of lambdas to choose from', integerAtLeast(1), defaults.pathLength)
    .option('--lambda-min-ratio <ratio>', 'smallest lambda as a share of lambda_max', finiteNumber, defaults.lambdaMinRatio)
    .option('--lambdas <list>', 'lambdas to choose from for each target, such as 0.1,0.05,0.02, instead of the two above', numberList)
    .option(
      '--select <how>',
      'pooled: one lambda / lambda_max and one relaxation for all targets (of a group), chosen on held-out models by their mean score; ' +
        'holdout: lambda per target by error on held-out models; kfold: by error over --folds; none: needs --lambda or --lambda-ratio ' +
        '(default: pooled)',
    )
    .option('--criterion <name>', `score of a pooled choice: ${choiceCriteria.join(' or ')} (default: ${defaultCriterion})`)
    .option('--groups <file>', '.npy of integers (targets) or (points): targets with the same number share a pooled choice')
    .option('--holdout-fraction <share>', 'share of the models that choose lambda', finiteNumber, defaults.holdoutFraction)
    .option(
      '--folds <count>',
      `parts of the models that are held out in turn, with --select kfold (default: ${defaultFolds})`,
      integerAtLeast(2),
    )
    .option('--lambda <value>', 'one lambda for all targets', finiteNumber)
    .option('--lambda-ratio <share>', "one share of each target's lambda_max", finiteNumber)
    .option(
      '--relaxation <share>',
      "0: the Lasso's weights; 1: least squares on their support; between: a mixture (default: a pooled choice chooses, others take 0)",
      finiteNumber,
    )
    .option('--no-refit', 'keep the fit of the models that are not held out, instead of fitting again on all')
    .option('--standardise', 'penalise weights in units of the standard deviation of their mask column')
    .option(
      '--row-weights <file>',
      '.npy integers (models, targets) or (models, points), up to 255: 0 leaves the model out for the target, k counts it k times',
    )
    .option('--gap-tolerance <gap>', 'relative duality gap at which a target is solved', finiteNumber, defaults.gapTolerance)
    .option('--memory <size>', 'memory to use, such as 4GiB; sets the size of the blocks (default: half of what is free)', byteSize)
    .option('--block <targets>', 'targets of a block, instead of as many as fit; results do not depend on it', integerAtLeast(1))
    .option('--device <name>', 'where to fit: cpu, cuda, or auto (the GPU where there is one)', 'cpu')
    .option('--threads <count>', threadsHelp, processorCount(0), 0)
    .option('--seed <number>', 'seed of the choice of held-out models', integerAtLeast(0), defaults.seed)
    .option('--export <format>', 'npy: also write dense weights.npy, bias.npy, lambda.npy, gap.npy')
    .option('--json', jsonHelp)
    .action(action(async (options: FitVerbOptions) => (await import('./fitVerb.js')).fitVerb(options)));
}

function numberList(text: string): number[] {
  const values = text.split(',').map((part) => (part.trim() === '' ? NaN : Number(part)));
  if (values.every(Number.isFinite)) return values;
  throw new InvalidArgumentError(`expected numbers with commas between them, such as 0.1,0.05; received "${text}".`);
}
