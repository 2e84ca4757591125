/** Pooling over windows and over whole images. Of equal maxima the first one takes the gradient, as in the native engine. */
import type { GraphBuilder } from '../builder.js';
import { axisOf, input, integer, integers, known, type Rule, type RuleNode, type RuleOutput, sameNode, unsupported } from '../rule.js';
import type { Dim, Value } from '../types.js';
import { paddedImage, taps, transposedAttributes, type Window, windowAttributes, windowOf } from './window.js';

function pooledShape(x: Value, window: Window): Dim[] {
  return [x.shape[0]!, x.shape[1]!, ...window.output];
}

/** One value for each image and channel. */
function wholeImage(g: GraphBuilder, node: RuleNode): RuleOutput {
  const { shape } = input(node, 0);
  if (shape.length === 4) return sameNode(g, node, [...shape.slice(0, 2), 1, 1]);
  throw unsupported(node, 'images (n, channels, height, width)', `${shape.length} dimensions`);
}

/** (n, channels, height width) */
function flatImages(g: GraphBuilder, node: RuleNode): Value {
  const x = input(node, 0);
  return g.reshape(x, [x.shape[0]!, x.shape[1]!, known(node, x, 2) * known(node, x, 3)]);
}

export const poolRules: Record<string, Rule> = {
  MaxPool: {
    attributes: [...windowAttributes, 'ceil_mode', 'storage_order'],
    forward: (g, node) => {
      const x = input(node, 0);
      const shape = pooledShape(x, windowOf(node, []));
      if (integer(node, 'storage_order', 0) !== 0) throw unsupported(node, 'storage_order 0', '1');
      if (!node.wanted[0] || g.provider === 'cuda') return sameNode(g, node, shape);
      const [output, indices] = g.nodeWithOutputs('MaxPool', [x], [shape, shape], node.source.attributes ?? {}) as [Value, Value];
      return { output, saved: [indices] };
    },
    backward: (g, node, dy, { output, saved: [indices] }) => [
      indices ? maximaByIndex(g, input(node, 0), indices, dy) : maximaByTaps(g, node, output, dy),
    ],
  },
  AveragePool: {
    attributes: [...windowAttributes, 'ceil_mode', 'count_include_pad'],
    forward: (g, node) => sameNode(g, node, pooledShape(input(node, 0), windowOf(node, []))),
    backward: (g, node, dy) => [averageGradient(g, node, dy)],
  },
  GlobalMaxPool: {
    forward: wholeImage,
    backward: (g, node, dy) => {
      const x = flatImages(g, node);
      const first = g.node('ArgMax', [x], [...x.shape.slice(0, 2), 1], { axis: 2 });
      const update = g.reshape(dy, [...x.shape.slice(0, 2), 1]);
      const dx = g.node('ScatterElements', [g.zerosLike(x), first, update], x.shape, { axis: 2 });
      return [g.reshape(dx, input(node, 0).shape)];
    },
  },
  GlobalAveragePool: {
    forward: wholeImage,
    backward: (g, node, dy) => [spread(g, input(node, 0), [2, 3], dy)],
  },
  ReduceMean: {
    attributes: ['axes', 'keepdims', 'noop_with_empty_axes'],
    forward: (g, node) => {
      const x = input(node, 0);
      const axes = meanAxes(g, node);
      const mean = g.mean(x, axes);
      return {
        output:
          integer(node, 'keepdims', 1) !== 0
            ? mean
            : g.reshape(
                mean,
                x.shape.filter((_, axis) => !axes.includes(axis)),
              ),
      };
    },
    backward: (g, node, dy) => {
      const x = input(node, 0);
      const axes = meanAxes(g, node);
      const kept = g.reshape(
        dy,
        x.shape.map((side, axis) => (axes.includes(axis) ? 1 : side)),
      );
      return [spread(g, x, axes, kept)];
    },
  },
};

function meanAxes(g: GraphBuilder, node: RuleNode): number[] {
  const { shape } = input(node, 0);
  const axes = (g.integersOf(node.inputs[1]) ?? integers(node, 'axes', [])).map((axis) => axisOf(axis, shape.length));
  // without axes the mean is over all of them, the batch included
  if (axes.length > 0 && axes.length <= shape.length && axes.every((axis) => typeof shape[axis] === 'number')) return axes;
  throw unsupported(node, 'axes of known size, given as constants', axes.length > 0 ? axes.join(', ') : 'none');
}

