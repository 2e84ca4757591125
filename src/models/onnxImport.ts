/** An ONNX file as a network to train: which of its constants are parameters, and how they are initialised. */
import { LetheError } from '../errors.js';
import type { DatasetFacts, NetSpec } from '../types.js';
import { ruleOf } from './graph/tape.js';
import { type ForwardGraph, type GraphParameter, sizeOf } from './graph/types.js';
import { imageScale, imageScaleKey } from './onnx.js';
import { readOnnx, unsupportedPart } from './onnxReader.js';
import type { OnnxConstant, OnnxModel, OnnxNode } from './onnxWriter.js';

/** Operator sets whose meaning of the supported operators is that of the training graph. */
const opsets = { first: 9, last: 23 } as const;
/** From this one on Softmax works along one axis only. */
const softmaxOpset = 13;

export interface ImportedNet {
  graph: ForwardGraph;
  /** The file's own values of the parameters, in order: (numParameters). */
  parameters: Float32Array;
}

/**
 * Trained are the weights and biases of Conv, Gemm and MatMul, scale and bias of BatchNormalization, and a vector that is added to the
 * product of a MatMul; every other constant stays as it is in the file.
 * @throws LETHE_ONNX_INVALID, LETHE_ONNX_UNSUPPORTED
 */
export function importOnnx(bytes: Uint8Array, name: string): ImportedNet {
  const model = readOnnx(bytes);
  if (model.opset < opsets.first || model.opset > opsets.last) {
    throw unsupportedPart(`operator set ${opsets.first} to ${opsets.last}`, String(model.opset));
  }
  const [image, ...moreInputs] = model.inputs;
  const [logits] = model.outputs;
  if (!image || !logits || moreInputs.length > 0 || image.shape.length !== 4) {
    const received = model.inputs.map((input) => `"${input.name}" (${input.shape.join(', ')})`).join(', ');
    throw unsupportedPart('one input of images (batch, channels, height, width) and logits as first output', received || 'no input');
  }
  for (const node of model.nodes) checkNode(node, model.opset);
  const constants = new Map(model.constants.map((constant) => [constant.name, constant]));
  const parameters = parametersOf(model, constants);
  const names = new Set(parameters.map((parameter) => parameter.name));
  const sides = image.shape.slice(1).map((side) => (typeof side === 'number' ? side : 0));
  const graph: ForwardGraph = {
    name,
    image: { name: image.name, shape: ['n', ...sides] },
    nodes: inOrder(model, constants).map((node) => inferenceNode(node)),
    parameters,
    constants: model.constants.filter((constant) => !names.has(constant.name)),
    logits: logits.name,
    numClasses: Number(logits.shape.filter((side) => side !== 1).at(-1)),
    normalises: model.metadata[imageScaleKey] === imageScale,
  };
  return { graph, parameters: valuesOf(parameters, constants) };
}

/** The network of an ONNX file. @throws LETHE_ONNX_INVALID, LETHE_ONNX_UNSUPPORTED also where its images or classes are not known */
export function netFromOnnx(bytes: Uint8Array, name: string): NetSpec {
  const { graph } = importOnnx(bytes, name);
  const [, channels, height, width] = graph.image.shape as [unknown, number, number, number];
  if (!(channels > 0 && height > 0 && width > 0 && graph.numClasses > 0)) {
    throw unsupportedPart('fixed sizes of images and classes', `images ${channels} x ${height} x ${width}, ${graph.numClasses} classes`);
  }
  return { name, input: { height, width, channels }, numClasses: graph.numClasses, layers: [], onnx: bytes };
}

/** The network of an ONNX file that is to be trained on a data set. @throws LETHE_NET_INVALID where it is for other images or classes */
export function netForDataset(bytes: Uint8Array, name: string, dataset: DatasetFacts): NetSpec {
  const net = netFromOnnx(bytes, name);
  const shape = ({ height, width, channels }: NetSpec['input'], classes: number): string =>
    `images ${height} x ${width} x ${channels}, ${classes} classes`;
  const expected = shape(dataset, dataset.numClasses);
  const received = shape(net.input, net.numClasses);
  if (expected === received) return net;
  throw new LetheError('LETHE_NET_INVALID', `${name} is a network for other data`, { expected: `${expected}: ${dataset.name}`, received });
}

