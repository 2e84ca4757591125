/** Parts of ONNX files made by hand. */
import type { OnnxConstant, OnnxNode } from '../../src/models/onnxWriter.js';

/** A float tensor of one value. */
export const filled = (name: string, shape: number[], value: number): OnnxConstant => ({
  name,
  shape,
  values: new Float32Array(shape.reduce((product, side) => product * side, 1)).fill(value),
});

/** A list of int64. */
export const whole = (name: string, values: number[]): OnnxConstant => ({
  name,
  shape: [values.length],
  values: BigInt64Array.from(values, BigInt),
});

export const node = (operator: string, inputs: string[], output: string, attributes: OnnxNode['attributes'] = {}): OnnxNode => ({
  operator,
  inputs,
  outputs: [output],
  attributes,
});
