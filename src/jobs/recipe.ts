/** Recipes that do not come from a plan, by the rules of plans. */
import type { TrainRecipe } from '../types.js';
import { type Mistake, mistakesOf } from './planMistakes.js';
import { recipeMistakes } from './planRules.js';
import { recipeSchema } from './planSchema.js';

/** What a plan with this recipe would be refused for; keys count from the recipe. */
export function mistakesOfRecipe(recipe: TrainRecipe): Mistake[] {
  const parsed = recipeSchema.safeParse(recipe);
  if (!parsed.success) return parsed.error.issues.flatMap((issue) => mistakesOf(issue, recipe));
  return [...recipeMistakes({ recipe })].map(({ keys, ...mistake }) => ({ keys: keys.slice(1), ...mistake }));
}