function checkNode(node: OnnxNode, opset: number): void {
  ruleOf(node);
  const { operator, attributes = {} } = node;
  if (opset < softmaxOpset && operator.endsWith('Softmax') && attributes['axis'] !== -1 && attributes['axis'] !== 1) {
    throw unsupportedPart(
      `${operator} along axis 1 or -1 below operator set ${softmaxOpset}`,
      `axis ${JSON.stringify(attributes['axis'])}`,
    );
  }
}

/** Files exported in training mode say so on their norms; here the pass decides. */
function inferenceNode(node: OnnxNode): OnnxNode {
  if (node.operator !== 'BatchNormalization') return node;
  const { epsilon, momentum } = node.attributes ?? {};
  return { ...node, attributes: { ...(epsilon === undefined ? {} : { epsilon }), ...(momentum === undefined ? {} : { momentum }) } };
}

/** Nodes as a file must list them; some tools do not. @throws LETHE_ONNX_INVALID for a value that nothing makes, or a cycle */
function inOrder(model: OnnxModel, constants: Map<string, OnnxConstant>): OnnxNode[] {
  const made = new Set(['', ...model.inputs.map(({ name }) => name), ...constants.keys()]);
  const waiting = [...model.nodes];
  const ordered: OnnxNode[] = [];
  while (waiting.length > 0) {
    const next = waiting.findIndex(({ inputs }) => inputs.every((input) => made.has(input)));
    if (next < 0) {
      const { operator, inputs, outputs } = waiting[0]!;
      throw new LetheError('LETHE_ONNX_INVALID', `node "${outputs[0]!}" (${operator}) reads a value that nothing makes`, {
        received: inputs.filter((input) => !made.has(input)).join(', '),
      });
    }
    const [node] = waiting.splice(next, 1);
    for (const output of node!.outputs) made.add(output);
    ordered.push(node!);
  }
  return ordered;
}

type Drawn = Omit<GraphParameter, 'name' | 'shape'>;

/** In the order of the nodes, trainable ones first. */
function parametersOf(model: OnnxModel, constants: Map<string, OnnxConstant>): GraphParameter[] {
  const found = new Map<string, GraphParameter>();
  const add = (name: string | undefined, how: Drawn): void => {
    const constant = name === undefined ? undefined : constants.get(name);
    if (constant && !found.has(constant.name)) found.set(constant.name, { name: constant.name, shape: constant.shape, ...how });
  };
  const products = new Map<string, number>();
  for (const { operator, inputs, outputs, attributes = {} } of model.nodes) {
    const shape = constants.get(inputs[1] ?? '')?.shape ?? [];
    const fanIn = sizeOf(shape.slice(1));
    if (operator === 'Conv') for (const name of inputs.slice(1, 3)) add(name, { trainable: true, fanIn, start: 0 });
    else if (operator === 'Gemm') {
      const rows = attributes['transB'] === 1 ? shape[1]! : shape[0]!;
      for (const name of inputs.slice(1, 3)) add(name, { trainable: true, fanIn: rows, start: 0 });
    } else if (operator === 'MatMul') {
      add(inputs[1], { trainable: true, fanIn: shape[0] ?? 0, start: 0 });
      products.set(outputs[0]!, shape[0] ?? 0);
    } else if (operator === 'Add') {
      const product = inputs.find((name) => products.has(name));
      const bias = inputs.find((name) => constants.get(name)?.shape.length === 1);
      if (product !== undefined) add(bias, { trainable: true, fanIn: products.get(product)!, start: 0 });
    } else if (operator === 'BatchNormalization') {
      [1, 0, 0, 1].forEach((start, i) => {
        add(inputs[i + 1], { trainable: i < 2, fanIn: 0, start });
      });
    }
  }
  const all = [...found.values()];
  return [...all.filter(({ trainable }) => trainable), ...all.filter(({ trainable }) => !trainable)];
}

function valuesOf(parameters: GraphParameter[], constants: Map<string, OnnxConstant>): Float32Array {
  const values = new Float32Array(parameters.reduce((sum, { shape }) => sum + sizeOf(shape), 0));
  let offset = 0;
  for (const { name, shape } of parameters) {
    const own = constants.get(name)!.values;
    if (!(own instanceof Float32Array)) throw unsupportedPart('weights of floating-point numbers', `whole numbers in "${name}"`);
    values.set(own, offset);
    offset += sizeOf(shape);
  }
  return values;
}
