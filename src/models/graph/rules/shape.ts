/** Operators that only move elements. */
import type { GraphBuilder } from '../builder.js';
import { axisOf, input, integer, integers, type Rule, type RuleNode, sameNode, unsupported } from '../rule.js';
import type { Dim, Value } from '../types.js';

/** Rules whose gradient is the gradient in the shape of the input. */
function reshaping(shape: (g: GraphBuilder, node: RuleNode, x: Value) => Dim[]): Rule {
  return {
    forward: (g, node) => ({ output: g.reshape(input(node, 0), shape(g, node, input(node, 0))) }),
    backward: (g, node, dy) => [g.reshape(dy, input(node, 0).shape)],
  };
}

const product = (sides: Dim[]): Dim => sides.reduce<Dim>((all, side) => (all === 'n' || side === 'n' ? 'n' : all * side), 1);

/** Sizes of a Reshape: 0 copies a side, -1 is what is left over. */
function reshapeSizes(g: GraphBuilder, node: RuleNode, x: Value): Dim[] {
  const target = g.integersOf(input(node, 1));
  if (!target || integer(node, 'allowzero', 0) !== 0) throw unsupported(node, 'a constant shape without allowzero', 'another one');
  const sides = target.map((side, axis) => (side === 0 ? x.shape[axis]! : side));
  const free = sides.indexOf(-1);
  if (free < 0) return sides;
  const others = sides.filter((_, axis) => axis !== free);
  // the free side is the batch when the batch is not among the others
  const batch = x.shape.includes('n') && !others.includes('n');
  const count = (shape: Dim[]): number => product(shape.filter((side) => side !== 'n')) as number;
  return sides.with(free, batch ? 'n' : count(x.shape) / count(others));
}

export const shapeRules: Record<string, Rule> = {
  Reshape: reshaping(reshapeSizes),
  Flatten: reshaping((_g, node, x) => {
    const axis = axisOf(integer(node, 'axis', 1), x.shape.length);
    return [product(x.shape.slice(0, axis)), product(x.shape.slice(axis))];
  }),
  Unsqueeze: reshaping((g, node, x) => {
    const axes = g.integersOf(node.inputs[1]) ?? integers(node, 'axes', []);
    const rank = x.shape.length + axes.length;
    const places = axes.map((axis) => axisOf(axis, rank));
    const rest = [...x.shape];
    return Array.from({ length: rank }, (_, axis) => (places.includes(axis) ? 1 : rest.shift()!));
  }),
  Squeeze: reshaping((g, node, x) => {
    const axes = g.integersOf(node.inputs[1]) ?? integers(node, 'axes', []);
    const places = axes.map((axis) => axisOf(axis, x.shape.length));
    return x.shape.filter((side, axis) => (places.length === 0 ? side !== 1 : !places.includes(axis)));
  }),
  Transpose: {
    forward: (g, node) => ({ output: g.transpose(input(node, 0), order(node)) }),
    backward: (g, node, dy) => [
      g.transpose(
        dy,
        order(node).map((_, axis) => order(node).indexOf(axis)),
      ),
    ],
  },
  Concat: {
    forward: (g, node) => {
      const shapes = node.inputs.map((_, i) => input(node, i).shape);
      const axis = axisOf(integer(node, 'axis', 0), shapes[0]!.length);
      const total = shapes.reduce<Dim>((sum, shape) => (sum === 'n' || shape[axis] === 'n' ? 'n' : sum + shape[axis]!), 0);
      if (total === 'n') throw unsupported(node, 'known sizes along the axis', 'the batch');
      return sameNode(g, node, shapes[0]!.with(axis, total));
    },
    backward: (g, node, dy) => {
      const axis = axisOf(integer(node, 'axis', 0), dy.shape.length);
      let begin = 0;
      return node.inputs.map((value) => {
        const size = value!.shape[axis] as number;
        begin += size;
        return g.slice(dy, [axis], [begin - size], [size]);
      });
    },
  },
};

function order(node: RuleNode): number[] {
  const rank = input(node, 0).shape.length;
  return integers(
    node,
    'perm',
    Array.from({ length: rank }, (_, axis) => rank - 1 - axis),
  );
}
