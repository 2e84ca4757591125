/** Unlearning of one model, and what it needs. */
import type { MethodSetting, TrainJob } from '../types.js';
import { checkSets } from './method.js';
import type { DirectMethod, JobMethod, UnlearnInput } from './method.js';
import { checkSetting } from './setting.js';

export { calibrateScale, forgetShift, simulate } from './dmDirect.js';
export { expandGrid, lengthOf, snapshotSettings } from './grid.js';
export type { GridRun } from './grid.js';
export type { DirectMethod, ForgetShift, JobMethod, ReferenceMethod, UnlearnInput, UnlearnMethod, UnlearnSizes } from './method.js';
export { fineTuneSet } from './oracleMatching.js';
export { methodNames, unlearnMethod } from './registry.js';
export { checkSetting } from './setting.js';

/**
 * The job that unlearns one original, input and setting checked.
 * @throws LETHE_FORGET_SET_INVALID, LETHE_ORACLES_MISSING, LETHE_DATAMODELS_MISSING, LETHE_SETTING_*
 */
export function unlearnJob(method: JobMethod, input: UnlearnInput, setting: MethodSetting): TrainJob {
  checkSets(input);
  return method.buildJob(input, checkSetting(method, setting));
}

/**
 * (points, numClasses) logits of a method without training, input and setting checked.
 * @throws LETHE_FORGET_SET_INVALID, LETHE_DATAMODELS_MISSING, LETHE_SETTING_*
 */
export function unlearnedLogits(method: DirectMethod, input: UnlearnInput, setting: MethodSetting): Float32Array {
  checkSets(input);
  return method.logits(input, checkSetting(method, setting));
}
