/**
 * A trained network as an ONNX file for any runtime. Input `images` (batch, channels, height, width) float32 on the 0..1 scale (pixel / 255);
 * the normalisation is part of the graph, so that nobody can forget it. Output `logits` (batch, classes). BatchNorm uses running statistics.
 */
import { LetheError } from '../errors.js';
import type { LayerSpec, NetSpec, ParameterTensor } from '../types.js';
import { type OnnxConstant, type OnnxNode, writeOnnx } from './onnxWriter.js';

export interface OnnxOptions {
  net: NetSpec;
  /** Layout of `parameters`, from Engine.parameters(net). */
  tensors: ParameterTensor[];
  /** (numParameters) */
  parameters: Float32Array;
  /** Normalisation of the data set the model was trained on: mean, std (channels), and its class names. */
  dataset: { mean: number[]; std: number[]; classNames: string[] };
}

/** The output of a layer in the graph; every value is (batch, channels, height, width), vectors have height and width 1. */
const valueOf = (layer: string): string => `${layer}.output`;

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
  const graph = new GraphBuilder(tensors, parameters);
  graph.constant('image.mean', [1, channels, 1, 1], Float32Array.from(dataset.mean));
  graph.constant('image.std', [1, channels, 1, 1], Float32Array.from(dataset.std));
  graph.nodes.push({ operator: 'Sub', inputs: ['images', 'image.mean'], outputs: ['image.centred'] });
  graph.nodes.push({ operator: 'Div', inputs: ['image.centred', 'image.std'], outputs: [valueOf('image')] });
  for (const layer of net.layers) graph.layer(layer);
  graph.nodes.push({ operator: 'Flatten', inputs: [valueOf(net.layers.at(-1)!.name)], outputs: ['logits'], attributes: { axis: 1 } });
  return writeOnnx({
    name: net.name,
    description: `${net.name}: images (batch, channels, height, width) on the 0..1 scale to logits`,
    nodes: graph.nodes,
    constants: graph.constants,
    inputs: [{ name: 'images', shape: ['batch', channels, height, width] }],
    outputs: [{ name: 'logits', shape: ['batch', net.numClasses] }],
    metadata: { classNames: JSON.stringify(dataset.classNames), net: JSON.stringify(net) },
  });
}

class GraphBuilder {
  readonly nodes: OnnxNode[] = [];
  readonly constants: OnnxConstant[] = [];

  constructor(
    private readonly tensors: ParameterTensor[],
    private readonly parameters: Float32Array,
  ) {}

  /** Adds a stored tensor and returns its name. */
  constant(name: string, shape: number[], values: Float32Array): string {
    this.constants.push({ name, shape, values });
    return name;
  }

  layer(layer: LayerSpec): void {
    const inputs = layer.inputs.map(valueOf);
    const add = (operator: string, further: string[] = [], attributes: OnnxNode['attributes'] = {}): void => {
      this.nodes.push({ operator, inputs: [...inputs, ...further], outputs: [valueOf(layer.name)], attributes });
    };
    switch (layer.op) {
      case 'conv': {
        const { kernel, stride, pad } = layer;
        add('Conv', [this.convWeight(layer.name)], {
          kernel_shape: [kernel, kernel],
          strides: [stride, stride],
          pads: [pad, pad, pad, pad],
        });
        return;
      }
      case 'batchNorm':
        add(
          'BatchNormalization',
          ['gamma', 'beta', 'runningMean', 'runningVariance'].map((part) => this.vector(`${layer.name}.${part}`)),
          { epsilon: { float: layer.epsilon } },
        );
        return;
      case 'maxPool': {
        const { size, stride = size, pad = 0 } = layer;
        add('MaxPool', [], { kernel_shape: [size, size], strides: [stride, stride], pads: [pad, pad, pad, pad] });
        return;
      }
      case 'linear':
        // a 1 x 1 convolution of a 1 x 1 image
        add('Conv', [this.linearWeight(layer.name), ...(layer.bias ? [this.vector(`${layer.name}.bias`)] : [])], { kernel_shape: [1, 1] });
        return;
      case 'scale':
        add('Mul', [this.constant(`${layer.name}.factor`, [], Float32Array.of(layer.factor))]);
        return;
      default:
        add({ relu: 'Relu', add: 'Add', globalMaxPool: 'GlobalMaxPool', globalAveragePool: 'GlobalAveragePool' }[layer.op]);
    }
  }

  private tensor(name: string): { shape: number[]; values: Float32Array } {
    const tensor = this.tensors.find((candidate) => candidate.name === name);
    if (!tensor)
      throw new LetheError('LETHE_SHAPE_MISMATCH', 'the parameter layout is of another network', { expected: `a tensor ${name}` });
    return { shape: tensor.shape, values: this.parameters.subarray(tensor.offset, tensor.offset + tensor.size) };
  }

  private vector(name: string): string {
    const { shape, values } = this.tensor(name);
    return this.constant(name, shape, values);
  }

  /** (kernel, kernel, in, out) -> (out, in, kernel, kernel) */
  private convWeight(layer: string): string {
    const { shape, values } = this.tensor(`${layer}.weight`);
    const [kernel, , inChannels, outChannels] = shape as [number, number, number, number];
    const window = kernel * kernel;
    const moved = new Float32Array(values.length);
    for (let k = 0; k < window; k++) {
      for (let i = 0; i < inChannels; i++) {
        for (let o = 0; o < outChannels; o++) moved[(o * inChannels + i) * window + k] = values[(k * inChannels + i) * outChannels + o]!;
      }
    }
    return this.constant(`${layer}.weight`, [outChannels, inChannels, kernel, kernel], moved);
  }

  /** (in, out) -> (out, in, 1, 1) */
  private linearWeight(layer: string): string {
    const { shape, values } = this.tensor(`${layer}.weight`);
    const [inFeatures, outFeatures] = shape as [number, number];
    const moved = values.map((_, at) => values[(at % inFeatures) * outFeatures + Math.floor(at / inFeatures)]!);
    return this.constant(`${layer}.weight`, [outFeatures, inFeatures, 1, 1], moved);
  }
}
