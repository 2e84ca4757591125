/** Collects the nodes of a graph under construction; every method that adds a node returns the value it makes. */
import type { OnnxAttribute, OnnxConstant, OnnxNode, OnnxValue } from '../onnxWriter.js';
import type { Dim, Provider, Value } from './types.js';

type Attributes = Record<string, OnnxAttribute>;

export class GraphBuilder {
  readonly nodes: OnnxNode[] = [];
  readonly constants: OnnxConstant[] = [];
  readonly inputs: OnnxValue[] = [];
  private readonly constantNames = new Map<string, string>();
  private readonly wholeNumbers = new Map<string, number[]>();
  private count = 0;

  constructor(readonly provider: Provider) {}

  input(name: string, shape: Dim[]): Value {
    this.inputs.push({ name, shape });
    return { name, shape };
  }

  /** Adds a node with one output. Inputs that are undefined are optional ones left out. */
  node(operator: string, inputs: (Value | undefined)[], shape: Dim[], attributes: Attributes = {}): Value {
    return this.nodeWithOutputs(operator, inputs, [shape], attributes)[0]!;
  }

  nodeWithOutputs(operator: string, inputs: (Value | undefined)[], shapes: Dim[][], attributes: Attributes = {}): Value[] {
    const outputs = shapes.map((shape) => ({ name: this.fresh(operator), shape }));
    this.nodes.push({
      operator,
      inputs: inputs.map((input) => input?.name ?? ''),
      outputs: outputs.map(({ name }) => name),
      attributes,
    });
    return outputs;
  }

  /** Gives a value the name of a graph output. */
  output(value: Value, name: string): void {
    this.nodes.push({ operator: 'Identity', inputs: [value.name], outputs: [name] });
  }

  scalar(value: number): Value {
    return this.constant([], Float32Array.of(value));
  }

  floats(shape: number[], values: Float32Array): Value {
    return this.constant(shape, values);
  }

  /** A vector of whole numbers: shapes, axes, positions. */
  integers(values: number[]): Value {
    return this.constant([values.length], BigInt64Array.from(values, BigInt));
  }

  /** A constant under its own name. */
  store(constant: OnnxConstant): Value {
    this.constants.push(constant);
    if (constant.values instanceof BigInt64Array) this.wholeNumbers.set(constant.name, Array.from(constant.values, Number));
    return { name: constant.name, shape: constant.shape };
  }

  /** Content of a constant of whole numbers; undefined for anything else. */
  integersOf(value: Value | undefined): number[] | undefined {
    return value && this.wholeNumbers.get(value.name);
  }

  /** Zeros in the shape of x, also where that is known only when the graph runs. */
  zerosLike(x: Value): Value {
    return this.node('ConstantOfShape', [this.node('Shape', [x], [x.shape.length])], x.shape);
  }

  /** Equal small constants are stored once. */
  private constant(shape: number[], values: Float32Array | BigInt64Array): Value {
    const key = values.length <= 16 ? `${values instanceof Float32Array ? 'f' : 'i'}${shape.join('x')}:${values.join()}` : undefined;
    let name = key === undefined ? undefined : this.constantNames.get(key);
    if (name === undefined) {
      name = this.fresh('Constant');
      this.store({ name, shape, values });
      if (key !== undefined) this.constantNames.set(key, name);
    }
    return { name, shape };
  }

  add(a: Value, b: Value): Value {
    return this.node('Add', [a, b], broadcast(a.shape, b.shape));
  }

  subtract(a: Value, b: Value): Value {
    return this.node('Sub', [a, b], broadcast(a.shape, b.shape));
  }

  multiply(a: Value, b: Value): Value {
    return this.node('Mul', [a, b], broadcast(a.shape, b.shape));
  }

  divide(a: Value, b: Value): Value {
    return this.node('Div', [a, b], broadcast(a.shape, b.shape));
  }

  negate(a: Value): Value {
    return this.node('Neg', [a], a.shape);
  }

  /** a where condition holds, b elsewhere. */
  where(condition: Value, a: Value, b: Value): Value {
    return this.node('Where', [condition, a, b], broadcast(condition.shape, broadcast(a.shape, b.shape)));
  }

