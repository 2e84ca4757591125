/** The Lasso (Section 3, Appendix C) and its relaxation: options, rules, and the native path solver. */
import { choiceCriteria, defaultCriterion, defaultFolds, type FitOptions, fitSelections, type LassoOptions } from '../types.js';
import type { Attributor, AttributorOption, OptionMistake } from './attributor.js';
import { completeOptions, fraction, isPositiveNumber, number, positive, seed, truth, whole, word } from './options.js';
import { openPathDesign } from './pathDesign.js';

/** Of all that solve a path of lambdas on random subsets. */
export const pathOptions = {
  pathLength: whole(1, 'number of lambdas to choose from', { default: 100 }),
  lambdaMinRatio: fraction('smallest lambda as a share of lambda_max', { default: 0.01 }),
  select: word(
    fitSelections,
    'pooled: one lambda / lambda_max and one relaxation for all targets (of a group), chosen on held-out models by their mean score; ' +
      'holdout: lambda per target by error on held-out models; kfold: by error over the folds; none: lambda is given',
    {
      default: ({ lambda, lambdaRatio, lambdas }) =>
        lambda !== undefined || lambdaRatio !== undefined ? 'none' : lambdas !== undefined ? 'holdout' : 'pooled',
    },
  ),
  holdoutFraction: fraction('share of the models that choose lambda', { default: 0.1 }),
  refit: truth('fit again on all models at the lambda that was chosen', { default: true }),
  gapTolerance: fraction('relative duality gap at which a target is solved', { default: 1e-4 }),
  seed,
  criterion: word(choiceCriteria, `score of a pooled choice: ${choiceCriteria.join(' or ')} (default: ${defaultCriterion})`),
  lambda: positive('one lambda for all targets'),
  lambdaRatio: positive("one share of each target's lambda_max"),
  lambdas: {
    kind: 'numbers',
    description: 'lambdas to choose from for each target, such as 0.1,0.05,0.02, instead of a path',
    check: (value) =>
      Array.isArray(value) && value.length > 0 && value.every(isPositiveNumber) ? undefined : 'at least one number, all above 0',
  },
  folds: whole(2, `parts of the models that are held out in turn, with select kfold (default: ${defaultFolds})`, {
    default: (_, { select }) => (select === 'kfold' ? defaultFolds : undefined),
  }),
  standardise: truth('penalise weights in units of the standard deviation of their mask column'),
} satisfies Record<string, AttributorOption>;

/** Rules between pathOptions. */
export function* pathRules(given: FitOptions, numModels: number): Generator<OptionMistake> {
  const { select, lambda, lambdaRatio, lambdas, folds, refit, criterion } = given as LassoOptions;
  const lambdaGiven = Object.entries({ lambda, lambdaRatio }).filter(([, value]) => value !== undefined);
  if (select === 'none' && lambdaGiven.length !== 1) {
    const received = lambdaGiven.length === 0 ? 'nothing' : 'both lambda and lambdaRatio';
    yield { option: 'lambda', expected: 'a lambda (or a lambdaRatio), as select is none', received };
  }
  for (const [option, value] of select === 'none' ? [] : lambdaGiven) {
    const action = `Set select to none to use this ${option}, or remove it.`;
    yield { option, expected: `no ${option}, as select is ${select}`, received: String(value), action };
  }
  if (lambdas !== undefined && select !== 'holdout' && select !== 'kfold') {
    const action = 'Set select to holdout or kfold to choose among them for each target, or remove them.';
    yield {
      option: 'lambdas',
      expected: `no lambdas to choose from, as select is ${select}`,
      received: `${lambdas.length} of them`,
      action,
    };
  }
  if (lambdas !== undefined && new Set(lambdas).size !== lambdas.length) {
    yield { option: 'lambdas', expected: 'no two alike', received: lambdas.join(', ') };
  }
  if (folds !== undefined && select !== 'kfold') {
    const action = 'Set select to kfold to choose lambda by folds, or remove them.';
    yield { option: 'folds', expected: `no folds, as select is ${select}`, received: String(folds), action };
  }
  if (folds !== undefined && numModels > 0 && folds > Math.max(numModels, 2)) {
    yield { option: 'folds', expected: `at most ${Math.max(numModels, 2)}, the models of the smallest fit`, received: String(folds) };
  }
  if ((select === 'kfold' || select === 'pooled') && !refit) {
    const what = select === 'kfold' ? 'k-fold' : 'a pooled choice';
    yield { option: 'refit', expected: `true, as ${what} leaves no single fit to keep`, received: 'false' };
  }
  if (criterion !== undefined && select !== 'pooled') {
    yield { option: 'criterion', expected: `no criterion, as select is ${select}`, received: criterion };
  }
}

/** How lambda is chosen, in words. */
export function describePath(name: string, options: FitOptions): string {
  const { select, lambda, lambdaRatio, holdoutFraction, folds, criterion = defaultCriterion, relaxation } = options as LassoOptions;
  const relaxed = relaxation === undefined ? '' : `, relaxation ${relaxation}`;
  const heldOut = `on ${holdoutFraction * 100} % of the models`;
  const choices: Record<LassoOptions['select'], string> = {
    none: lambda === undefined ? `lambda ${lambdaRatio} of lambda_max` : `lambda ${lambda}`,
    kfold: `lambda of each target by held-out error over ${folds} folds of the models`,
    holdout: `lambda of each target by held-out error ${heldOut}`,
    pooled: `lambda / lambda_max${relaxation === undefined ? ' and relaxation' : ''} of a kind of target by mean held-out ${criterion} ${heldOut}`,
  };
  return `${name}, ${choices[select]}${relaxed}, relative gap <= ${(options as LassoOptions).gapTolerance}`;
}

/** Shares of least squares to choose from. */
const relaxations: readonly number[] = [0, 0.25, 0.5, 0.75, 1];

export const lasso: Attributor = {
  name: 'lasso',
  title: 'Lasso',
  mark: { color: '#0072b2', shape: 'circle' },
  description: 'a sparse regression of each output on the masks, with a certified duality gap',
  needs: () => ['subset-outputs'],
  devices: ['cpu', 'cuda'],
  isDense: () => false,
  options: {
    ...pathOptions,
    relaxation: number(
      "0: the Lasso's weights; 1: least squares on their support; between: a mixture (default: a pooled choice chooses, others take 0)",
      'a number from 0 to 1',
      (value) => value >= 0 && value <= 1,
    ),
  },
  rules: pathRules,
  isPooled: ({ select }) => select === 'pooled',
  describe: (options) => describePath('lasso', options),
  cost: (_, numModels) => (6 * numModels) / 1000, // measured at width/8
  open(source, options, where) {
    const { relaxation } = options as LassoOptions;
    return openPathDesign('lasso', source, options as LassoOptions, relaxation === undefined ? relaxations : [relaxation], where);
  },
};

export const defaultFitOptions = completeOptions(lasso) as LassoOptions;
