/** One training step (forward, loss, backward, update) and one evaluation as ONNX files of standard operators. */
import { LetheError } from '../../errors.js';
import type { OnnxModel } from '../onnxWriter.js';
import { GraphBuilder } from './builder.js';
import { loss, type LossParts } from './loss.js';
import { optimizerMoments, optimizerNumbers, type OptimizerKind, update } from './optimizer.js';
import { backward, forward } from './tape.js';
import { type Dim, type ForwardGraph, type Provider, sizeOf, type Value } from './types.js';

/** What a step's graph depends on; everything else is an input, so that one session serves all steps of such a kind. */
export interface StepKind {
  terms: LossParts[];
  batchNorm: 'train' | 'eval';
  optimizer: OptimizerKind;
  provider: Provider;
}

/** Scalars of a term, in order, after those of the optimiser. */
export const termNumbers = ['crossEntropy', 'matchLogits', 'distill', 'temperature', 'batch'] as const;

export interface StepGraph {
  model: OnnxModel;
  /** Length of the input `blank`: zeros, see rules/norm.ts. 0: there is none. */
  blankSize: number;
}

/** Later operators than that are not needed. */
const opset = 20;

/** Sizes of the two flat vectors of a model: trainable parameters, and state that BatchNorm moves. */
export function flatSizes(graph: ForwardGraph): { trainable: number; state: number } {
  const total = (trainable: boolean): number =>
    graph.parameters.filter((parameter) => parameter.trainable === trainable).reduce((sum, { shape }) => sum + sizeOf(shape), 0);
  return { trainable: total(true), state: total(false) };
}

/**
 * Inputs: parameters, state, first (and second, with Adam), numbers (optimizerNumbers, then termNumbers of each term), and for each term k
 * images<k> (n, channels, height, width), wanted<k> and targets<k> (n, classes) where its loss reads them. Outputs: newParameters, newFirst,
 * newSecond, newState with BatchNorm in train mode, loss. The terms run one after another: later ones see the running statistics that
 * earlier ones have moved, and the same parameters; their gradients are summed.
 */
export function stepGraph(graph: ForwardGraph, kind: StepKind): StepGraph {
  const g = new GraphBuilder(kind.provider);
  const { trainable, state } = flatSizes(graph);
  const flat = g.input('parameters', [trainable]);
  const values = parameterValues(g, graph, flat, state);
  const moments = optimizerMoments[kind.optimizer].map((name) => g.input(name, [trainable]));
  const names = [...optimizerNumbers[kind.optimizer], ...kind.terms.flatMap(() => termNumbers)];
  const numbers = g.cut(
    g.input('numbers', [names.length]),
    names.map(() => []),
  );
  const blanks = new Blanks();
  const shared = { values, blanks, batchNorm: kind.batchNorm };
  const terms = kind.terms.map((parts, k) => {
    const first = optimizerNumbers[kind.optimizer].length + k * termNumbers.length;
    return term(g, graph, parts, { ...shared, index: k, numbers: numbers.slice(first, first + termNumbers.length) });
  });
  const [gradient, total] = terms.reduce(([sum, lossSum], [next, nextLoss]) => [g.add(sum, next), g.add(lossSum, nextLoss)]);
  const next = update(g, kind.optimizer, numbers, { parameters: flat, moments, gradient });
  g.output(next.parameters, 'newParameters');
  next.moments.forEach((moment, i) => {
    g.output(moment, i === 0 ? 'newFirst' : 'newSecond');
  });
  g.output(total, 'loss');
  const outputs = [
    { name: 'newParameters', shape: [trainable] },
    ...next.moments.map((_, i) => ({ name: i === 0 ? 'newFirst' : 'newSecond', shape: [trainable] })),
    { name: 'loss', shape: [] },
  ];
  if (kind.batchNorm === 'train' && state > 0) {
    g.output(flatState(g, graph, values), 'newState');
    outputs.push({ name: 'newState', shape: [state] });
  }
  const blankSize = blanks.emit(g);
  return { model: modelOf(g, graph, 'training step', outputs), blankSize };
}

/** Inputs: parameters, state, images (n, channels, height, width). Output: logits (n, classes). BatchNorm uses running statistics. */
export function evaluationGraph(graph: ForwardGraph, provider: Provider): OnnxModel {
  const g = new GraphBuilder(provider);
  const { trainable, state } = flatSizes(graph);
  const parameters = parameterValues(g, graph, g.input('parameters', [trainable]), state);
  const blanks = new Blanks();
  const { logits } = forward(g, graph, {
    image: g.input('images', graph.image.shape),
    parameters,
    trainBatchNorm: false,
    gradients: false,
    batch: g.scalar(1), // only statistics of the batch read it
    blank: blanks.take,
  });
  g.output(logits, 'logits');
  return modelOf(g, graph, 'evaluation', [{ name: 'logits', shape: ['n', graph.numClasses] }]);
}

/**
 * A training step is built and dropped, so that a network that cannot be trained fails before anything starts. Gives the shape of the first
 * input of each node that depends on a parameter, by the name of its output.
 * @throws LETHE_ONNX_UNSUPPORTED names the node, or the parameters that no gradient reaches
 */
