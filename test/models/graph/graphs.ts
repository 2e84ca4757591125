/** Small networks around one operator, and their training step in stock ONNX Runtime. */
import * as ort from 'onnxruntime-node';
import type { LossParts } from '../../../src/models/graph/loss.js';
import { stepGraph, type StepKind } from '../../../src/models/graph/step.js';
import type { ForwardGraph, GraphParameter } from '../../../src/models/graph/types.js';
import { type OnnxConstant, type OnnxNode, writeOnnx } from '../../../src/models/onnxWriter.js';
import { Purpose, Random } from '../../../src/native/random.js';

export const numClasses = 3;
export const batch = 4;
export const image = [2, 6, 5];

export function normals(count: number, stream: number, scale = 1): Float32Array {
  const random = new Random(3, Purpose.synthetic, 0, stream);
  return Float32Array.from({ length: count }, () => scale * random.normal());
}

const size = (shape: number[]): number => shape.reduce((product, side) => product * side, 1);

export interface Middle {
  nodes: OnnxNode[];
  /** Shapes of further trainable parameters the nodes read, by name. */
  parameters?: Record<string, number[]>;
  /** The same of running statistics. */
  state?: Record<string, number[]>;
  constants?: OnnxConstant[];
  /** Elements of one image of the value "out". */
  outputs: number;
  /** The loss has kinks close by: differences must be taken over short ways. */
  kinks?: boolean;
}

/** images -> 1 x 1 convolution "x" (n, 3, 6, 5) -> the nodes, which make "out" -> logits by a matrix product. */
export function around({ nodes, parameters = {}, state = {}, constants = [], outputs }: Middle): ForwardGraph {
  const parameter = (name: string, shape: number[], trainable = true): GraphParameter => ({ name, shape, trainable, fanIn: 0, start: 0 });
  return {
    name: 'around',
    image: { name: 'images', shape: ['n', ...image] },
    nodes: [
      { operator: 'Conv', inputs: ['images', 'first.weight', 'first.bias'], outputs: ['x'] },
      ...nodes,
      { operator: 'Flatten', inputs: ['out'], outputs: ['rows'] },
      { operator: 'MatMul', inputs: ['rows', 'last.weight'], outputs: ['logits'] },
    ],
    parameters: [
      parameter('first.weight', [3, 2, 1, 1]),
      parameter('first.bias', [3]),
      ...Object.entries(parameters).map(([name, shape]) => parameter(name, shape)),
      parameter('last.weight', [outputs, numClasses]),
      ...Object.entries(state).map(([name, shape]) => parameter(name, shape, false)),
    ],
    constants,
    logits: 'logits',
    numClasses,
    normalises: false,
  };
}

export const numTrainable = (graph: ForwardGraph): number =>
  graph.parameters.filter(({ trainable }) => trainable).reduce((sum, { shape }) => sum + size(shape), 0);

export interface Step {
  /** (trainable) */
  gradient: Float32Array;
  loss: number;
  newState: Float32Array | undefined;
}

/** One SGD step of rate 1 without momentum from the given parameters: old minus new parameters are the gradient. */
export async function stepper(
  graph: ForwardGraph,
  kind: Pick<StepKind, 'batchNorm' | 'provider'>,
  parts: LossParts = { crossEntropy: false, matchLogits: true, distill: false },
): Promise<(parameters: Float32Array, state?: Float32Array) => Promise<Step>> {
  const { model, blankSize } = stepGraph(graph, { ...kind, terms: [parts], optimizer: 'sgd' });
  const session = await ort.InferenceSession.create(writeOnnx(model), { intraOpNumThreads: 1, logSeverityLevel: 3 });
  const tensor = (values: Float32Array, shape: number[] = [values.length]): ort.Tensor => new ort.Tensor('float32', values, shape);
  const fixed = {
    images0: tensor(normals(batch * size(image), 1), [batch, ...image]),
    targets0: tensor(normals(batch * numClasses, 2), [batch, numClasses]),
    // rate, momentum, weight decay; weights of the loss, temperature, batch
    numbers: tensor(Float32Array.of(1, 0, 0, 1, 1, 1, 2, batch)),
  };
  return async (parameters, state) => {
    const feeds: Record<string, ort.Tensor> = {
      ...fixed,
      parameters: tensor(parameters),
      first: tensor(new Float32Array(parameters.length)),
    };
    if (state) feeds['state'] = tensor(state);
    if (blankSize > 0) feeds['blank'] = tensor(new Float32Array(blankSize));
    const made = await session.run(feeds);
    return {
      gradient: made['newFirst']!.data as Float32Array,
      loss: (made['loss']!.data as Float32Array)[0]!,
      newState: made['newState']?.data as Float32Array | undefined,
    };
  };
}
