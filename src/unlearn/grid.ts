/** Hyper-parameter grids: which jobs to run, and at which epochs of each job a setting of the grid is read. */
import { LetheError } from '../errors.js';
import type { MethodPlan, MethodSetting, TrainRecipe } from '../types.js';
import type { ParameterGrid, UnlearnMethod } from './method.js';
import { checkSetting, checkValue, numberOf } from './setting.js';

/** One run per original: all its `epochs` values are snapshots, where a method does not look at its total number of epochs. */
export interface GridRun {
  /** Complete; `epochs`, where the method has it, is the last snapshot. */
  setting: MethodSetting;
  /** Sorted; empty where the method has no epochs (direct methods). */
  evalEpochs: number[];
}

/**
 * The runs of a method's grid, in the order of the grid's values (the first parameter varies slowest).
 * @throws LETHE_SETTING_UNKNOWN, LETHE_SETTING_INVALID, LETHE_SETTING_UNUSED
 */
export function expandGrid(method: UnlearnMethod, grid: MethodPlan['grid'], recipe: TrainRecipe): GridRun[] {
  const values = grid === 'paper' ? method.paperGrid(recipe) : grid;
  checkGrid(method, values);
  const { epochs, ...others } = values;
  const settings = product(others).map((given) => checkSetting(method, given));
  if (!Object.hasOwn(method.parameters, 'epochs')) {
    const end = method.kind === 'reference' ? [recipe.epochs] : [];
    return settings.map((setting) => ({ setting, evalEpochs: end }));
  }
  // a partial retraining has no default length of its own: it depends on the recipe
  const published = method.kind === 'reference' ? method.paperGrid(recipe)['epochs'] : undefined;
  const defaultEpochs = published ?? [method.parameters['epochs']!.default!];
  return settings.flatMap((setting) => {
    const evalEpochs = [...new Set((epochs ?? defaultEpochs) as number[])].sort((a, b) => a - b);
    checkLength(method, recipe, evalEpochs.at(-1)!);
    const apart = method.kind === 'reference' && method.ownRecipe?.(recipe, setting) !== undefined;
    const lengths = apart ? evalEpochs.map((length) => [length]) : [evalEpochs];
    return lengths.map((own) => ({ setting: { ...setting, epochs: own.at(-1)! }, evalEpochs: own }));
  });
}

/** The settings that a run stands for, one per snapshot, in the order of evalEpochs. */
export function snapshotSettings(run: GridRun): MethodSetting[] {
  if (!Object.hasOwn(run.setting, 'epochs')) return [run.setting];
  return run.evalEpochs.map((epochs) => ({ ...run.setting, epochs }));
}

/** The compute fraction's `atEpoch` of a complete setting. */
export function lengthOf(setting: MethodSetting, recipe: TrainRecipe): number {
  return Object.hasOwn(setting, 'epochs') ? numberOf(setting, 'epochs') : recipe.epochs;
}

function checkGrid(method: UnlearnMethod, grid: ParameterGrid): void {
  for (const [name, values] of Object.entries(grid)) {
    if (values.length === 0) {
      throw new LetheError('LETHE_SETTING_INVALID', `the grid of ${method.name} has no value for ${name}`, {
        action: `Give at least one value, or leave ${name} out to use its default.`,
      });
    }
    for (const value of values) checkValue(method, name, value);
  }
}

/** A partial retraining is shorter than the recipe: at the recipe's it would be the full one. */
function checkLength(method: UnlearnMethod, recipe: TrainRecipe, epochs: number): void {
  if (method.kind !== 'reference' || epochs < recipe.epochs) return;
  throw new LetheError('LETHE_SETTING_INVALID', `epochs of ${method.name} (how long to retrain)`, {
    expected: `fewer than the ${recipe.epochs} epochs of the recipe`,
    received: String(epochs),
    action: 'Use full-retrain for the whole length.',
  });
}

function product(grid: ParameterGrid): MethodSetting[] {
  let settings: MethodSetting[] = [{}];
  for (const [name, values] of Object.entries(grid)) {
    settings = settings.flatMap((setting) => values.map((value) => ({ ...setting, [name]: value })));
  }
  return settings;
}