/** The gradient of a mean over axes of x: an equal share for every element. */
function spread(g: GraphBuilder, x: Value, axes: number[], dy: Value): Value {
  const count = axes.reduce((product, axis) => product * (x.shape[axis] as number), 1);
  const share = g.multiply(dy, g.scalar(1 / count));
  return g.node('Expand', [share, g.node('Shape', [x], [x.shape.length])], x.shape);
}

/** Windows may overlap: the gradients of an element that is the maximum of several add up. */
function maximaByIndex(g: GraphBuilder, x: Value, indices: Value, dy: Value): Value {
  const flat = g.reshape(x, ['n']);
  const dx = g.node('ScatterElements', [g.zerosLike(flat), g.reshape(indices, ['n']), g.reshape(dy, ['n'])], ['n'], { reduction: 'add' });
  return g.reshape(dx, x.shape);
}

/** Without indices: for each element of the window, dy where the element is the first that equals the maximum, put back in its place. */
function maximaByTaps(g: GraphBuilder, node: RuleNode, y: Value, dy: Value): Value {
  const x = input(node, 0);
  const window = windowOf(node, []);
  const { image, before, after, stride, output } = window;
  const padded = g.pad(x, [0, 0, ...before], [0, 0, ...after], -Infinity);
  let taken: Value | undefined;
  let sum: Value | undefined;
  for (const tap of taps(window)) {
    const equal = g.node('Equal', [g.slice(padded, [2, 3], tap, output, stride), y], y.shape);
    const first = taken ? g.node('And', [equal, g.node('Not', [taken], y.shape)], y.shape) : equal;
    taken = taken ? g.node('Or', [taken, equal], y.shape) : equal;
    const placed = place(g, g.where(first, dy, g.scalar(0)), tap, window);
    sum = sum ? g.add(sum, placed) : placed;
  }
  return g.slice(sum!, [2, 3], before, image);
}

/** Values of one element of the window (n, c, ho, wo) in the padded image: zeros between, before and after them. */
function place(g: GraphBuilder, values: Value, tap: [number, number], window: Window): Value {
  const [n, c] = values.shape as [Dim, Dim];
  const { stride, output } = window;
  const sides = paddedImage(window);
  const apart = g.pad(
    g.reshape(values, [n, c, output[0], 1, output[1], 1]),
    [0, 0, 0, 0, 0, 0],
    [0, 0, 0, stride[0] - 1, 0, stride[1] - 1],
  );
  const wide = g.reshape(apart, [n, c, output[0] * stride[0], output[1] * stride[1]]);
  const extent = [0, 1].map((axis) => (output[axis]! - 1) * stride[axis]! + 1);
  const rest = [0, 1].map((axis) => sides[axis]! - tap[axis]! - extent[axis]!);
  return g.pad(g.slice(wide, [2, 3], [0, 0], extent), [0, 0, ...tap], [0, 0, ...rest]);
}

/** A transposed convolution of every channel by itself with ones, after dividing by the number of elements in the mean. */
function averageGradient(g: GraphBuilder, node: RuleNode, dy: Value): Value {
  const x = input(node, 0);
  const window = windowOf(node, []);
  const { kernel, output } = window;
  const counts = g.floats([1, 1, ...output], shares(window, integer(node, 'count_include_pad', 0) !== 0));
  const channels = g.reshape(g.multiply(dy, counts), ['n', 1, ...output]);
  const ones = g.floats([1, 1, ...kernel], new Float32Array(kernel[0] * kernel[1]).fill(1));
  const dx = g.node('ConvTranspose', [channels, ones], ['n', 1, ...window.image], transposedAttributes(window));
  return g.reshape(dx, x.shape);
}

/** 1 / number of elements that each window averages: (ho, wo). */
function shares(window: Window, withPadding: boolean): Float32Array {
  const { image, kernel, stride, dilation, before, output } = window;
  const inside = (axis: 0 | 1, at: number): number => {
    const places = Array.from({ length: kernel[axis] }, (_, k) => at * stride[axis] - before[axis] + k * dilation[axis]);
    return withPadding ? kernel[axis] : places.filter((place) => place >= 0 && place < image[axis]).length;
  };
  return Float32Array.from(
    { length: output[0] * output[1] },
    (_, i) => 1 / (inside(0, Math.floor(i / output[1])) * inside(1, i % output[1])),
  );
}
