/** Damaged and hostile ONNX files: answered with an error of ours, in time linear in the file. */
import { LetheError } from '../../src/errors.js';
import { importOnnx, netFromOnnx } from '../../src/models/onnxImport.js';
import { inOrder } from '../../src/models/onnxOrder.js';
import { readOnnx } from '../../src/models/onnxReader.js';
import { type OnnxConstant, writeOnnx } from '../../src/models/onnxWriter.js';
import { Purpose, Random } from '../../src/native/random.js';
import { fuzzTrials, mutate } from '../helpers/mutate.js';
import { filled, node, whole } from '../helpers/onnx.js';

const floats = (name: string, shape: number[]): OnnxConstant => filled(name, shape, 0.5);

/** As many operators and attributes as a small file can have. */
const seed = writeOnnx({
  name: 'net',
  description: '',
  nodes: [
    node('Conv', ['x', 'w1', 'b1'], 'c', { kernel_shape: [3, 3], pads: [1, 1, 1, 1], strides: [1, 1], dilations: [1, 1], group: 1 }),
    node('Identity', ['g'], 'g2'),
    node('BatchNormalization', ['c', 'g', 'beta', 'mean', 'var'], 'n', { epsilon: { float: 1e-5 }, momentum: { float: 0.9 } }),
    node('Gelu', ['n'], 'a', { approximate: 'tanh' }),
    node('MaxPool', ['a'], 'p', { kernel_shape: [2, 2], strides: [2, 2], ceil_mode: 0 }),
    node('AveragePool', ['p'], 'q', { kernel_shape: [2, 2], auto_pad: 'VALID', count_include_pad: 1 }),
    node('Mul', ['q', 'g2'], 'scaled'),
    node('Transpose', ['scaled'], 't', { perm: [0, 2, 3, 1] }),
    node('Concat', ['t', 't'], 'tt', { axis: -1 }),
    node('ReduceMean', ['tt', 'axes'], 'm', { keepdims: 0 }),
    node('Unsqueeze', ['m', 'one'], 'u'),
    node('Squeeze', ['u', 'one'], 's'),
    node('Reshape', ['s', 'sizes'], 'r'),
    node('Gemm', ['r', 'w2', 'b2'], 'y', { transB: 1, alpha: { float: 0.5 } }),
    node('LogSoftmax', ['y'], 'logits', { axis: 1 }),
  ],
  constants: [
    floats('w1', [2, 3, 3, 3]),
    ...['b1', 'beta', 'mean', 'var', 'g'].map((name) => floats(name, [2])),
    whole('axes', [1, 2]),
    whole('one', [1]),
    whole('sizes', [0, -1]),
    floats('w2', [4, 4]),
    floats('b2', [4]),
  ],
  inputs: [{ name: 'x', shape: ['n', 3, 8, 8] }],
  outputs: [{ name: 'logits', shape: ['n', 4] }],
  metadata: { note: 'made by hand' },
  opset: 20,
});

test('damaged files are read or refused, never anything else', () => {
  const random = new Random(6, Purpose.synthetic, 0);
  const codes = new Map<string, number>();
  for (let trial = 0; trial < fuzzTrials; trial++) {
    const bytes = mutate(seed, (count) => random.below(count));
    let outcome = 'read';
    try {
      netFromOnnx(bytes, 'file');
    } catch (error) {
      if (!(error instanceof LetheError)) throw new Error(`trial ${trial}: ${Buffer.from(bytes).toString('base64')}`, { cause: error });
      outcome = error.code;
    }
    codes.set(outcome, (codes.get(outcome) ?? 0) + 1);
  }
  expect([...codes.keys()].sort()).toEqual(['LETHE_ONNX_INVALID', 'LETHE_ONNX_UNSUPPORTED', 'read']);
});

const head = { name: '', description: '', metadata: {}, inputs: [{ name: 'x', shape: ['n', 3, 8, 8] }] };

