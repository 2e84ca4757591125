/** Reads ONNX files: what a graph of standard operators needs, checked as strangers' files must be. */
import { errorCode, LetheError } from '../errors.js';
import { elementType, type OnnxAttribute, type OnnxConstant, type OnnxNode, type OnnxValue } from './onnxWriter.js';
import type { OnnxModel } from './onnxWriter.js';
import { type Field, fieldsOf, floatOf, ProtobufError, pushFloats, pushIntegers } from './protobuf.js';

/** No network that is trained here has more or larger ones. */
const maxElements = 2 ** 31;
const maxDimensions = 16;
const maxNodes = 100_000;
const maxTensors = 100_000;

export interface ReadModel extends Required<OnnxModel> {
  /** Names of the constants that Constant nodes hold: numbers of the architecture where they are single, not parameters. */
  constantNodes: Set<string>;
}

function invalid(expected: string, received: string): LetheError {
  return new LetheError('LETHE_ONNX_INVALID', 'this is no ONNX file that can be read', {
    expected,
    received,
    action: 'Export the model again, as one file.',
  });
}

export function unsupportedPart(expected: string, received: string): LetheError {
  return new LetheError('LETHE_ONNX_UNSUPPORTED', 'the ONNX file uses what is not supported', { expected, received });
}

/** The model with Constant nodes among its constants. @throws LETHE_ONNX_INVALID, LETHE_ONNX_UNSUPPORTED */
export function readOnnx(bytes: Uint8Array): ReadModel {
  try {
    return readModel(bytes);
  } catch (error) {
    if (error instanceof ProtobufError) throw invalid('a protobuf message', error.message);
    if (errorCode(error)?.startsWith('LETHE_')) throw error;
    // texts that are no UTF-8, sizes beyond what an array can have
    throw invalid('a protobuf message', error instanceof Error ? error.message : String(error));
  }
}

function readModel(bytes: Uint8Array): ReadModel {
  const model: ReadModel = {
    name: '',
    description: '',
    nodes: [],
    constants: [],
    inputs: [],
    outputs: [],
    metadata: {},
    opset: 0,
    constantNodes: new Set(),
  };
  let graph: Uint8Array | undefined;
  for (const { number, value } of fieldsOf(bytes)) {
    if (number === 6) model.description = text(value);
    else if (number === 7) graph = message(value);
    else if (number === 8) readOpset(message(value), model);
    else if (number === 14) {
      const [key = '', content = ''] = texts(message(value), [1, 2]);
      Object.defineProperty(model.metadata, key, { value: content, enumerable: true });
    }
  }
  if (!graph || model.opset === 0) throw invalid('a model with a graph and an operator set', graph ? 'no operator set' : 'no graph');
  readGraph(graph, model);
  return model;
}

function readOpset(bytes: Uint8Array, model: { opset: number }): void {
  const [domain = ''] = texts(bytes, [1]);
  if (domain !== '' && domain !== 'ai.onnx') return;
  for (const { number, value } of fieldsOf(bytes)) if (number === 2) model.opset = Number(integer(value));
}

function readGraph(bytes: Uint8Array, model: ReadModel): void {
  for (const { number, value } of fieldsOf(bytes)) {
    if (model.nodes.length > maxNodes || model.constants.length > maxTensors) {
      throw invalid(`at most ${maxNodes} nodes and ${maxTensors} tensors`, 'more');
    }
    if (number === 1) readNode(message(value), model);
    else if (number === 2) model.name = text(value);
    else if (number === 5) model.constants.push(readTensor(message(value)));
    else if (number === 11) model.inputs.push(readValue(message(value)));
    else if (number === 12) model.outputs.push(readValue(message(value)));
    else if (number === 15) throw unsupportedPart('dense tensors', 'a sparse one');
  }
  // older files list their constants among the inputs
  const stored = new Set(model.constants.map(({ name }) => name));
  if (stored.size < model.constants.length) {
    const seen = new Set<string>();
    const twice = model.constants.find(({ name }) => seen.size === seen.add(name).size)!;
    throw invalid('every tensor once', `"${twice.name}" a second time`);
  }
  model.inputs = model.inputs.filter(({ name }) => !stored.has(name));
}

