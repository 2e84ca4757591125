/** The parts of a plan that decide the artefacts of its stages (Task.inputs). What a part leaves out may change without making them anew. */
import { attributorsOf, type PlannedAttributor } from '../attributors/planned.js';
import type { Plan } from '../types.js';

/** Of every model that is trained from scratch. */
export function trainingInputs({ net, recipe, seed }: Plan): object {
  return { net, recipe, seed };
}

/** Of masks and outputs of all subset models. */
function subsetInputs(plan: Plan): object {
  const { count, subsetFraction } = plan.subsetModels;
  return { ...trainingInputs(plan), count, subsetFraction };
}

/** Of an attributor of the plan, or of its first. */
export function datamodelInputs(
  plan: Plan,
  { options: fit, models }: Pick<PlannedAttributor, 'options' | 'models'> = attributorsOf(plan)[0],
): object {
  return { subset: subsetInputs(plan), fit, ...(models === undefined ? {} : { models }) };
}

/** Principal components come from the datamodels; an index file is known by its path. */
export function forgetSetInputs(plan: Plan, forgetSetIndex: number): object {
  const spec = plan.forgetSets[forgetSetIndex]!;
  return spec.kind === 'principalComponent' ? { spec, datamodels: datamodelInputs(plan) } : { spec };
}