/** A chain of so many nodes, the last one first. */
function chain(count: number): Uint8Array {
  const relus = Array.from({ length: count }, (_, i) => node('Relu', [i === 0 ? 'c' : `r${i - 1}`], i === count - 1 ? 'y' : `r${i}`));
  const nodes = [node('Conv', ['x', 'w'], 'c'), ...relus, node('Flatten', ['y'], 'logits')].toReversed();
  return writeOnnx({ ...head, nodes, constants: [floats('w', [4, 3, 8, 8])], outputs: [{ name: 'logits', shape: ['n', 4] }] });
}

test('40,000 nodes may be listed last first', () => {
  const ordered = inOrder(readOnnx(chain(40_000)));
  expect([ordered.length, ordered[0]!.operator, ordered.at(-1)!.operator]).toEqual([40_002, 'Conv', 'Flatten']);
  expect(importOnnx(chain(4000), 'long').graph.nodes.length).toBe(4002);
});

/** A field of a message. */
const field = (number: number, content: Uint8Array): Uint8Array => {
  const length: number[] = [];
  for (let rest = content.length; length.length === 0 || rest > 0; rest = Math.floor(rest / 128)) {
    length.push((rest % 128) + (rest >= 128 ? 128 : 0));
  }
  return Buffer.concat([Uint8Array.of(number * 8 + 2, ...length), content]);
};
const opset = Uint8Array.of(8 * 8 + 2, 2, 16, 15);
const fileOf = (...tensors: Uint8Array[]): Uint8Array =>
  Buffer.concat([opset, field(7, Buffer.concat(tensors.map((one) => field(5, one))))]);

test('floats and sizes may come one a field', () => {
  const count = 200_000;
  const values = Buffer.alloc(5 * count, Uint8Array.of(4 * 8 + 5, 0, 0, 128, 63)); // float_data: 1
  const size = Uint8Array.of(8, 0xc0, 0x9a, 0x0c, 16, 1, 66, 1, 119); // dims: 200000, float32, name: w
  const [constant] = readOnnx(fileOf(Buffer.concat([size, values]))).constants;
  expect([constant!.name, constant!.shape, constant!.values.length]).toEqual(['w', [count], count]);
  expect((constant!.values as Float32Array).every((value) => value === 1)).toBe(true);
});

test.each([
  ['more dimensions than a tensor has', fileOf(Buffer.alloc(34, Uint8Array.of(8, 1))), /at most 16 dimensions/],
  ['the same tensor twice', fileOf(Uint8Array.of(16, 1, 8, 0, 66, 1, 119), Uint8Array.of(16, 1, 8, 0, 66, 1, 119)), /"w" a second time/],
  [
    'more tensors than a network has',
    Buffer.concat([opset, field(7, Buffer.alloc(6 * 100_002, field(5, Uint8Array.of(16, 1, 8, 0))))]),
    /at most 100000 nodes/,
  ],
])('refuses %s', (_name, bytes, message) => {
  expect(() => readOnnx(bytes)).toThrow(message);
});

test.each([
  [
    'a cycle',
    [node('Conv', ['x', 'w'], 'c'), node('Add', ['c', 'b'], 'a'), node('Relu', ['a'], 'b'), node('Flatten', ['a'], 'logits')],
    /LETHE_ONNX_INVALID.*no cycle/,
  ],
  [
    'a value that is made twice',
    [node('Conv', ['x', 'w'], 'c'), node('Relu', ['c'], 'logits'), node('Neg', ['c'], 'logits')],
    /"logits" \(Neg\) makes a value that is there already/,
  ],
])('refuses %s', (_name, nodes, message) => {
  const bytes = writeOnnx({ ...head, nodes, constants: [floats('w', [4, 3, 8, 8])], outputs: [{ name: 'logits', shape: ['n', 4] }] });
  expect(() => netFromOnnx(bytes, 'file')).toThrow(message);
});
