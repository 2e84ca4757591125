/** Which models choose lambda. */
import { Purpose, Random } from '../native/random.js';
import { defaultFolds, type LassoOptions } from '../types.js';

/** Of a Lasso that says which models are held out. */
type SelectionOptions = Pick<LassoOptions, 'select' | 'holdoutFraction' | 'folds' | 'seed'>;

/** A pooled choice averages over targets, not over models: with fewer models, what these have in common decides. */
const fewestPooled = 10;

/**
 * (numModels) -1: never held out; k: held out in fold k. Empty where nothing is selected. One random split for all targets:
 * round(holdoutFraction * numModels) models in fold 0, at least one (for a pooled choice ten, or a third of them) and never all; with
 * 'kfold' every model in one of `folds` folds whose sizes differ by at most one.
 */
export function foldsOf(numModels: number, options: SelectionOptions): Int32Array {
  const { select, holdoutFraction, folds = defaultFolds } = options;
  if (select === 'none' || numModels < 2) return new Int32Array(0);
  const fold = new Int32Array(numModels).fill(-1);
  if (select === 'kfold') {
    draw(numModels, numModels, options.seed).forEach((model, k) => (fold[model] = k % folds));
  } else {
    const least = select === 'pooled' ? Math.min(fewestPooled, Math.floor(numModels / 3)) : 1;
    const count = Math.min(Math.max(Math.round(holdoutFraction * numModels), least, 1), numModels - 1);
    for (const model of draw(numModels, count, options.seed)) fold[model] = 0;
  }
  return fold;
}

/** `count` different models in random order. */
function draw(numModels: number, count: number, seed: number): Int32Array {
  const random = new Random(seed, Purpose.holdout, 0);
  const order = Int32Array.from({ length: numModels }, (_, model) => model);
  for (let drawn = 0; drawn < count; drawn++) {
    const other = drawn + random.below(numModels - drawn);
    [order[drawn], order[other]] = [order[other]!, order[drawn]!];
  }
  return order.slice(0, count);
}

/** The models that some fold holds out, sorted. */
export function heldOutModels(fold: Int32Array): Int32Array {
  return Int32Array.from(fold.keys()).filter((model) => fold[model]! >= 0);
}

/** The models that choose lambda, sorted; empty without selection. */
export function holdoutModels(numModels: number, options: SelectionOptions): Int32Array {
  return heldOutModels(foldsOf(numModels, options));
}

/** The other models, ascending. */
export function modelsBut(models: Int32Array, numModels: number): Int32Array {
  const out = new Set(models);
  return Int32Array.from({ length: numModels }, (_, model) => model).filter((model) => !out.has(model));
}
