/** Convolution in two dimensions, one group. */
import type { GraphBuilder } from '../builder.js';
import { input, integer, type Rule, type RuleNode, sameNode, unsupported } from '../rule.js';
import type { Value } from '../types.js';
import { paddedImage, taps, transposedAttributes, type Window, windowAttributes, windowOf } from './window.js';

function geometry(node: RuleNode): Window {
  const group = integer(node, 'group', 1);
  if (group !== 1) throw unsupported(node, 'one group', `group ${group}`);
  const [x, w] = [input(node, 0), input(node, 1)];
  const window = windowOf(node, w.shape.slice(2) as number[]);
  if (x.shape[1] === w.shape[1] && window.kernel.join() === w.shape.slice(2).join()) return window;
  const expected = `weights (out, ${x.shape[1]!}, ${window.kernel.join(', ')})`;
  throw unsupported(node, expected, `(${w.shape.join(', ')})`);
}

export const convRules: Record<string, Rule> = {
  Conv: {
    attributes: [...windowAttributes, 'group'],
    forward: (g, node) => sameNode(g, node, [input(node, 0).shape[0]!, input(node, 1).shape[0]!, ...geometry(node).output]),
    backward: (g, node, dy) => {
      const window = geometry(node);
      const weightGradient = g.provider === 'cuda' ? gradientByTaps : gradientByConvolution;
      return [
        node.wanted[0] ? inputGradient(g, node, dy, window) : undefined,
        node.wanted[1] ? weightGradient(g, node, dy, window) : undefined,
        node.wanted[2] ? g.sumPerChannel(dy) : undefined,
      ];
    },
  },
};

/**
 * Stride 1: a convolution with the weights flipped and their channels swapped, faster than the transposed convolution; at stride 2 the
 * transposed one wins.
 */
function inputGradient(g: GraphBuilder, node: RuleNode, dy: Value, window: Window): Value {
  const [x, w] = [input(node, 0), input(node, 1)];
  const { kernel, stride, dilation, before, after } = window;
  const plain = [0, 1].every((axis) => stride[axis] === 1 && dilation[axis] === 1 && Math.max(before[axis]!, after[axis]!) < kernel[axis]!);
  if (!plain) return g.node('ConvTranspose', [dy, w], x.shape, transposedAttributes(window));
  const swapped = g.transpose(g.flip(w, [2, 3]), [1, 0, 2, 3]);
  const pads = [...before, ...after].map((pad, i) => kernel[i % 2]! - 1 - pad);
  return g.node('Conv', [dy, swapped], x.shape, { kernel_shape: kernel, pads });
}

/**
 * One convolution in three dimensions: the images of the batch are its channels, the channels of x its third dimension, and dy its kernel:
 * (1, n, h, w, c) * (o, n, ho, wo, 1) -> (1, o, k, k, c).
 */
function gradientByConvolution(g: GraphBuilder, node: RuleNode, dy: Value, window: Window): Value {
  const [x, w] = [input(node, 0), input(node, 1)];
  const { kernel, stride, dilation, before, after, output } = window;
  const [out, inChannels] = w.shape as [number, number];
  const images = g.reshape(g.transpose(x, [0, 2, 3, 1]), [1, 'n', ...window.image, inChannels]);
  const kernels = g.reshape(g.transpose(dy, [1, 0, 2, 3]), [out, 'n', ...output, 1]);
  const padded = paddedImage(window);
  // more positions than the kernel has where the stride does not fit: the rest is cut off
  const positions = [0, 1].map((axis) => Math.floor((padded[axis]! - (stride[axis]! * (output[axis]! - 1) + 1)) / dilation[axis]!) + 1);
  const all = g.node('Conv', [images, kernels], [1, out, ...positions, inChannels], {
    kernel_shape: [...output, 1],
    pads: [...before, 0, ...after, 0],
    dilations: [...stride, 1],
    strides: [...dilation, 1],
  });
  const exact = positions.every((count, axis) => count === kernel[axis]);
  const cut = exact ? all : g.slice(all, [2, 3], [0, 0], kernel);
  return g.transpose(g.reshape(cut, [out, ...kernel, inChannels]), [0, 3, 1, 2]);
}

/** A matrix product for each element of the kernel: shifted x (n ho wo, c) transposed, times dy (n ho wo, o). */
function gradientByTaps(g: GraphBuilder, node: RuleNode, dy: Value, window: Window): Value {
  const [x, w] = [input(node, 0), input(node, 1)];
  const { kernel, stride, before, after, output } = window;
  const [out, inChannels] = w.shape as [number, number];
  const rows = g.reshape(g.transpose(dy, [0, 2, 3, 1]), ['n', out]);
  const images = g.transpose(g.pad(x, [0, 0, ...before], [0, 0, ...after]), [0, 2, 3, 1]);
  const products = taps(window).map((tap) => {
    const shifted = g.reshape(g.slice(images, [1, 2], tap, output, stride), ['n', inChannels]);
    return g.reshape(g.node('Gemm', [shifted, rows], [inChannels, out], { transA: 1 }), [1, inChannels, out]);
  });
  return g.transpose(g.reshape(g.concatenate(products, 0), [...kernel, inChannels, out]), [3, 2, 0, 1]);
}