function readNode(bytes: Uint8Array, model: ReadModel): void {
  const node: Required<OnnxNode> = { operator: '', inputs: [], outputs: [], attributes: {} };
  const attributes: { name: string; value: OnnxAttribute | OnnxConstant | undefined }[] = [];
  let domain = '';
  for (const { number, value } of fieldsOf(bytes)) {
    if (number === 1) node.inputs.push(text(value));
    else if (number === 2) node.outputs.push(text(value));
    else if (number === 4) node.operator = text(value);
    else if (number === 5) attributes.push(readAttribute(message(value)));
    else if (number === 7) domain = text(value);
  }
  const name = node.outputs[0];
  if (name === undefined || node.operator === '') throw invalid('nodes with an operator and an output', 'one without');
  if (domain !== '' && domain !== 'ai.onnx') throw unsupportedPart('standard operators', `${node.operator} of ${domain} at "${name}"`);
  if (node.operator === 'Constant') {
    model.constants.push(constantOf(name, attributes[0]?.value));
    model.constantNodes.add(name);
    return;
  }
  for (const { name: key, value } of attributes) {
    if (value === undefined || isTensor(value)) throw unsupportedPart('plain attributes', `"${key}" of "${name}"`);
    Object.defineProperty(node.attributes, key, { value, enumerable: true });
  }
  model.nodes.push(node);
}

function constantOf(name: string, value: OnnxAttribute | OnnxConstant | undefined): OnnxConstant {
  if (typeof value === 'number') return { name, shape: [], values: BigInt64Array.of(BigInt(value)) };
  if (Array.isArray(value)) return { name, shape: [value.length], values: BigInt64Array.from(value, BigInt) };
  if (typeof value === 'object' && 'float' in value) return { name, shape: [], values: Float32Array.of(value.float) };
  if (typeof value === 'object') return { ...value, name };
  throw unsupportedPart('constants of numbers', `constant "${name}"`);
}

function isTensor(value: OnnxAttribute | OnnxConstant): value is OnnxConstant {
  return typeof value === 'object' && 'shape' in value;
}

/** An attribute of a kind that no operator here has is undefined. */
function readAttribute(bytes: Uint8Array): { name: string; value: OnnxAttribute | OnnxConstant | undefined } {
  let name = '';
  let value: OnnxAttribute | OnnxConstant | undefined;
  const integers: bigint[] = [];
  const floats: number[] = [];
  let hasIntegers = false;
  for (const { number, value: field } of fieldsOf(bytes)) {
    if (number === 1) name = text(field);
    else if (number === 2) value = { float: floatOf(bits(field)) };
    else if (number === 3) value = wholeNumber(integer(field));
    else if (number === 4) value = text(field);
    else if (number === 5) value = readTensor(message(field));
    else if (number === 7) pushFloats(floats, field);
    else if (number === 8) pushIntegers(integers, field);
    else if (number === 20) hasIntegers = integer(field) === 7n;
  }
  if (floats.length > 0) return { name, value: { name, shape: [floats.length], values: Float32Array.from(floats) } };
  return { name, value: hasIntegers || integers.length > 0 ? integers.map(wholeNumber) : value };
}

function readTensor(bytes: Uint8Array): OnnxConstant {
  const sides: bigint[] = [];
  let name = '';
  let type = 0;
  let raw: Uint8Array | undefined;
  const loose: number[] = [];
  const whole: bigint[] = [];
  for (const { number, value } of fieldsOf(bytes)) {
    if (number === 1) pushIntegers(sides, value);
    else if (number === 2) type = Number(integer(value));
    else if (number === 4) pushFloats(loose, value);
    else if (number === 5 || number === 7) pushIntegers(whole, value);
    else if (number === 8) name = text(value);
    else if (number === 9) raw = message(value);
    else if (number === 14 && integer(value) !== 0n) throw unsupportedPart('one file with its tensors', `tensor "${name}" in another file`);
  }
  if (sides.length > maxDimensions) throw invalid(`at most ${maxDimensions} dimensions`, `${sides.length} of tensor "${name}"`);
  const shape = sides.map(wholeNumber);
  const size = shape.reduce((product, side) => product * side, 1);
  if (shape.some((side) => side < 0) || size > maxElements) throw invalid('sizes of tensors', `"${name}" (${shape.join(', ')})`);
  const values = raw ? rawValues(name, type, raw) : looseValues(name, type, loose, whole);
  if (values.length !== size) throw invalid(`${size} values in tensor "${name}"`, String(values.length));
  return { name, shape, values };
}

