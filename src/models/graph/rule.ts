/** What an operator needs so that networks with it can be trained: its shape, and its gradient as further nodes. */
import { LetheError } from '../../errors.js';
import type { OnnxNode } from '../onnxWriter.js';
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
  /** The node's value; absent: the node itself, with the shape of its first input. */
  forward?: (g: GraphBuilder, node: RuleNode) => RuleOutput;
  /** Gradients of the inputs from the gradient of the output; undefined where there is none. Only those `wanted` are used. */
  backward: (g: GraphBuilder, node: RuleNode, gradient: Value, made: Required<RuleOutput>) => (Value | undefined)[];
}

/** The node as it is, with this output shape. */
export function sameNode(g: GraphBuilder, { source, inputs }: RuleNode, shape: Dim[]): RuleOutput {
  return { output: g.node(source.operator, inputs, shape, source.attributes ?? {}) };
}

export function unsupported({ source }: { source: OnnxNode }, expected: string, received: string): LetheError {
  const where = `node "${source.outputs[0] ?? ''}" (${source.operator})`;
  return new LetheError('LETHE_ONNX_UNSUPPORTED', `${where} cannot be trained`, { expected, received });
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

export function integer({ source }: RuleNode, name: string, absent: number): number {
  const value = source.attributes?.[name];
  return typeof value === 'number' ? value : absent;
}

export function integers({ source }: RuleNode, name: string, absent: number[]): number[] {
  const value = source.attributes?.[name];
  return Array.isArray(value) ? value : absent;
}

export function float({ source }: RuleNode, name: string, absent: number): number {
  const value = source.attributes?.[name];
  return typeof value === 'object' && !Array.isArray(value) ? value.float : absent;
}

export function text({ source }: RuleNode, name: string, absent: string): string {
  const value = source.attributes?.[name];
  return typeof value === 'string' ? value : absent;
}

/** An axis counted from the front. */
export function axisOf(axis: number, rank: number): number {
  return axis < 0 ? axis + rank : axis;
}
