/** Operators that only move elements. */
import type { GraphBuilder } from '../builder.js';
import { axisOf, input, integer, integers, type Rule, type RuleNode, sameNode, unsupported } from '../rule.js';
import type { Dim, Value } from '../types.js';

/** As many numbers of a list as a message shows, and dimensions as a shape may have. */
const maxRank = 16;

/** Rules whose gradient is the gradient in the shape of the input. */
function reshaping(attributes: string[], shape: (g: GraphBuilder, node: RuleNode, x: Value) => Dim[]): Rule {
  return {
    attributes,
    forward: (g, node) => ({ output: g.reshape(input(node, 0), shape(g, node, input(node, 0))) }),
    backward: (g, node, dy) => [g.reshape(dy, input(node, 0).shape)],
  };
}

const product = (sides: Dim[]): Dim => sides.reduce<Dim>((all, side) => (all === 'n' || side === 'n' ? 'n' : all * side), 1);

/** Sizes of a Reshape: 0 copies a side, -1 is what is left over. */
function reshapeSizes(g: GraphBuilder, node: RuleNode, x: Value): Dim[] {
  const target = g.integersOf(input(node, 1));
  if (!target || integer(node, 'allowzero', 0) !== 0) throw unsupported(node, 'a constant shape without allowzero', 'another one');
  const sides = target.map((side, axis): Dim => {
    if (axis === 0 && x.shape[0] === 'n' && side === node.fixedBatch) return 'n';
    return side === 0 ? x.shape[axis]! : side;
  });
  const free = sides.indexOf(-1);
  // the free side is the batch when the batch is not among the others
  const batch = x.shape.includes('n') && !sides.includes('n');
  const count = (shape: Dim[]): number => product(shape.filter((side) => side !== 'n')) as number;
  const others = count(sides.filter((_, axis) => axis !== free));
  const whole = free < 0 ? sides : sides.with(free, batch ? 'n' : count(x.shape) / others);
  const fits = batch ? free >= 0 : count(whole) === count(x.shape);
  const keepsBatch = x.shape[0] !== 'n' || whole[0] === 'n';
  if (target.length <= maxRank && fits && keepsBatch && whole.every((side) => side === 'n' || (Number.isInteger(side) && side > 0)))
    return whole;
  throw unsupported(
    node,
    `a shape for a batch of any size, of values (${x.shape.join(', ')})`,
    `(${target.slice(0, maxRank).join(', ')})`,
    'Export the network with dynamic axes: the batch, axis 0 of its images, is to be free.',
  );
}

export const shapeRules: Record<string, Rule> = {
  Reshape: reshaping(['allowzero'], reshapeSizes),
  Flatten: reshaping(['axis'], (_g, node, x) => {
    const axis = axisOf(integer(node, 'axis', 1), x.shape.length);
    return [product(x.shape.slice(0, axis)), product(x.shape.slice(axis))];
  }),
  Unsqueeze: reshaping(['axes'], (g, node, x) => {
    const axes = g.integersOf(node.inputs[1]) ?? integers(node, 'axes', []);
    const rank = x.shape.length + axes.length;
    const places = axes.map((axis) => axisOf(axis, rank));
    const rest = [...x.shape];
    return Array.from({ length: rank }, (_, axis) => (places.includes(axis) ? 1 : rest.shift()!));
  }),
  Squeeze: reshaping(['axes'], (g, node, x) => {
    const axes = g.integersOf(node.inputs[1]) ?? integers(node, 'axes', []);
    const places = axes.map((axis) => axisOf(axis, x.shape.length));
    return x.shape.filter((side, axis) => (places.length === 0 ? side !== 1 : !places.includes(axis)));
  }),
  Transpose: {
    attributes: ['perm'],
    forward: (g, node) => ({ output: g.transpose(input(node, 0), order(node)) }),
    backward: (g, node, dy) => [
      g.transpose(
        dy,
        order(node).map((_, axis) => order(node).indexOf(axis)),
      ),
    ],
  },
  Concat: {
    attributes: ['axis'],
    forward: (g, node) => {
      const shapes = node.inputs.map((_, i) => input(node, i).shape);
      const axis = axisOf(integer(node, 'axis', 0), shapes[0]!.length);
      const total = shapes.reduce<Dim>((sum, shape) => (sum === 'n' || shape[axis] === 'n' ? 'n' : sum + shape[axis]!), 0);
      if (total === 'n') throw unsupported(node, 'known sizes along the axis', 'the batch');
      const rest = shapes.map((shape) => shape.with(axis, 0).join(', '));
      const other = rest.find((sides) => sides !== rest[0]);
      if (other !== undefined) throw unsupported(node, `parts that differ along axis ${axis} only, (${rest[0]!})`, `(${other})`);
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
  const axes = Array.from({ length: rank }, (_, axis) => axis);
  const perm = integers(node, 'perm', axes.toReversed());
  if (perm.length === rank && axes.every((axis) => perm.includes(axis))) return perm;
  throw unsupported(node, `perm as an order of ${rank} axes`, `[${perm.slice(0, maxRank).join(', ')}]`);
}
