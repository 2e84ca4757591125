/** The attributors of a plan. */
import type { AttributorPlan, FitOptions, Plan } from '../types.js';
import type { Attributor } from './attributor.js';
import { sharedOptions } from './options.js';
import { attributorOf, attributors } from './registry.js';

export interface PlannedAttributor {
  /** Unique in the plan. */
  name: string;
  attributor: Attributor;
  options: FitOptions;
  /** Fitted on the first so many subset models; absent: on all. */
  models?: number;
  /** Where its files lie apart from those of the first one. */
  folder?: string;
}

/** In the order of the plan. The first stands for datamodels wherever a plan names no other. */
export function attributorsOf({
  fit,
  attributors: several,
}: Pick<Plan, 'fit' | 'attributors'>): [PlannedAttributor, ...PlannedAttributor[]] {
  const entries: readonly AttributorPlan[] = several ?? [{ name: fit!.estimator, ...fit! }];
  const planned = entries.map(({ name, models, ...options }, index): PlannedAttributor => {
    const apart = index === 0 ? {} : { folder: name };
    return { name, attributor: attributorOf(options), options, ...(models === undefined ? {} : { models }), ...apart };
  });
  return planned as [PlannedAttributor, ...PlannedAttributor[]];
}

/** One on fewer models than another is a point of that one's curve: the entry that a curve is of. */
export function curveOf(plan: Pick<Plan, 'fit' | 'attributors'>, { options }: PlannedAttributor): PlannedAttributor {
  const isSame = (a: FitOptions, b: FitOptions): boolean =>
    [a, b].every((of) => Object.keys(of).every((key) => String(a[key]) === String(b[key])));
  const same = attributorsOf(plan).filter((other) => isSame(other.options, options));
  return same.reduce((most, other) => ((other.models ?? Infinity) > (most.models ?? Infinity) ? other : most));
}

/** Those of the LDS: of the plan, each with what it is compared with. */
export function comparedAttributors(plan: Pick<Plan, 'fit' | 'attributors'>): Omit<PlannedAttributor, 'folder' | 'models'>[] {
  const planned = attributorsOf(plan).filter((entry) => curveOf(plan, entry).name === entry.name);
  const names = new Set(planned.map(({ name }) => name));
  return planned.flatMap((entry) => [entry, ...baselinesOf(entry, names)]);
}

/** None that the LDS has already; `names` learns them. */
function baselinesOf({ attributor, options }: PlannedAttributor, names: Set<string>): Omit<PlannedAttributor, 'folder' | 'models'>[] {
  return attributors
    .filter(({ name, baselineOf }) => baselineOf === attributor.name && !names.has(name))
    .map((baseline) => {
      names.add(baseline.name);
      return { name: baseline.name, attributor: baseline, options: sharedOptions(baseline, options) };
    });
}

/** Whether the plan makes what the attributor works from. */
export function canBeFitted(
  { subsetModels }: Pick<Plan, 'subsetModels'>,
  { attributor, options }: Pick<PlannedAttributor, 'attributor' | 'options'>,
): boolean {
  return subsetModels.count > 0 || !attributor.needs(options).includes('subset-outputs');
}

/** By name; the first one without. */
export function plannedAttributor(plan: Pick<Plan, 'fit' | 'attributors'>, name: string | undefined): PlannedAttributor | undefined {
  const planned = attributorsOf(plan);
  return name === undefined ? planned[0] : planned.find((entry) => entry.name === name);
}
