/** Operators that work element by element. */
import type { GraphBuilder } from '../builder.js';
import { broadcast } from '../builder.js';
import { input, type Rule, type RuleNode, sameNode, text, unsupported } from '../rule.js';
import type { Dim, Value } from '../types.js';

/** The gradient of a broadcast operand: summed over the axes along which it was repeated. */
function sumTo(g: GraphBuilder, gradient: Value, shape: Dim[]): Value {
  const lead = gradient.shape.length - shape.length;
  const axes = gradient.shape.map((_, axis) => axis).filter((axis) => (shape[axis - lead] ?? 1) === 1 && gradient.shape[axis] !== 1);
  return g.reshape(axes.length > 0 ? g.sum(gradient, axes) : gradient, shape);
}

/** y = f(a, b) with broadcasting; `slopes` gives the gradients before the sums of broadcasting. */
function binary(slopes: (g: GraphBuilder, a: Value, b: Value, dy: Value, y: Value) => [() => Value, () => Value]): Rule {
  return {
    forward: (g, node) => sameNode(g, node, broadcast(input(node, 0).shape, input(node, 1).shape)),
    backward: (g, node, dy, { output }) => {
      const a = input(node, 0);
      const b = input(node, 1);
      return slopes(g, a, b, dy, output).map((slope, i) => (node.wanted[i] ? sumTo(g, slope(), (i === 0 ? a : b).shape) : undefined));
    },
  };
}

/** y = f(x); `slope` gives the gradient of x. */
function unary(slope: (g: GraphBuilder, parts: { x: Value; y: Value; dy: Value }, node: RuleNode) => Value): Rule {
  return { backward: (g, node, dy, { output }) => [slope(g, { x: input(node, 0), y: output, dy }, node)] };
}

export const pointwiseRules: Record<string, Rule> = {
  Add: binary((_g, _a, _b, dy) => [() => dy, () => dy]),
  Sub: binary((g, _a, _b, dy) => [() => dy, () => g.negate(dy)]),
  Mul: binary((g, a, b, dy) => [() => g.multiply(dy, b), () => g.multiply(dy, a)]),
  Div: binary((g, _a, b, dy, y) => [() => g.divide(dy, b), () => g.negate(g.multiply(g.divide(dy, b), y))]),
  Neg: unary((g, { dy }) => g.negate(dy)),
  Identity: unary((_g, { dy }) => dy),
  Relu: unary((g, { y, dy }) => g.where(g.node('Greater', [y, g.scalar(0)], y.shape), dy, g.scalar(0))),
  Sigmoid: unary((g, { y, dy }) => g.multiply(dy, g.multiply(y, g.subtract(g.scalar(1), y)))),
  Tanh: unary((g, { y, dy }) => g.multiply(dy, g.subtract(g.scalar(1), g.multiply(y, y)))),
  /** 2 / sqrt(pi) exp(-x^2) */
  Erf: unary((g, { x, dy }) => {
    const bell = g.node('Exp', [g.negate(g.multiply(x, x))], x.shape);
    return g.multiply(dy, g.multiply(bell, g.scalar(2 / Math.sqrt(Math.PI))));
  }),
  Gelu: {
    attributes: ['approximate'],
    forward: (g, node) => {
      const kind = text(node, 'approximate', 'none');
      if (kind !== 'none' && kind !== 'tanh') throw unsupported(node, 'approximate none or tanh', kind);
      return sameNode(g, node, input(node, 0).shape);
    },
    ...unary((g, { x, dy }, node) => g.multiply(dy, text(node, 'approximate', 'none') === 'tanh' ? tanhGelu(g, x) : erfGelu(g, x))),
  },
};

/** d/dx x Phi(x) = Phi(x) + x phi(x) */
function erfGelu(g: GraphBuilder, x: Value): Value {
  const erf = g.node('Erf', [g.multiply(x, g.scalar(Math.SQRT1_2))], x.shape);
  const cumulative = g.multiply(g.add(erf, g.scalar(1)), g.scalar(0.5));
  const bell = g.node('Exp', [g.multiply(g.multiply(x, x), g.scalar(-0.5))], x.shape);
  return g.add(cumulative, g.multiply(g.multiply(x, bell), g.scalar(1 / Math.sqrt(2 * Math.PI))));
}

/** y = x (1 + t) / 2 with t = tanh(u), u = k (x + 0.044715 x^3): y' = (1 + t) / 2 + x (1 - t^2) u' / 2 */
function tanhGelu(g: GraphBuilder, x: Value): Value {
  const k = Math.sqrt(2 / Math.PI);
  const square = g.multiply(x, x);
  const inner = g.multiply(x, g.add(g.scalar(k), g.multiply(square, g.scalar(0.044715 * k))));
  const t = g.node('Tanh', [inner], x.shape);
  const slope = g.add(g.scalar(k), g.multiply(square, g.scalar(3 * 0.044715 * k)));
  const rest = g.multiply(g.multiply(x, slope), g.subtract(g.scalar(1), g.multiply(t, t)));
  return g.multiply(g.add(g.add(t, g.scalar(1)), rest), g.scalar(0.5));
}
