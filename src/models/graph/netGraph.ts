/** A network of layers (NetSpec) as standard ONNX operators. */
import type { LayerSpec, NetSpec, ParameterTensor } from '../../types.js';
import type { OnnxConstant, OnnxNode } from '../onnxWriter.js';
import type { ForwardGraph, GraphParameter } from './types.js';

/** The output of a layer in the graph; every value is (n, channels, height, width), vectors have height and width 1. */
const valueOf = (layer: string): string => `${layer}.output`;

/**
 * Parameters are named and ordered as in `tensors` (Engine.parameters); those of a convolution are (out, in, kernel, kernel) here,
 * see elementOrder.
 */
export function netGraph(net: NetSpec, tensors: ParameterTensor[]): ForwardGraph {
  const { height, width, channels } = net.input;
  const nodes: OnnxNode[] = [];
  const constants: OnnxConstant[] = [];
  for (const layer of net.layers) addLayer(layer, nodes, constants);
  nodes.push({ operator: 'Flatten', inputs: [valueOf(net.layers.at(-1)!.name)], outputs: ['logits'], attributes: { axis: 1 } });
  return {
    name: net.name,
    image: { name: valueOf('image'), shape: ['n', channels, height, width] },
    nodes,
    parameters: tensors.map((tensor) => parameterOf(tensor, tensors)),
    constants,
    logits: 'logits',
    numClasses: net.numClasses,
    normalises: false,
  };
}

function parameterOf({ name, shape, trainable }: ParameterTensor, tensors: ParameterTensor[]): GraphParameter {
  const part = name.slice(name.lastIndexOf('.') + 1);
  const one = part === 'gamma' || part === 'runningVariance';
  // the bias of a layer is drawn as its weight is
  const weight = part === 'bias' ? tensors.find((other) => other.name === name.replace(/bias$/, 'weight')) : undefined;
  const drawnAs = part === 'weight' ? shape : (weight?.shape ?? [0]);
  const fanIn = drawnAs.slice(0, -1).reduce((product, side) => product * side, drawnAs.length > 1 ? 1 : 0);
  return { name, shape: shape.length === 4 ? toConv(shape) : shape, trainable, fanIn, start: one ? 1 : 0 };
}

/** (kernel, kernel, in, out) -> (out, in, kernel, kernel) */
function toConv(shape: number[]): number[] {
  return [shape[3]!, shape[2]!, shape[0]!, shape[1]!];
}

/** Where each element of a graph's parameter, in its order, lies in the tensor of the parameter layout: (size). */
export function elementOrder(shape: number[]): Int32Array {
  const size = shape.reduce((product, side) => product * side, 1);
  if (shape.length !== 4) return Int32Array.from({ length: size }, (_, i) => i);
  const [kernel, , inChannels, outChannels] = shape as [number, number, number, number];
  const window = kernel * kernel;
  const order = new Int32Array(size);
  for (let o = 0, at = 0; o < outChannels; o++) {
    for (let i = 0; i < inChannels; i++) for (let k = 0; k < window; k++) order[at++] = (k * inChannels + i) * outChannels + o;
  }
  return order;
}

function addLayer(layer: LayerSpec, nodes: OnnxNode[], constants: OnnxConstant[]): void {
  const inputs = layer.inputs.map(valueOf);
  const output = valueOf(layer.name);
  const add = (operator: string, further: string[] = [], attributes: OnnxNode['attributes'] = {}): void => {
    nodes.push({ operator, inputs: [...inputs, ...further], outputs: [output], attributes });
  };
  switch (layer.op) {
    case 'conv': {
      const { kernel, stride, pad } = layer;
      const attributes = { kernel_shape: [kernel, kernel], strides: [stride, stride], pads: [pad, pad, pad, pad] };
      add('Conv', [`${layer.name}.weight`], attributes);
      return;
    }
    case 'batchNorm': {
      const parts = ['gamma', 'beta', 'runningMean', 'runningVariance'].map((part) => `${layer.name}.${part}`);
      add('BatchNormalization', parts, { epsilon: { float: layer.epsilon }, momentum: { float: 1 - layer.momentum } });
      return;
    }
    case 'maxPool': {
      const { size, stride = size, pad = 0 } = layer;
      add('MaxPool', [], { kernel_shape: [size, size], strides: [stride, stride], pads: [pad, pad, pad, pad] });
      return;
    }
    case 'linear': {
      const [rows, product, shape] = [`${layer.name}.rows`, `${layer.name}.product`, `${layer.name}.shape`];
      nodes.push({ operator: 'Flatten', inputs, outputs: [rows], attributes: { axis: 1 } });
      const factors = [rows, `${layer.name}.weight`, ...(layer.bias ? [`${layer.name}.bias`] : [])];
      nodes.push({ operator: 'Gemm', inputs: factors, outputs: [product] });
      constants.push({ name: shape, shape: [4], values: BigInt64Array.from([0, layer.outFeatures, 1, 1], BigInt) });
      nodes.push({ operator: 'Reshape', inputs: [product, shape], outputs: [output] });
      return;
    }
    case 'scale':
      constants.push({ name: `${layer.name}.factor`, shape: [], values: Float32Array.of(layer.factor) });
      add('Mul', [`${layer.name}.factor`]);
      return;
    default:
      add({ relu: 'Relu', add: 'Add', globalMaxPool: 'GlobalMaxPool', globalAveragePool: 'GlobalAveragePool' }[layer.op]);
  }
}
