/** Softmax and its logarithm along one axis. */
import { axisOf, input, integer, type Rule, type RuleNode } from '../rule.js';

function axis(node: RuleNode): number {
  return axisOf(integer(node, 'axis', -1), input(node, 0).shape.length);
}

export const softmaxRules: Record<string, Rule> = {
  /** dx = y (dy - sum(dy y)) */
  Softmax: {
    backward: (g, node, dy, { output: y }) => [g.multiply(y, g.subtract(dy, g.sum(g.multiply(dy, y), [axis(node)])))],
  },
  /** dx = dy - exp(y) sum(dy) */
  LogSoftmax: {
    backward: (g, node, dy, { output: y }) => [g.subtract(dy, g.multiply(g.node('Exp', [y], y.shape), g.sum(dy, [axis(node)])))],
  },
};
