/** Softmax and its logarithm along one axis. */
import { axisOf, input, integer, type Rule, type RuleNode, sameNode, unsupported } from '../rule.js';

function axis(node: RuleNode): number {
  const { shape } = input(node, 0);
  const at = axisOf(integer(node, 'axis', -1), shape.length);
  if (shape[at] !== undefined && shape[at] !== 'n') return at;
  throw unsupported(node, 'an axis of known size', `axis ${at} of (${shape.join(', ')})`);
}

const forward: Rule['forward'] = (g, node) => {
  axis(node);
  return sameNode(g, node, input(node, 0).shape);
};

export const softmaxRules: Record<string, Rule> = {
  /** dx = y (dy - sum(dy y)) */
  Softmax: {
    attributes: ['axis'],
    forward,
    backward: (g, node, dy, { output: y }) => [g.multiply(y, g.subtract(dy, g.sum(g.multiply(dy, y), [axis(node)])))],
  },
  /** dx = dy - exp(y) sum(dy) */
  LogSoftmax: {
    attributes: ['axis'],
    forward,
    backward: (g, node, dy, { output: y }) => [g.subtract(dy, g.multiply(g.node('Exp', [y], y.shape), g.sum(dy, [axis(node)])))],
  },
};
