/** The unlearning methods by name. */
import { didYouMean, LetheError } from '../errors.js';
import { methodNames } from '../types.js';
import type { MethodName, MethodSetting, TrainJob } from '../types.js';
import { dmDirect } from './dmDirect.js';
import { gradientAscent, gradientDescent } from './gradient.js';
import { checkSets } from './method.js';
import type { DirectMethod, JobMethod, UnlearnInput, UnlearnMethod } from './method.js';
import { datamodelMatching, oracleMatching } from './oracleMatching.js';
import { doNothing, fullRetrain, partialRetrain } from './retraining.js';
import { scrub } from './scrub.js';
import { checkSetting } from './setting.js';

export { calibrateScale, forgetShift, simulate } from './dmDirect.js';
export { expandGrid, lengthOf, snapshotSettings } from './grid.js';
export type { GridRun } from './grid.js';
export type { DirectMethod, ForgetShift, JobMethod, ReferenceMethod, UnlearnInput, UnlearnMethod, UnlearnSizes } from './method.js';
export { compressRecipe, isCompressed } from './retraining.js';
export { checkSetting } from './setting.js';

const methods: Record<MethodName, UnlearnMethod> = {
  'do-nothing': doNothing,
  'full-retrain': fullRetrain,
  'partial-retrain': partialRetrain,
  'gradient-ascent': gradientAscent,
  'gradient-descent': gradientDescent,
  scrub,
  'oracle-matching': oracleMatching,
  'dm-direct': dmDirect,
  dmm: datamodelMatching,
};

/** @throws LETHE_METHOD_UNKNOWN */
export function unlearnMethod(name: string): UnlearnMethod {
  if (Object.hasOwn(methods, name)) return methods[name as MethodName];
  throw new LetheError('LETHE_METHOD_UNKNOWN', `there is no unlearning method "${name}"`, { action: didYouMean(name, methodNames) });
}

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
