/** Forward through a network and backward again: every node by its rule. */
import { LetheError } from '../../errors.js';
import type { OnnxNode } from '../onnxWriter.js';
import type { GraphBuilder } from './builder.js';
import { input, type Rule, type RuleNode, type RuleOutput, sameNode, unsupported } from './rule.js';
import { rules } from './rules.js';
import { type ForwardGraph, sizeOf, type Value } from './types.js';

export interface ForwardOptions {
  image: Value;
  /** Values of the parameters by name; running statistics that move are replaced in it. */
  parameters: Map<string, Value>;
  trainBatchNorm: boolean;
  /** Gradients will be asked for. */
  gradients: boolean;
  batch: Value;
  blank: (channels: number) => Value;
}

interface TapeStep {
  node: RuleNode;
  rule: Rule;
  made: Required<RuleOutput>;
}

export interface Tape {
  logits: Value;
  steps: TapeStep[];
}

/** @throws LETHE_ONNX_UNSUPPORTED names the node and the operators that have rules, or the attribute that its rule does not know */
export function ruleOf(node: OnnxNode): Rule {
  const rule = Object.hasOwn(rules, node.operator) ? rules[node.operator] : undefined;
  if (rule) {
    const known = rule.attributes ?? [];
    const other = Object.keys(node.attributes ?? {}).find((name) => !known.includes(name));
    if (other === undefined) return rule;
    throw unsupported({ source: node }, known.length > 0 ? `no attributes but ${known.join(', ')}` : 'no attributes', `"${other}"`);
  }
  throw new LetheError('LETHE_ONNX_UNSUPPORTED', `node "${node.outputs[0] ?? ''}" has an operator without a gradient rule`, {
    expected: `one of ${Object.keys(rules).sort().join(', ')}`,
    received: node.operator,
  });
}

/** Adds the nodes of the network. @throws LETHE_ONNX_UNSUPPORTED, LETHE_ONNX_INVALID */
export function forward(g: GraphBuilder, graph: ForwardGraph, options: ForwardOptions): Tape {
  const { image, parameters } = options;
  const trainable = new Set(graph.parameters.filter((parameter) => parameter.trainable).map(({ name }) => name));
  const values = new Map<string, Value>([...storeConstants(g, graph), [graph.image.name, image], ...parameters]);
  const withGradient = new Set(options.gradients ? trainable : []);
  const steps: TapeStep[] = [];
  for (const source of graph.nodes) {
    const rule = ruleOf(source);
    const node: RuleNode = {
      source,
      inputs: source.inputs.map((name) => (name === '' ? undefined : found(values, name, source))),
      wanted: source.inputs.map((name) => withGradient.has(name)),
      trainBatchNorm: options.trainBatchNorm,
      fixedBatch: graph.fixedBatch,
      batch: options.batch,
      blank: options.blank,
      moveState: (name, value) => parameters.set(name, value),
    };
    const { output, saved = [] } = applied(g, rule, node);
    const name = source.outputs[0]!;
    values.set(name, output);
    if (node.wanted.includes(true)) {
      withGradient.add(name);
      steps.push({ node, rule, made: { output, saved } });
    }
  }
  return { logits: logitsOf(g, graph, values), steps };
}

/** Larger ones do not fit into the memory of any machine with a batch of them. */
const maxElements = 2 ** 28;
const maxDimensions = 16;

function applied(g: GraphBuilder, rule: Rule, node: RuleNode): RuleOutput {
  const made = guarded(node, () => (rule.forward ? rule.forward(g, node) : sameNode(g, node, input(node, 0).shape)));
  const { shape } = made.output;
  const size = sizeOf(shape.filter((side) => side !== 'n'));
  if (shape.length <= maxDimensions && size <= maxElements) return made;
  throw unsupported(node, `at most ${maxElements} values an image in ${maxDimensions} dimensions`, `${size} in ${shape.length}`);
}

/** Files are strangers': what a rule did not think of is the file's fault, too. */
function guarded<T>(node: RuleNode, work: () => T): T {
  try {
    return work();
  } catch (cause) {
    if (cause instanceof LetheError) throw cause;
    throw unsupported(node, 'inputs and attributes that belong together', cause instanceof Error ? cause.message : String(cause));
  }
}

/** Shape of the value that a node makes of these inputs, all of them constants. @throws LETHE_ONNX_UNSUPPORTED */
export function shapeOf(g: GraphBuilder, source: OnnxNode, inputs: (Value | undefined)[]): Value['shape'] {
  const none = g.scalar(0);
  const node: RuleNode = {
    source,
    inputs,
    wanted: inputs.map(() => false),
    trainBatchNorm: false,
    batch: none,
    blank: () => none,
    moveState: () => undefined,
  };
  return applied(g, ruleOf(source), node).output.shape;
}

/** Terms of one graph share its constants. */
function storeConstants(g: GraphBuilder, graph: ForwardGraph): [string, Value][] {
  const stored = new Set(g.constants.map(({ name }) => name));
  return graph.constants.map((constant) => [
    constant.name,
    stored.has(constant.name) ? { name: constant.name, shape: constant.shape } : g.store(constant),
  ]);
}

function found(values: Map<string, Value>, name: string, node: OnnxNode): Value {
  const value = values.get(name);
  if (value) return value;
  throw new LetheError('LETHE_ONNX_INVALID', `node "${node.outputs[0] ?? ''}" (${node.operator}) reads a value that nothing makes`, {
    expected: 'the first output of an earlier node, a constant, a parameter or the images',
    received: JSON.stringify(name),
  });
}

function logitsOf(g: GraphBuilder, graph: ForwardGraph, values: Map<string, Value>): Value {
  const logits = values.get(graph.logits);
  const sides = logits?.shape.slice(1).filter((side) => side !== 1) ?? [];
  if (logits?.shape[0] === 'n' && sides.length <= 1 && (sides[0] ?? 1) === graph.numClasses)
    return g.reshape(logits, ['n', graph.numClasses]);
  throw new LetheError('LETHE_ONNX_UNSUPPORTED', `network "${graph.name}" does not give logits of the data set's classes`, {
    expected: `an output (batch, ${graph.numClasses})`,
    received: logits ? `"${graph.logits}" (${logits.shape.join(', ')})` : `no value "${graph.logits}"`,
  });
}

/** Adds the nodes that lead from the gradient of the logits to those of the parameters; a parameter that nothing depends on has none. */
export function backward(g: GraphBuilder, tape: Tape, logitsGradient: Value, graph: ForwardGraph): Map<string, Value> {
  const gradients = new Map<string, Value>();
  const accumulate = (name: string, gradient: Value): void => {
    const known = gradients.get(name);
    gradients.set(name, known ? g.add(known, gradient) : gradient);
  };
  const last = tape.steps.at(-1);
  if (last) accumulate(graph.logits, g.reshape(logitsGradient, finalShape(tape, graph)));
  for (const { node, rule, made } of tape.steps.toReversed()) {
    const gradient = gradients.get(node.source.outputs[0]!);
    if (!gradient) continue;
    const shares = guarded(node, () => rule.backward(g, node, gradient, made));
    shares.forEach((share, i) => {
      if (share && node.wanted[i]) accumulate(node.source.inputs[i]!, share);
    });
  }
  return gradients;
}

function finalShape(tape: Tape, graph: ForwardGraph): Value['shape'] {
  const step = tape.steps.find(({ node }) => node.source.outputs[0] === graph.logits);
  return step?.made.output.shape ?? tape.logits.shape;
}
