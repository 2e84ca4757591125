/** What an operator needs so that networks with it can be trained: its shape, and its gradient as further nodes. */
import { LetheError } from '../../errors.js';
import type { OnnxAttribute, OnnxNode } from '../onnxWriter.js';
import type { GraphBuilder } from './builder.js';
import type { Dim, Value } from './types.js';

/** One node of a network on its way through forward and backward. */
export interface RuleNode {
  readonly source: OnnxNode;
  readonly inputs: (Value | undefined)[];
  /** Which inputs need a gradient. */
  wanted: boolean[];
  /** BatchNorm takes batch statistics and moves the running ones. */
  readonly trainBatchNorm: boolean;
  /** Takes the new value of a parameter that the forward pass moves (running statistics); the next term reads it. */
  readonly moveState: (name: string, value: Value) => void;
  /** See ForwardGraph. */
  readonly fixedBatch?: number | undefined;
  /** Number of images in the batch: a scalar. */
  readonly batch: Value;
  /** Scratch inputs of zeros, see norm.ts. */
  readonly blank: (channels: number) => Value;
}

/** What forward made: `saved` is for backward. */
export interface RuleOutput {
  output: Value;
  saved?: Value[];
}

export interface Rule {
  /** Names of the attributes that the rule knows; a node with another one is refused. */
  attributes?: readonly string[];
  /** The node's value; absent: the node itself, with the shape of its first input. */
  forward?: (g: GraphBuilder, node: RuleNode) => RuleOutput;
  /** Gradients of the inputs from the gradient of the output; undefined where there is none. Only those `wanted` are used. */
  backward: (g: GraphBuilder, node: RuleNode, gradient: Value, made: Required<RuleOutput>) => (Value | undefined)[];
}

/** The node as it is, with this output shape. */
export function sameNode(g: GraphBuilder, { source, inputs }: RuleNode, shape: Dim[]): RuleOutput {
  return { output: g.node(source.operator, inputs, shape, source.attributes ?? {}) };
}

export function unsupported({ source }: { source: OnnxNode }, expected: string, received: string, action?: string): LetheError {
  const where = `node "${source.outputs[0] ?? ''}" (${source.operator})`;
  return new LetheError('LETHE_ONNX_UNSUPPORTED', `${where} cannot be trained`, {
    expected,
    received,
    ...(action === undefined ? {} : { action }),
  });
}

/** A required input. */
export function input(node: RuleNode, index: number): Value {
  const value = node.inputs[index];
  if (!value) throw unsupported(node, `an input ${index}`, 'none');
  return value;
}

/** Length of an axis that must be known when the graph is built. */
export function known(node: RuleNode, value: Value, axis: number): number {
  const side = value.shape[axis];
  if (typeof side !== 'number') throw unsupported(node, `a known size along axis ${axis} of "${value.name}"`, side ?? 'no such axis');
  return side;
}

/** @throws LETHE_ONNX_UNSUPPORTED for one of another type */
function attribute<T extends OnnxAttribute>(
  node: RuleNode,
  name: string,
  absent: T,
  [type, is]: [string, (value: OnnxAttribute) => value is T],
): T {
  const value = node.source.attributes?.[name];
  if (value === undefined) return absent;
  if (is(value)) return value;
  throw unsupported(node, `attribute ${name} as ${type}`, JSON.stringify(value).slice(0, 80));
}

export function integer(node: RuleNode, name: string, absent: number): number {
  return attribute(node, name, absent, ['a whole number', (value): value is number => typeof value === 'number']);
}

export function integers(node: RuleNode, name: string, absent: number[]): number[] {
  return attribute(node, name, absent, ['whole numbers', (value): value is number[] => Array.isArray(value)]);
}

export function float(node: RuleNode, name: string, absent: number): number {
  const is = (value: OnnxAttribute): value is { float: number } => typeof value === 'object' && !Array.isArray(value);
  return attribute(node, name, { float: absent }, ['a float', is]).float;
}

export function text(node: RuleNode, name: string, absent: string): string {
  return attribute(node, name, absent, ['a text', (value): value is string => typeof value === 'string']);
}

/** An axis counted from the front. */
export function axisOf(axis: number, rank: number): number {
  return axis < 0 ? axis + rank : axis;
}