  /** Sums over axes, which stay as sides of 1. */
  sum(x: Value, axes: number[]): Value {
    return this.node('ReduceSum', [x, this.integers(axes)], reduced(x.shape, axes), { keepdims: 1 });
  }

  /** Means over axes, which stay as sides of 1. */
  mean(x: Value, axes: number[]): Value {
    return this.node('ReduceMean', [x, this.integers(axes)], reduced(x.shape, axes), { keepdims: 1 });
  }

  /** Sum of all elements over the channels of (n, c, ...): (c). Space first and batch second is several times faster than both at once. */
  sumPerChannel(x: Value): Value {
    const space = x.shape.map((_, axis) => axis).slice(2);
    const perImage = space.length > 0 ? this.sum(x, space) : x;
    return this.reshape(this.sum(perImage, [0]), [x.shape[1]!]);
  }

  /** At most one side of `shape` may be 'n'. */
  reshape(x: Value, shape: Dim[]): Value {
    if (shape.length === x.shape.length && shape.every((side, axis) => side === x.shape[axis])) return x;
    return this.node('Reshape', [x, this.integers(shape.map((side) => (side === 'n' ? -1 : side)))], shape);
  }

  transpose(x: Value, order: number[]): Value {
    return this.node(
      'Transpose',
      [x],
      order.map((axis) => x.shape[axis]!),
      { perm: order },
    );
  }

  /** Elements from `begin` on in steps of `step`, `counts` of them, along each of `axes`. */
  slice(x: Value, axes: number[], begin: number[], counts: number[], step: number[] = axes.map(() => 1)): Value {
    const end = axes.map((_, i) => begin[i]! + step[i]! * (counts[i]! - 1) + 1);
    const shape = x.shape.map((side, axis) => (axes.includes(axis) ? counts[axes.indexOf(axis)]! : side));
    return this.node('Slice', [x, ...[begin, end, axes, step].map((values) => this.integers(values))], shape);
  }

  /** Reverses the order along axes of known length. */
  flip(x: Value, axes: number[]): Value {
    const ends = axes.map((axis) => -1 - (x.shape[axis] as number));
    const from = axes.map(() => -1);
    return this.node('Slice', [x, ...[from, ends, axes, from].map((values) => this.integers(values))], x.shape);
  }

  /** Adds `before` and `after` elements along each axis; negative numbers cut. */
  pad(x: Value, before: number[], after: number[], value = 0): Value {
    if ([...before, ...after].every((count) => count === 0)) return x;
    const shape = x.shape.map((side, axis) => (side === 'n' ? side : side + before[axis]! + after[axis]!));
    return this.node('Pad', [x, this.integers([...before, ...after]), this.scalar(value)], shape);
  }

  concatenate(parts: Value[], axis: number): Value {
    if (parts.length === 1) return parts[0]!;
    const total = parts.reduce<Dim>((sum, { shape }) => (sum === 'n' || shape[axis] === 'n' ? 'n' : sum + shape[axis]!), 0);
    return this.node(
      'Concat',
      parts,
      parts[0]!.shape.map((side, at) => (at === axis ? total : side)),
      { axis },
    );
  }

  /** A vector cut into parts of these shapes, in order. */
  cut(vector: Value, shapes: number[][]): Value[] {
    const sizes = shapes.map((shape) => shape.reduce((product, side) => product * side, 1));
    const parts = this.nodeWithOutputs(
      'Split',
      [vector, this.integers(sizes)],
      sizes.map((size) => [size]),
      { axis: 0 },
    );
    return parts.map((part, i) => this.reshape(part, shapes[i]!));
  }

  private fresh(operator: string): string {
    return `${operator}_${this.count++}`;
  }
}

/** Shape of an elementwise operator of two tensors, as NumPy broadcasts. */
export function broadcast(a: Dim[], b: Dim[]): Dim[] {
  const rank = Math.max(a.length, b.length);
  const side = (shape: Dim[], axis: number): Dim => shape[axis - rank + shape.length] ?? 1;
  return Array.from({ length: rank }, (_, axis) => (side(a, axis) === 1 ? side(b, axis) : side(a, axis)));
}

function reduced(shape: Dim[], axes: number[]): Dim[] {
  return shape.map((side, axis) => (axes.includes(axis) ? 1 : side));
}