function rawValues(name: string, type: number, raw: Uint8Array): OnnxConstant['values'] {
  // a copy: the bytes of the file may lie anywhere, elements must be aligned
  const { buffer } = Uint8Array.from(raw);
  const bytes = type === elementType.float32 || type === elementType.int32 ? 4 : 8;
  if (raw.length % bytes !== 0) throw invalid(`whole elements in tensor "${name}"`, `${raw.length} bytes`);
  if (type === elementType.float32) return new Float32Array(buffer);
  if (type === elementType.float64) return Float32Array.from(new Float64Array(buffer));
  if (type === elementType.int64) return new BigInt64Array(buffer);
  if (type === elementType.int32) return BigInt64Array.from(new Int32Array(buffer), BigInt);
  throw unsupportedPart('tensors of float32, float64, int32 or int64', `tensor "${name}" of element type ${type}`);
}

function looseValues(name: string, type: number, loose: number[], whole: bigint[]): OnnxConstant['values'] {
  if (type === elementType.float32) return Float32Array.from(loose);
  if (type === elementType.int64 || type === elementType.int32) return BigInt64Array.from(whole);
  throw unsupportedPart('tensors of float32, int32 or int64', `tensor "${name}" of element type ${type}`);
}

/** Sizes that are free are texts. */
function readValue(bytes: Uint8Array): OnnxValue {
  const value: OnnxValue = { name: '', shape: [] };
  for (const field of fieldsOf(bytes)) {
    if (field.number === 1) value.name = text(field.value);
    else if (field.number === 2) value.shape = inner(inner(message(field.value), 1), 2, readSizes) ?? [];
  }
  return value;
}

function inner(bytes: Uint8Array | undefined, wanted: number): Uint8Array | undefined;
function inner<T>(bytes: Uint8Array | undefined, wanted: number, read: (bytes: Uint8Array) => T): T | undefined;
function inner(bytes: Uint8Array | undefined, wanted: number, read: (bytes: Uint8Array) => unknown = (same) => same): unknown {
  if (bytes) for (const { number, value } of fieldsOf(bytes)) if (number === wanted) return read(message(value));
  return undefined;
}

function readSizes(bytes: Uint8Array): (number | string)[] {
  const sizes: (number | string)[] = [];
  for (const { number, value } of fieldsOf(bytes)) {
    if (number !== 1) continue;
    let size: number | string = 'n';
    for (const field of fieldsOf(message(value))) size = field.number === 1 ? wholeNumber(integer(field.value)) : text(field.value);
    sizes.push(size);
  }
  return sizes;
}

function message(value: Field['value']): Uint8Array {
  if (typeof value === 'bigint') throw new ProtobufError('a number where a message belongs');
  return value;
}

const decoder = new TextDecoder('utf-8', { fatal: true });

function text(value: Field['value']): string {
  return decoder.decode(message(value));
}

function texts(bytes: Uint8Array, numbers: number[]): (string | undefined)[] {
  const found = new Map<number, string>();
  for (const { number, value } of fieldsOf(bytes)) if (numbers.includes(number)) found.set(number, text(value));
  return numbers.map((number) => found.get(number));
}

function bits(value: Field['value']): bigint {
  if (typeof value !== 'bigint') throw new ProtobufError('bytes where a number belongs');
  return value;
}

function integer(value: Field['value']): bigint {
  return BigInt.asIntN(64, bits(value));
}

function wholeNumber(value: bigint): number {
  // "to the end" is written as the largest int64
  return Number(value);
}
