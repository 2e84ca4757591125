/**
 * A trained network as an ONNX file for any runtime. Input `images` (batch, channels, height, width) float32 on the 0..1 scale (pixel / 255);
 * the normalisation is part of the graph, so that nobody can forget it. Output `logits` (batch, classes). BatchNorm uses running statistics.
 */
import { LetheError } from '../errors.js';
import type { NetSpec, ParameterTensor } from '../types.js';
import { elementOrder, netGraph } from './graph/netGraph.js';
import { type OnnxConstant, type OnnxNode, writeOnnx } from './onnxWriter.js';

/** Metadata by which the importer knows that the graph normalises its images itself. */
export const imageScaleKey = 'imageScale';
export const imageScale = '0..1';

export interface OnnxOptions {
  net: NetSpec;
  /** Layout of `parameters`, from Engine.parameters(net). */
  tensors: ParameterTensor[];
  /** (numParameters) */
  parameters: Float32Array;
  /** Normalisation of the data set the model was trained on: mean, std (channels), and its class names. */
  dataset: { mean: number[]; std: number[]; classNames: string[] };
}

const parameterPart = /\.(weight|bias|gamma|beta|runningMean|runningVariance)$/;

/** @throws LETHE_SHAPE_MISMATCH when parameters, layout, network and data set do not belong together */
export function exportOnnx({ net, tensors, parameters, dataset }: OnnxOptions): Uint8Array {
  const numParameters = tensors.reduce((sum, tensor) => sum + tensor.size, 0);
  const { height, width, channels } = net.input;
  if (parameters.length !== numParameters || dataset.mean.length !== channels || dataset.std.length !== channels) {
    throw new LetheError('LETHE_SHAPE_MISMATCH', `these parameters are not of network "${net.name}"`, {
      expected: `${numParameters} parameters, ${channels} means and deviations`,
      received: `${parameters.length} parameters, ${dataset.mean.length} means and ${dataset.std.length} deviations`,
    });
  }
  const graph = netGraph(net, tensors);
  const known = new Set(tensors.map(({ name }) => name));
  for (const { inputs } of graph.nodes) {
    const missing = inputs.find((name) => parameterPart.test(name) && !known.has(name));
    if (missing !== undefined) {
      throw new LetheError('LETHE_SHAPE_MISMATCH', 'the parameter layout is of another network', { expected: `a tensor ${missing}` });
    }
  }
  const image = graph.image.name;
  const normalisation: OnnxNode[] = [
    { operator: 'Sub', inputs: ['images', 'image.mean'], outputs: ['image.centred'] },
    { operator: 'Div', inputs: ['image.centred', 'image.std'], outputs: [image] },
  ];
  const weights = graph.parameters.map(({ name, shape }, i): OnnxConstant => {
    const { offset, shape: stored } = tensors[i]!;
    return { name, shape, values: Float32Array.from(elementOrder(stored), (at) => parameters[offset + at]!) };
  });
  return writeOnnx({
    name: net.name,
    description: `${net.name}: images (batch, channels, height, width) on the 0..1 scale to logits`,
    nodes: [...normalisation, ...graph.nodes],
    constants: [
      { name: 'image.mean', shape: [1, channels, 1, 1], values: Float32Array.from(dataset.mean) },
      { name: 'image.std', shape: [1, channels, 1, 1], values: Float32Array.from(dataset.std) },
      ...graph.constants,
      ...weights,
    ],
    inputs: [{ name: 'images', shape: ['batch', channels, height, width] }],
    outputs: [{ name: 'logits', shape: ['batch', net.numClasses] }],
    metadata: { classNames: JSON.stringify(dataset.classNames), net: JSON.stringify(net), [imageScaleKey]: imageScale },
  });
}
