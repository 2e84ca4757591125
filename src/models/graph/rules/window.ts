/** Geometry of operators that slide a window over an image (n, channels, height, width). */
import { input, integer, integers, known, type RuleNode, text, unsupported } from '../rule.js';

export interface Window {
  /** Each [along height, along width]. */
  image: [number, number];
  kernel: [number, number];
  stride: [number, number];
  dilation: [number, number];
  before: [number, number];
  after: [number, number];
  output: [number, number];
}

/** Those that windowOf reads and every operator with a window has. */
export const windowAttributes = ['auto_pad', 'dilations', 'kernel_shape', 'pads', 'strides'] as const;

const axes = [0, 1] as const;
const each = (side: (axis: 0 | 1) => number): [number, number] => [side(0), side(1)];

const maxSide = 2 ** 16;

/** @throws LETHE_ONNX_UNSUPPORTED for windows in other than two dimensions, automatic padding, or outputs rounded up */
export function windowOf(node: RuleNode, kernelShape: number[]): Window {
  const x = input(node, 0);
  const padding = text(node, 'auto_pad', 'NOTSET');
  if (padding !== 'NOTSET' && padding !== 'VALID') throw unsupported(node, 'explicit pads', `auto_pad ${padding}`);
  const kernel = integers(node, 'kernel_shape', kernelShape);
  if (x.shape.length !== 4 || kernel.length !== 2)
    throw unsupported(node, 'images (n, channels, height, width)', `${x.shape.length} dimensions`);
  const stride = integers(node, 'strides', [1, 1]);
  const dilation = integers(node, 'dilations', [1, 1]);
  const pads = padding === 'VALID' ? [0, 0, 0, 0] : integers(node, 'pads', [0, 0, 0, 0]);
  const least = [
    [kernel, 2, 1],
    [stride, 2, 1],
    [dilation, 2, 1],
    [pads, 4, 0],
  ] as const;
  for (const [values, count, smallest] of least) {
    if (values.length === count && values.every((value) => value >= smallest && value < maxSide)) continue;
    throw unsupported(node, `${count} whole numbers from ${smallest} on for two dimensions`, `[${values.slice(0, 8).join(', ')}]`);
  }
  const image = each((axis) => known(node, x, axis + 2));
  const room = each((axis) => image[axis] + pads[axis]! + pads[axis + 2]! - (dilation[axis]! * (kernel[axis]! - 1) + 1));
  if (axes.some((axis) => room[axis] < 0)) throw unsupported(node, 'a window that fits into its image', image.join(' x '));
  if (integer(node, 'ceil_mode', 0) !== 0 && axes.some((axis) => room[axis] % stride[axis]! !== 0)) {
    throw unsupported(node, 'ceil_mode 0 where the stride does not fit', 'ceil_mode 1');
  }
  return {
    image,
    kernel: each((axis) => kernel[axis]!),
    stride: each((axis) => stride[axis]!),
    dilation: each((axis) => dilation[axis]!),
    before: each((axis) => pads[axis]!),
    after: each((axis) => pads[axis + 2]!),
    output: each((axis) => Math.floor(room[axis] / stride[axis]!) + 1),
  };
}

/** Sides of the padded image. */
export function paddedImage({ image, before, after }: Window): [number, number] {
  return each((axis) => image[axis] + before[axis] + after[axis]);
}

/** Attributes of the transposed convolution that leads from the output back to the image. */
export function transposedAttributes(window: Window): Record<string, number[]> {
  const { image, kernel, stride, dilation, before, after, output } = window;
  const reached = (axis: 0 | 1): number => stride[axis] * (output[axis] - 1) + dilation[axis] * (kernel[axis] - 1) + 1;
  return {
    kernel_shape: kernel,
    strides: stride,
    dilations: dilation,
    pads: [...before, ...after],
    output_padding: each((axis) => image[axis] + before[axis] + after[axis] - reached(axis)),
  };
}

/** Positions of the window's elements, row by row: where each begins in the padded image. */
export function taps({ kernel, dilation }: Window): [number, number][] {
  return Array.from({ length: kernel[0] * kernel[1] }, (_, k) => [Math.floor(k / kernel[1]) * dilation[0], (k % kernel[1]) * dilation[1]]);
}
