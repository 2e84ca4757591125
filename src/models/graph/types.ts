/** Networks and training steps as ONNX graphs: the words that builder, rules, loss and optimiser share. */
import type { OnnxConstant, OnnxNode } from '../onnxWriter.js';

/** A size known now, or 'n': known when the graph runs (the batch, and what is made of it). */
export type Dim = number | 'n';

/** A float tensor of a graph (integers and truth values only pass between neighbouring nodes). */
export interface Value {
  name: string;
  shape: Dim[];
}

/** What the optimiser moves (trainable), or what BatchNorm keeps (running mean and variance). */
export interface GraphParameter {
  name: string;
  /** As the ONNX operator wants it: Conv (out, in, kernel, kernel). */
  shape: number[];
  trainable: boolean;
  /** Inputs that one output sums over, for the initialisation; 0: every element starts as `start`. */
  fanIn: number;
  /** Value of every element where fanIn is 0. */
  start: number;
}

/** A network as standard ONNX operators: one image input, one output of logits (n, classes), parameters by name. */
export interface ForwardGraph {
  name: string;
  /** (n, channels, height, width) */
  image: Value;
  /** In an order in which every node comes after those it reads. */
  nodes: OnnxNode[];
  /** Trainable ones first; the flat vectors of a training step follow this order. */
  parameters: GraphParameter[];
  constants: OnnxConstant[];
  /** Name of the value that holds the logits. */
  logits: string;
  numClasses: number;
  /** The batch that an ONNX file was exported for, where it is fixed: shapes that begin with it take any batch. */
  fixedBatch?: number;
  /** The graph normalises its images itself: it wants pixels on the 0..1 scale. */
  normalises: boolean;
}

/** Which kernels the graph may use: the CUDA provider has no BatchNormalization in training mode and no indices of MaxPool. */
export type Provider = 'cpu' | 'cuda';

export const sizeOf = (shape: readonly number[]): number => shape.reduce((product, side) => product * side, 1);
