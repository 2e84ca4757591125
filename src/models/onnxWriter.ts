/** Writes ONNX files: the protobuf wire format, and the messages of onnx.proto that a graph of standard operators needs. */

/** One protobuf message under construction; fields appear in the order of the calls. */
class Message {
  private readonly parts: Uint8Array[] = [];

  integer(field: number, value: number): this {
    this.parts.push(varint(field * 8), varint(value));
    return this;
  }

  float(field: number, value: number): this {
    const bytes = new Uint8Array(4);
    new DataView(bytes.buffer).setFloat32(0, value, true);
    this.parts.push(varint(field * 8 + 5), bytes);
    return this;
  }

  bytes(field: number, value: Uint8Array): this {
    this.parts.push(varint(field * 8 + 2), varint(value.length), value);
    return this;
  }

  text(field: number, value: string): this {
    return this.bytes(field, new TextEncoder().encode(value));
  }

  message(field: number, value: Message): this {
    return this.bytes(field, value.finish());
  }

  finish(): Uint8Array {
    const total = this.parts.reduce((sum, part) => sum + part.length, 0);
    const all = new Uint8Array(total);
    let at = 0;
    for (const part of this.parts) {
      all.set(part, at);
      at += part.length;
    }
    return all;
  }
}

/** Base-128 groups, lowest first; negative values as 64-bit two's complement, as int64 fields are written. */
function varint(value: number): Uint8Array {
  const groups: number[] = [];
  let rest = BigInt.asUintN(64, BigInt(value));
  do {
    const group = Number(rest & 0x7fn);
    rest >>= 7n;
    groups.push(rest > 0n ? group | 0x80 : group);
  } while (rest > 0n);
  return Uint8Array.from(groups);
}

/** Element types, as TensorProto.DataType numbers them. */
export const elementType = { float32: 1, int32: 6, int64: 7, float64: 11 } as const;
/** As AttributeProto.AttributeType numbers them. */
const attributeType = { float: 1, integer: 2, text: 3, tensor: 4, floats: 6, integers: 7 } as const;

/** A tensor stored in the file; BigInt64Array holds what ONNX wants as int64: shapes, axes, indices. */
export interface OnnxConstant {
  name: string;
  /** Row-major; [] is a scalar. */
  shape: number[];
  values: Float32Array | BigInt64Array;
}

/** Whole numbers where ONNX wants integers; a float attribute is marked { float }. */
export type OnnxAttribute = number | number[] | string | { float: number };

export interface OnnxNode {
  operator: string;
  /** An empty name stands for an optional input that is absent. */
  inputs: string[];
  outputs: string[];
  attributes?: Record<string, OnnxAttribute>;
}

/** A float tensor that goes in or out; a string names a size that is free. */
export interface OnnxValue {
  name: string;
  shape: (number | string)[];
}

export interface OnnxModel {
  name: string;
  description: string;
  nodes: OnnxNode[];
  constants: OnnxConstant[];
  inputs: OnnxValue[];
  outputs: OnnxValue[];
  /** Free key-value pairs for people and tools. */
  metadata: Record<string, string>;
  /** Version of the operators; absent: 15, which every ONNX Runtime since 1.10 supports. */
  opset?: number;
}

const defaultOpset = 15;
/** Of the file format: the one that came with opset 15, and the one that later operators need. */
const irVersion = (opset: number): number => (opset <= defaultOpset ? 8 : 9);

/** The bytes of an .onnx file. */
export function writeOnnx(model: OnnxModel): Uint8Array {
  const graph = new Message();
  for (const node of model.nodes) graph.message(1, nodeMessage(node));
  graph.text(2, model.name);
  for (const constant of model.constants) graph.message(5, constantMessage(constant));
  for (const input of model.inputs) graph.message(11, valueMessage(input));
  for (const output of model.outputs) graph.message(12, valueMessage(output));
  const opset = model.opset ?? defaultOpset;
  const file = new Message()
    .integer(1, irVersion(opset))
    .text(2, 'lethe')
    .text(6, model.description)
    .message(7, graph)
    .message(8, new Message().text(1, '').integer(2, opset));
  for (const [key, value] of Object.entries(model.metadata)) file.message(14, new Message().text(1, key).text(2, value));
  return file.finish();
}

function nodeMessage({ operator, inputs, outputs, attributes = {} }: OnnxNode): Message {
  const message = new Message();
  for (const input of inputs) message.text(1, input);
  for (const output of outputs) message.text(2, output);
  message
    .text(
      3,
      outputs.find((output) => output !== '')!,
    )
    .text(4, operator);
  for (const [name, value] of Object.entries(attributes)) {
    const attribute = new Message().text(1, name);
    if (typeof value === 'number') attribute.integer(3, value).integer(20, attributeType.integer);
    else if (typeof value === 'string') attribute.text(4, value).integer(20, attributeType.text);
    else if (Array.isArray(value)) value.reduce((all, item) => all.integer(8, item), attribute).integer(20, attributeType.integers);
    else attribute.float(2, value.float).integer(20, attributeType.float);
    message.message(5, attribute);
  }
  return message;
}

function constantMessage({ name, shape, values }: OnnxConstant): Message {
  const bytes = new Uint8Array(values.length * values.BYTES_PER_ELEMENT);
  const view = new DataView(bytes.buffer);
  for (const [i, value] of values.entries()) {
    if (typeof value === 'bigint') view.setBigInt64(8 * i, value, true);
    else view.setFloat32(4 * i, value, true);
  }
  const message = new Message();
  for (const size of shape) message.integer(1, size);
  const type = values instanceof Float32Array ? elementType.float32 : elementType.int64;
  return message.integer(2, type).text(8, name).bytes(9, bytes);
}

function valueMessage({ name, shape }: OnnxValue): Message {
  const shapeMessage = new Message();
  for (const size of shape) {
    const dimension = typeof size === 'number' ? new Message().integer(1, size) : new Message().text(2, size);
    shapeMessage.message(1, dimension);
  }
  const tensor = new Message().integer(1, elementType.float32).message(2, shapeMessage);
  return new Message().text(1, name).message(2, new Message().message(1, tensor));
}
