/** Arguments of a fit, checked before any work. */
import { LetheError } from '../errors.js';
import { choiceCriteria, fitSelections, type FitOptions, type Masks } from '../types.js';

/** @throws LETHE_SHAPE_MISMATCH (exit code 2) */
export function checkMasks({ numModels, numTrain, bits }: Masks): void {
  if (numModels >= 1 && numTrain >= 1 && bits.length === numModels * Math.ceil(numTrain / 8)) return;
  throw new LetheError('LETHE_SHAPE_MISMATCH', 'the masks are not what they say', {
    expected: 'at least one model and one train example, and ceil(numTrain / 8) bytes a model',
    received: `${numModels} models, ${numTrain} examples, ${bits.length} bytes`,
  });
}

/** outputs: (numModels, numTargets). @throws LETHE_SHAPE_MISMATCH (exit code 2) */
export function checkOutputs(outputs: Float32Array | Float64Array, numModels: number, numTargets: number): void {
  if (Number.isSafeInteger(numTargets) && numTargets >= 0 && outputs.length === numModels * numTargets) return;
  throw new LetheError('LETHE_SHAPE_MISMATCH', 'outputs do not match the masks', {
    expected: `(${numModels}, ${numTargets}) = ${numModels * numTargets} values, one row a model`,
    received: `${outputs.length} values`,
    action: 'Pass the outputs of exactly the models that the masks describe.',
  });
}

/**
 * Targets that share a column of row weights (numModels, columns): one each, or the classes of a point.
 * @throws LETHE_SHAPE_MISMATCH (exit code 2)
 */
export function targetsPerRowWeight(columns: number, numTargets: number, numClasses = 1): number {
  if (columns === numTargets) return 1;
  if (columns * numClasses === numTargets) return numClasses;
  const points = numClasses === 1 ? '' : ` or one a point (${numTargets / numClasses})`;
  throw new LetheError('LETHE_SHAPE_MISMATCH', 'row weights do not match the outputs', {
    expected: `one column a target (${numTargets})${points}`,
    received: `${columns} columns`,
  });
}

/** @throws LETHE_FIT_OPTION (exit code 2) */
export function checkOptions(options: FitOptions, numModels: number): void {
  const { pathLength, lambdaMinRatio, holdoutFraction, gapTolerance, seed, select, folds } = options;
  if (!fitSelections.includes(select)) throw wrongOption('select is unknown', fitSelections.join(', '), select);
  require(Number.isSafeInteger(pathLength) && pathLength >= 1, 'pathLength', 'an integer >= 1', pathLength);
  require(lambdaMinRatio > 0 && lambdaMinRatio < 1, 'lambdaMinRatio', 'a number between 0 and 1', lambdaMinRatio);
  require(holdoutFraction > 0 && holdoutFraction < 1, 'holdoutFraction', 'a number between 0 and 1', holdoutFraction);
  require(gapTolerance > 0 && gapTolerance < 1, 'gapTolerance', 'a number between 0 and 1', gapTolerance);
  require(Number.isSafeInteger(seed) && seed >= 0, 'seed', 'an integer >= 0', seed);
  if (select === 'kfold') checkFolds(options, numModels);
  else if (folds !== undefined) {
    const action = 'Select by k-fold (--select kfold), or leave out --folds.';
    throw wrongOption('folds are for selection by k-fold only', 'no folds', `${folds} folds and select "${select}"`, action);
  }
  checkLambdas(options);
  checkRelaxation(options);
}

function checkFolds({ folds, refit }: FitOptions, numModels: number): void {
  if (folds !== undefined) {
    const most = Math.max(numModels, 2);
    require(Number.isSafeInteger(folds) && folds >= 2 && folds <= most, 'folds', `an integer from 2 to ${most} (models)`, folds);
  }
  if (!refit) {
    const action = 'Leave out --no-refit, or select on one set of held-out models (--select holdout).';
    throw wrongOption('k-fold leaves no single fit to keep', 'a refit on all models', 'refit false', action);
  }
}

function checkLambdas({ select, lambda, lambdaRatio, lambdas }: FitOptions): void {
  if (lambdas !== undefined) {
    if (select !== 'holdout' && select !== 'kfold') {
      const action = 'Give one lambda (--lambda), or select among these for each target (--select holdout or kfold).';
      throw wrongOption('nothing chooses among the lambdas', 'select "holdout" or "kfold" beside lambdas', `select "${select}"`, action);
    }
    const good = lambdas.length > 0 && lambdas.every((value) => value > 0 && Number.isFinite(value));
    if (!good || new Set(lambdas).size !== lambdas.length) {
      throw wrongOption('lambdas are no grid', 'at least one, all different, finite and > 0', `[${lambdas.join(', ')}]`);
    }
  }
  if (lambda !== undefined && lambdaRatio !== undefined) {
    const action = 'Leave out one of --lambda and --lambda-ratio.';
    throw wrongOption('lambda is given twice', 'lambda or lambdaRatio', `lambda ${lambda} and lambdaRatio ${lambdaRatio}`, action);
  }
  const given = lambda ?? lambdaRatio;
  const [name, flag] = lambda === undefined ? ['lambdaRatio', '--lambda-ratio'] : ['lambda', '--lambda'];
  if (select === 'none') {
    if (given === undefined) {
      const action = 'Give a lambda (--lambda 0.002 or --lambda-ratio 0.4), or have it chosen on held-out models (--select pooled).';
      throw wrongOption('without held-out models nothing chooses lambda', 'a lambda beside select "none"', 'none', action);
    }
    require(given > 0 && Number.isFinite(given), name, 'a finite number > 0', given);
  } else if (given !== undefined) {
    const action = `Leave out one of ${flag} and --select ${select}.`;
    throw wrongOption(
      'lambda is either given or chosen on held-out models, not both',
      `select "none" beside ${name}`,
      `${name} ${given} and select "${select}"`,
      action,
    );
  }
}

function checkRelaxation({ estimator, select, criterion, relaxation, refit }: FitOptions): void {
  if (relaxation !== undefined) {
    require(relaxation >= 0 && relaxation <= 1, 'relaxation', 'a number from 0 to 1', relaxation);
    if (estimator === 'marginal' && relaxation > 0) {
      throw wrongOption('the marginal estimator has no relaxation', 'relaxation 0 beside estimator "marginal"', String(relaxation));
    }
  }
  if (select === 'pooled') {
    if (criterion !== undefined && !choiceCriteria.includes(criterion)) {
      throw wrongOption('the criterion is unknown', choiceCriteria.join(', '), criterion);
    }
    if (refit) return;
    const action = 'Leave out --no-refit, or select for each target (--select holdout).';
    throw wrongOption('a pooled choice leaves no fits to keep', 'a refit on all models', 'refit false', action);
  }
  if (criterion === undefined) return;
  const action = 'Leave out --criterion, or choose for all targets together (--select pooled).';
  throw wrongOption('a criterion is for a pooled choice only', 'no criterion', `criterion "${criterion}" and select "${select}"`, action);
}

function wrongOption(summary: string, expected: string, received: string, action?: string): LetheError {
  return new LetheError('LETHE_FIT_OPTION', summary, { expected, received, ...(action === undefined ? {} : { action }) });
}

function require(condition: boolean, name: string, expected: string, received: number): void {
  if (!condition) throw wrongOption(`${name} is out of range`, expected, String(received));
}
