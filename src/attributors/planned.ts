/** The attributors of a plan. */
import type { FitOptions, Plan } from '../types.js';
import type { Attributor } from './attributor.js';
import { sharedOptions } from './options.js';
import { attributorOf, attributors } from './registry.js';

export interface PlannedAttributor {
  /** Unique in the plan. */
  name: string;
  attributor: Attributor;
  options: FitOptions;
  /** Where its files lie apart from those of the first one. */
  folder?: string;
}

/** In the order of the plan. The first stands for datamodels wherever a plan names no other. */
export function attributorsOf({
  fit,
  attributors: several,
}: Pick<Plan, 'fit' | 'attributors'>): [PlannedAttributor, ...PlannedAttributor[]] {
  const entries = several ?? [{ name: fit!.estimator, ...fit! }];
  const planned = entries.map(({ name, ...options }, index): PlannedAttributor => {
    const apart = index === 0 ? {} : { folder: name };
    return { name, attributor: attributorOf(options), options, ...apart };
  });
  return planned as [PlannedAttributor, ...PlannedAttributor[]];
}

/** Those of the LDS: of the plan, each with what it is compared with. */
export function comparedAttributors(plan: Pick<Plan, 'fit' | 'attributors'>): Omit<PlannedAttributor, 'folder'>[] {
  const planned = attributorsOf(plan);
  const names = new Set(planned.map(({ name }) => name));
  return planned.flatMap((entry) => [entry, ...baselinesOf(entry, names)]);
}

/** None that the LDS has already; `names` learns them. */
function baselinesOf({ attributor, options }: PlannedAttributor, names: Set<string>): Omit<PlannedAttributor, 'folder'>[] {
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
