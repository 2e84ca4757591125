/** A network on a data set as the workers of the ort engine take it: plain data that crosses threads, and how values get in and out. */
import type { ForwardGraph, Provider } from '../models/graph/types.js';
import { sizeOf } from '../models/graph/types.js';
import { Purpose, Random } from '../native/random.js';
import type { Placement } from './sampler.js';

export interface OrtImages {
  /** (numPoints, height, width, channels), shared by all workers. */
  pixels: Uint8Array;
  labels: Int32Array;
  height: number;
  width: number;
  channels: number;
  /** (channels, 256): what a byte becomes. */
  levels: Float32Array;
  /** (channels): the mean colour, for places outside an augmented image. */
  outside: Float32Array;
}

export interface OrtProblem {
  /** Equal keys, equal problems: a worker keeps the sessions of the last one. */
  key: string;
  graph: ForwardGraph;
  provider: Provider;
  /** (numParameters): where each element of the graph's vectors (trainable, then state) lies in the parameter layout. */
  order: Int32Array;
  images: OrtImages;
}

/** (pixel / 255 - mean) / std for every byte, as the native engine rounds it. */
export function imageLevels(mean: number[], std: number[]): Float32Array {
  const levels = new Float32Array(mean.length * 256);
  mean.forEach((centre, c) => {
    const scale = Math.fround(1 / (255 * std[c]!));
    const shift = Math.fround(-centre / std[c]!);
    for (let byte = 0; byte < 256; byte++) levels[c * 256 + byte] = byte * scale + shift;
  });
  return levels;
}

/** Writes points as (points, channels, height, width); `placements` are theirs, absent: images as they are. */
export function gatherImages(images: OrtImages, points: Int32Array, target: Float32Array, placements?: Placement[]): void {
  const perImage = images.height * images.width * images.channels;
  points.forEach((point, i) => {
    const pixels = images.pixels.subarray(point * perImage, (point + 1) * perImage);
    const planes = target.subarray(i * perImage, (i + 1) * perImage);
    const placement = placements?.[i];
    if (placement) placeImage(images, pixels, planes, placement);
    else copyImage(images, pixels, planes);
  });
}

function copyImage({ height, width, channels, levels }: OrtImages, pixels: Uint8Array, planes: Float32Array): void {
  const area = height * width;
  for (let c = 0; c < channels; c++) {
    for (let p = 0, at = c; p < area; p++, at += channels) planes[c * area + p] = levels[c * 256 + pixels[at]!]!;
  }
}

/** Pixel (y, x) is pixel (y + down, (flip ? width - 1 - x : x) + right) of the image. */
function placeImage(images: OrtImages, pixels: Uint8Array, planes: Float32Array, { down, right, flip }: Placement): void {
  const { height, width, channels, levels, outside } = images;
  for (let c = 0, to = 0; c < channels; c++) {
    for (let y = down; y < height + down; y++) {
      for (let x = 0; x < width; x++, to++) {
        const column = (flip ? width - 1 - x : x) + right;
        const inside = y >= 0 && y < height && column >= 0 && column < width;
        planes[to] = inside ? levels[c * 256 + pixels[(y * width + column) * channels + c]!]! : outside[c]!;
      }
    }
  }
}

/** Parameters to start from, in the parameter layout, drawn as the native engine draws them: keyed by (seed, model), tensor by tensor. */
export function initialParameters(graph: ForwardGraph, seed: number, model: number): Float32Array {
  const values = new Float32Array(graph.parameters.reduce((sum, { shape }) => sum + sizeOf(shape), 0));
  let offset = 0;
  graph.parameters.forEach(({ shape, fanIn, start }, i) => {
    const part = values.subarray(offset, offset + sizeOf(shape));
    offset += part.length;
    if (fanIn === 0) part.fill(start);
    else drawUniform(part, 1 / Math.sqrt(fanIn), new Random(seed, Purpose.initialise, model, i));
  });
  return values;
}

function drawUniform(values: Float32Array, bound: number, random: Random): void {
  for (let k = 0; k < values.length; k++) values[k] = (2 * random.uniform() - 1) * bound;
}

/** Values of the parameter layout in the graph's order. */
export function toGraph(parameters: Float32Array, order: Int32Array): Float32Array {
  return Float32Array.from(order, (at) => parameters[at]!);
}

/** Undoes toGraph; the graph's vectors are given one after another. */
export function fromGraph(order: Int32Array, ...vectors: Float32Array[]): Float32Array {
  const parameters = new Float32Array(order.length);
  let i = 0;
  for (const vector of vectors) for (const value of vector) parameters[order[i++]!] = value;
  return parameters;
}

export function allFinite(values: Float32Array): boolean {
  for (const value of values) if (!Number.isFinite(value)) return false;
  return true;
}
