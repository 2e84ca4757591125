/** Plan files: read, checked whole, every default written out. */
import path from 'node:path';
import type { Plan } from '../types.js';
import { mistakesOf, planError } from './planMistakes.js';
import { planNetSum } from './planNet.js';
import { attributorMistakes, netMistakes, planMistakes, resolve } from './planRules.js';
import { planSchema } from './planSchema.js';
import { readPlanText } from './planText.js';

/**
 * Reads a plan file (.json, .yaml, .yml) into a resolved plan. Defaults are in planDefaults.ts; an absent name is the file's.
 * @throws LETHE_FILE_MISSING, LETHE_PLAN_INVALID (exit code 2) with place, line and "did you mean" for every mistake
 */
export async function loadPlan(file: string): Promise<Plan> {
  const text = await readPlanText(file);
  const value = text.value ?? {};
  const parsed = planSchema.safeParse(value);
  if (!parsed.success) {
    const mistakes = parsed.error.issues.flatMap((issue) => mistakesOf(issue, value));
    throw planError(file, text, mistakes);
  }
  const plan = resolve(parsed.data, path.basename(file).replace(/\.(json|ya?ml)$/, ''));
  const mistakes = [...netMistakes(parsed.data), ...attributorMistakes(parsed.data), ...planMistakes(plan)];
  if (mistakes.length > 0) throw planError(file, text, mistakes);
  if ('file' in plan.net && plan.net.sha256 === '') plan.net.sha256 = await planNetSum(file, plan.net.file);
  return plan;
}