export function checkTraining(graph: ForwardGraph): Map<string, Dim[]> {
  const g = new GraphBuilder('cpu');
  const one = g.scalar(1);
  const { trainable, state } = flatSizes(graph);
  const tape = forward(g, graph, {
    image: g.input('images', graph.image.shape),
    parameters: parameterValues(g, graph, g.input('parameters', [trainable]), state),
    trainBatchNorm: true,
    gradients: true,
    batch: one,
    blank: new Blanks().take,
  });
  if (trainable === 0) {
    throw new LetheError('LETHE_ONNX_UNSUPPORTED', `"${graph.name}" has nothing to train`, {
      expected: 'weights of Conv, Gemm, MatMul or BatchNormalization',
      received: 'none',
    });
  }
  const gradients = backward(g, tape, tape.logits, graph);
  const missed = graph.parameters.filter(({ name, trainable }) => trainable && !gradients.has(name)).map(({ name }) => name);
  if (missed.length === 0) return new Map(tape.steps.map(({ node }) => [node.source.outputs[0]!, node.inputs[0]?.shape ?? []]));
  throw new LetheError('LETHE_ONNX_UNSUPPORTED', `training would not move all parameters of "${graph.name}"`, {
    expected: 'logits that depend on every parameter',
    received: `no gradient of ${missed.slice(0, 8).join(', ')}`,
  });
}

interface TermContext {
  index: number;
  /** As termNumbers lists them. */
  numbers: Value[];
  values: Map<string, Value>;
  blanks: Blanks;
  batchNorm: 'train' | 'eval';
}

/** Gradient (trainable) and loss of one term. */
function term(g: GraphBuilder, graph: ForwardGraph, parts: LossParts, context: TermContext): [Value, Value] {
  const { index, values, blanks } = context;
  const [crossEntropy, matchLogits, distill, temperature, batch] = context.numbers as [Value, Value, Value, Value, Value];
  const tape = forward(g, graph, {
    image: g.input(`images${index}`, graph.image.shape),
    parameters: values,
    trainBatchNorm: context.batchNorm === 'train',
    gradients: true,
    batch,
    blank: blanks.take,
  });
  const perClass = (name: string): Value => g.input(`${name}${index}`, ['n', graph.numClasses]);
  const made = loss(g, tape.logits, parts, {
    ...(parts.crossEntropy ? { wanted: perClass('wanted') } : {}),
    ...(parts.matchLogits || parts.distill ? { targets: perClass('targets') } : {}),
    crossEntropy,
    matchLogits,
    distill,
    temperature,
    batch,
  });
  const gradients = backward(g, tape, made.gradient, graph);
  const flat = graph.parameters
    .filter(({ trainable }) => trainable)
    .map(({ name, shape }) => {
      const size = sizeOf(shape);
      const gradient = gradients.get(name);
      return gradient ? g.reshape(gradient, [size]) : g.floats([size], new Float32Array(size));
    });
  return [g.concatenate(flat, 0), made.loss];
}

/** Every parameter by name, cut from the flat vectors. */
function parameterValues(g: GraphBuilder, graph: ForwardGraph, flat: Value, state: number): Map<string, Value> {
  const values = new Map<string, Value>();
  for (const trainable of [true, false]) {
    const group = graph.parameters.filter((parameter) => parameter.trainable === trainable);
    if (group.length === 0) continue;
    const parts = g.cut(
      trainable ? flat : g.input('state', [state]),
      group.map(({ shape }) => shape),
    );
    group.forEach(({ name }, i) => values.set(name, parts[i]!));
  }
  return values;
}

function flatState(g: GraphBuilder, graph: ForwardGraph, values: Map<string, Value>): Value {
  const parts = graph.parameters
    .filter(({ trainable }) => !trainable)
    .map(({ name, shape }) => g.reshape(values.get(name)!, [sizeOf(shape)]));
  return g.concatenate(parts, 0);
}

/** Vectors of zeros cut from one input: each for one node, which may write over it. Cut once, or equal nodes would be merged into one. */
class Blanks {
  private readonly values: Value[] = [];

  readonly take = (channels: number): Value => {
    const value = { name: `blank_${this.values.length}`, shape: [channels] };
    this.values.push(value);
    return value;
  };

  /** Puts the cut in front of the nodes that read it; gives the length of the input. */
  emit(g: GraphBuilder): number {
    const sizes = this.values.map(({ shape }) => shape[0] as number);
    const total = sizes.reduce((sum, size) => sum + size, 0);
    if (total === 0) return 0;
    g.nodes.unshift({
      operator: 'Split',
      inputs: [g.input('blank', [total]).name, g.integers(sizes).name],
      outputs: this.values.map(({ name }) => name),
      attributes: { axis: 0 },
    });
    return total;
  }
}

function modelOf(g: GraphBuilder, graph: ForwardGraph, purpose: string, outputs: OnnxModel['outputs']): OnnxModel {
  // the batches of two terms may differ in size
  const inputs = g.inputs.map(({ name, shape }) => ({
    name,
    shape: shape.map((side) => (side === 'n' ? `n${/\d*$/.exec(name)![0]}` : side)),
  }));
  return {
    name: graph.name,
    description: `${graph.name}: ${purpose}`,
    nodes: g.nodes,
    constants: g.constants,
    inputs,
    outputs,
    metadata: {},
    opset,
  };
}
