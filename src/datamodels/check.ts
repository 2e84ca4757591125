/** Arguments of a fit, checked before any work. */
import { LetheError } from '../errors.js';
import type { FitOptions, Masks } from '../types.js';

/** @throws LETHE_SHAPE_MISMATCH, LETHE_FIT_OPTION (exit code 2) */
export function checkFit(masks: Masks, outputs: Float32Array, numTargets: number, options: FitOptions): void {
  const { numModels, numTrain, bits } = masks;
  if (!(numModels >= 1 && numTrain >= 1) || bits.length !== numModels * Math.ceil(numTrain / 8)) {
    throw new LetheError('LETHE_SHAPE_MISMATCH', 'the masks are not what they say', {
      expected: 'at least one model and one train example, and ceil(numTrain / 8) bytes a model',
      received: `${numModels} models, ${numTrain} examples, ${bits.length} bytes`,
    });
  }
  if (!Number.isSafeInteger(numTargets) || numTargets < 0 || outputs.length !== numModels * numTargets) {
    throw new LetheError('LETHE_SHAPE_MISMATCH', 'outputs do not match the masks', {
      expected: `(${numModels}, ${numTargets}) = ${numModels * numTargets} values, one row a model`,
      received: `${outputs.length} values`,
      action: 'Pass the outputs of exactly the models that the masks describe.',
    });
  }
  checkOptions(options);
}

function checkOptions(options: FitOptions): void {
  const { pathLength, lambdaMinRatio, holdoutFraction, gapTolerance, seed, lambda, select } = options;
  require(Number.isSafeInteger(pathLength) && pathLength >= 1, 'pathLength', 'an integer >= 1', pathLength);
  require(lambdaMinRatio > 0 && lambdaMinRatio < 1, 'lambdaMinRatio', 'a number between 0 and 1', lambdaMinRatio);
  require(holdoutFraction > 0 && holdoutFraction < 1, 'holdoutFraction', 'a number between 0 and 1', holdoutFraction);
  require(gapTolerance > 0 && gapTolerance < 1, 'gapTolerance', 'a number between 0 and 1', gapTolerance);
  require(Number.isSafeInteger(seed) && seed >= 0, 'seed', 'an integer >= 0', seed);
  if (select === 'none') {
    if (lambda === undefined) {
      throw new LetheError('LETHE_FIT_OPTION', 'without held-out models nothing chooses lambda', {
        expected: 'a lambda beside select "none"',
        received: 'none',
        action: 'Give a lambda (--lambda 0.002), or select it on held-out models (--select holdout).',
      });
    }
    require(lambda > 0 && Number.isFinite(lambda), 'lambda', 'a finite number > 0', lambda);
  } else if (lambda !== undefined) {
    throw new LetheError('LETHE_FIT_OPTION', 'lambda is either given or chosen on held-out models, not both', {
      expected: 'select "none" beside a lambda',
      received: `lambda ${lambda} and select "holdout"`,
      action: 'Leave out one of --lambda and --select holdout.',
    });
  }
}

function require(condition: boolean, name: string, expected: string, received: number): void {
  if (!condition) throw new LetheError('LETHE_FIT_OPTION', `${name} is out of range`, { expected, received: String(received) });
}
