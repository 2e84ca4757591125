/** Every operator that can be trained: the table to add a new one to. */
import { convRules } from './rules/conv.js';
import { linearRules } from './rules/linear.js';
import { normRules } from './rules/norm.js';
import { pointwiseRules } from './rules/pointwise.js';
import { poolRules } from './rules/pool.js';
import { shapeRules } from './rules/shape.js';
import { softmaxRules } from './rules/softmax.js';
import type { Rule } from './rule.js';

export const rules: Readonly<Record<string, Rule>> = {
  ...convRules,
  ...normRules,
  ...pointwiseRules,
  ...poolRules,
  ...shapeRules,
  ...linearRules,
  ...softmaxRules,
};
