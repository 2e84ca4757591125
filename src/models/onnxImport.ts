/** An ONNX file as a network to train: which of its constants are parameters, and how they are initialised. */
import { LetheError } from '../errors.js';
import type { DatasetFacts, NetSpec } from '../types.js';
import { checkTraining } from './graph/step.js';
import { ruleOf } from './graph/tape.js';
import type { Dim, ForwardGraph } from './graph/types.js';
import { imageScale, imageScaleKey } from './onnx.js';
import { inOrder } from './onnxOrder.js';
import { findParameters } from './onnxParameters.js';
import { readOnnx, unsupportedPart } from './onnxReader.js';
import type { OnnxNode } from './onnxWriter.js';

/** Operator sets whose meaning of the supported operators is that of the training graph. */
const opsets = { first: 9, last: 23 } as const;
/** From this one on Softmax works along one axis only. */
const softmaxOpset = 13;

export interface ImportedNet {
  graph: ForwardGraph;
  /** The file's own values of the parameters, in order: (numParameters). */
  parameters: Float32Array;
  /** What a user should know before training, a line each. */
  notes: string[];
}

/**
 * Trained are the weights and biases of Conv, Gemm and MatMul, scale and bias of BatchNormalization, and what is added to or multiplied
 * with the output of such a layer; numbers (Constant nodes of one element) and what works on the images before any layer stay as they are.
 * A tensor that layers share because an exporter stored equal ones once becomes a parameter of each.
 * @throws LETHE_ONNX_INVALID, LETHE_ONNX_UNSUPPORTED where a parameter would be missed, or tied without a word, where a node cannot be
 *   trained as the file wants it, and where the sizes of images or classes are free
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
  const classes = Number(logits.shape.filter((side) => side !== 1).at(-1));
  const [batch, ...sides] = image.shape;
  if (![...sides, classes].every((side) => typeof side === 'number' && side > 0)) {
    throw unsupportedPart('fixed sizes of images and classes', `images ${sides.join(' x ')}, ${classes} classes`);
  }
  const own = model.metadata[imageScaleKey] === imageScale;
  const { nodes, parameters, values, constants, notes } = findParameters(model, inOrder(model), logits.name, own);
  for (const node of nodes) ruleOf(node);
  const graph: ForwardGraph = {
    name,
    image: { name: image.name, shape: ['n', ...(sides as number[])] },
    nodes: nodes.map(inferenceNode),
    parameters,
    constants,
    logits: logits.name,
    numClasses: classes,
    ...(typeof batch === 'number' ? { fixedBatch: batch } : {}),
    normalises: own,
  };
  const inputShapes = checkTraining(graph);
  if (model.opset < softmaxOpset) for (const node of nodes) checkSoftmax(node, inputShapes.get(node.outputs[0]!));
  return { graph, parameters: values, notes };
}

/**
 * The network of an ONNX file. `note` takes what a user should know before training, a line at a time.
 * @throws LETHE_ONNX_INVALID, LETHE_ONNX_UNSUPPORTED
 */
export function netFromOnnx(bytes: Uint8Array, name: string, note: (line: string) => void = () => undefined): NetSpec {
  const { graph, notes } = importOnnx(bytes, name);
  const [, channels, height, width] = graph.image.shape as [unknown, number, number, number];
  for (const line of notes) note(`${name}: ${line}`);
  return { name, input: { height, width, channels }, numClasses: graph.numClasses, layers: [], onnx: bytes };
}

/** The network of an ONNX file that is to be trained on a data set. @throws LETHE_NET_INVALID where it is for other images or classes */
export function netForDataset(bytes: Uint8Array, name: string, dataset: DatasetFacts, note?: (line: string) => void): NetSpec {
  const net = netFromOnnx(bytes, name, note);
  const shape = ({ height, width, channels }: NetSpec['input'], classes: number): string =>
    `images ${height} x ${width} x ${channels}, ${classes} classes`;
  const expected = shape(dataset, dataset.numClasses);
  const received = shape(net.input, net.numClasses);
  if (expected === received) return net;
  throw new LetheError('LETHE_NET_INVALID', `${name} is a network for other data`, { expected: `${expected}: ${dataset.name}`, received });
}

/** Softmax as it was: over all axes from this one on, here only where that is one. */
function checkSoftmax({ operator, attributes = {}, outputs }: OnnxNode, shape: Dim[] | undefined): void {
  if (!operator.endsWith('Softmax')) return;
  const { axis } = attributes;
  if (axis === -1 || (axis === 1 && shape?.length === 2)) return;
  throw unsupportedPart(
    `${operator} along the last axis below operator set ${softmaxOpset}`,
    `"${outputs[0] ?? ''}" along axis ${JSON.stringify(axis)} of (${shape?.join(', ') ?? ''})`,
  );
}

/** Files exported in training mode say so on their norms; here the pass decides. */
function inferenceNode(node: OnnxNode): OnnxNode {
  if (node.operator !== 'BatchNormalization') return node;
  const { epsilon, momentum } = node.attributes ?? {};
  return { ...node, attributes: { ...(epsilon === undefined ? {} : { epsilon }), ...(momentum === undefined ? {} : { momentum }) } };
}
