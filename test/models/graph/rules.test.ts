/** Every gradient rule against central differences of the loss that the same graph gives, for both kinds of graph. */
import { rules } from '../../../src/models/graph/rules.js';
import type { OnnxConstant, OnnxNode } from '../../../src/models/onnxWriter.js';
import { around, type Middle, normals, numTrainable, stepper } from './graphs.js';

const node = (operator: string, inputs: string[], attributes: OnnxNode['attributes'] = {}, outputs = ['out']): OnnxNode => ({
  operator,
  inputs,
  outputs,
  attributes,
});
const whole = (name: string, values: number[]): OnnxConstant => ({
  name,
  shape: [values.length],
  values: BigInt64Array.from(values, BigInt),
});
const floats = (name: string, shape: number[], values: Float32Array): OnnxConstant => ({ name, shape, values });

/** "x" is (n, 3, 6, 5): 90 elements an image. */
const unary = (operator: string, attributes: OnnxNode['attributes'] = {}): Middle => ({
  nodes: [node(operator, ['x'], attributes)],
  outputs: 90,
});
const conv = (weight: number[], outputs: number, attributes: OnnxNode['attributes']): Middle => ({
  nodes: [node('Conv', ['x', 'w', 'b'], attributes)],
  parameters: { w: weight, b: [weight[0]!] },
  outputs,
});
const pool = (operator: string, outputs: number, attributes: OnnxNode['attributes']): Middle => ({
  nodes: [node(operator, ['x'], attributes)],
  outputs,
});
const reshaped = (inner: OnnxNode[], further: Partial<Middle> & { outputs: number }): Middle => ({
  ...further,
  nodes: [node('Reshape', ['x', 'rows'], {}, ['m']), ...inner],
  constants: [whole('rows', [0, -1]), ...(further.constants ?? [])],
});

const cases: [string, Middle][] = [
  ['Conv', conv([4, 3, 3, 3], 4 * 30, { pads: [1, 1, 1, 1] })],
  ['Conv, stride 2, even kernel, uneven pads', conv([2, 3, 4, 2], 2 * 3 * 3, { strides: [2, 2], pads: [2, 1, 1, 0] })],
  ['Conv 5 x 5, stride 2, pad 2', conv([2, 3, 5, 5], 2 * 3 * 3, { strides: [2, 2], pads: [2, 2, 2, 2] })],
  ['Conv, stride 3 that leaves pixels out', conv([2, 3, 2, 2], 2 * 2 * 2, { strides: [3, 3] })],
  ['Conv, dilation 2', conv([2, 3, 2, 3], 2 * 4 * 3, { dilations: [2, 2], pads: [0, 1, 0, 1] })],
  ['Conv, pad wider than the kernel', conv([2, 3, 1, 1], 2 * 10 * 9, { pads: [2, 2, 2, 2] })],
  [
    'BatchNormalization',
    {
      nodes: [node('BatchNormalization', ['x', 'gamma', 'beta', 'mean', 'variance'], { epsilon: { float: 1e-3 } })],
      parameters: { gamma: [3], beta: [3] },
      state: { mean: [3], variance: [3] },
      outputs: 90,
    },
  ],
  [
    'BatchNormalization of vectors',
    {
      nodes: [
        node('GlobalAveragePool', ['x'], {}, ['p']),
        node('Flatten', ['p'], {}, ['f']),
        node('BatchNormalization', ['f', 'gamma', 'beta', 'mean', 'variance']),
      ],
      parameters: { gamma: [3], beta: [3] },
      state: { mean: [3], variance: [3] },
      outputs: 3,
    },
  ],
  ['Relu', { ...unary('Relu'), kinks: true }],
  ['Sigmoid', unary('Sigmoid')],
  ['Tanh', unary('Tanh')],
  ['Gelu', unary('Gelu')],
  ['Gelu, tanh', unary('Gelu', { approximate: 'tanh' })],
  ['Erf', unary('Erf')],
  ['Neg', unary('Neg')],
  ['Identity', unary('Identity')],
  ['Softmax', unary('Softmax', { axis: 1 })],
  ['LogSoftmax', unary('LogSoftmax', { axis: -1 })],
  [
    'Add of itself and a vector',
    { nodes: [node('Add', ['x', 'x'], {}, ['d']), node('Add', ['d', 'v'])], parameters: { v: [5] }, outputs: 90 },
  ],
  ['Sub, broadcast', { nodes: [node('Sub', ['v', 'x'])], parameters: { v: [3, 1, 1] }, outputs: 90 }],
  ['Mul, broadcast', { nodes: [node('Mul', ['x', 'v'])], parameters: { v: [1, 3, 6, 1] }, outputs: 90 }],
  [
    'Div, broadcast',
    {
      nodes: [node('Sigmoid', ['v'], {}, ['s']), node('Div', ['x', 's'])],
      parameters: { v: [3, 1, 5] },
      outputs: 90,
    },
  ],
  ['MaxPool', pool('MaxPool', 3 * 3 * 2, { kernel_shape: [2, 2], strides: [2, 2] })],
  ['MaxPool, overlapping, padded', pool('MaxPool', 3 * 3 * 3, { kernel_shape: [3, 3], strides: [2, 2], pads: [1, 1, 1, 1] })],
  ['AveragePool', pool('AveragePool', 3 * 3 * 2, { kernel_shape: [2, 2], strides: [2, 2] })],
  ['AveragePool, overlapping, padded', pool('AveragePool', 3 * 3 * 3, { kernel_shape: [3, 3], strides: [2, 2], pads: [1, 1, 1, 1] })],
  [
    'AveragePool that counts its padding',
    pool('AveragePool', 3 * 3 * 3, { kernel_shape: [3, 3], strides: [2, 2], pads: [1, 1, 1, 1], count_include_pad: 1 }),
  ],
  ['GlobalMaxPool', { ...pool('GlobalMaxPool', 3, {}), kinks: true }],
  ['GlobalAveragePool', pool('GlobalAveragePool', 3, {})],
  ['ReduceMean', { nodes: [node('ReduceMean', ['x', 'axes'], { keepdims: 0 })], constants: [whole('axes', [2, -1])], outputs: 3 }],
  ['Flatten', unary('Flatten')],
  ['Reshape', reshaped([node('Identity', ['m'])], { outputs: 90 })],
  ['Transpose', unary('Transpose', { perm: [0, 2, 3, 1] })],
  ['Concat', { nodes: [node('Sigmoid', ['x'], {}, ['s']), node('Concat', ['x', 's'], { axis: 1 })], outputs: 180 }],
  [
    'Unsqueeze and Squeeze',
    {
      nodes: [node('Unsqueeze', ['x', 'one'], {}, ['u']), node('Tanh', ['u'], {}, ['t']), node('Squeeze', ['t', 'one'])],
      constants: [whole('one', [1])],
      outputs: 90,
    },
  ],
  ['Gemm', reshaped([node('Gemm', ['m', 'w', 'b'])], { parameters: { w: [90, 4], b: [4] }, outputs: 4 })],
  [
    'Gemm, transposed, alpha and beta',
    reshaped([node('Gemm', ['m', 'w', 'b'], { transB: 1, alpha: { float: 0.5 }, beta: { float: 2 } })], {
      parameters: { w: [4, 90], b: [1, 4] },
      outputs: 4,
    }),
  ],
  ['MatMul of matrices', { nodes: [node('MatMul', ['x', 'w'])], parameters: { w: [5, 2] }, outputs: 36 }],
  [
    'a constant factor',
    { nodes: [node('Mul', ['x', 'c'])], constants: [floats('c', [3, 1, 1], Float32Array.of(0.5, -1, 2))], outputs: 90 },
  ],
];

const stateOf = (middle: Middle): Float32Array | undefined =>
  middle.state && Float32Array.from([...normals(3, 8, 0.2), ...normals(3, 9).map((value) => 1 + value * value)]);

describe.each(['train', 'eval'] as const)('gradient rules, BatchNorm in %s mode', (batchNorm) => {
  const relevant = cases.filter(([, middle]) => batchNorm === 'train' || middle.state);

  test.each(relevant)('%s', async (_name, middle) => {
    const graph = around(middle);
    const parameters = normals(numTrainable(graph), 5, 0.6);
    const state = stateOf(middle);
    const step = await stepper(graph, { batchNorm, provider: 'cpu' });
    const { gradient, loss, newState } = await step(parameters, state);
    expect(loss).toBeGreaterThan(0.1);
    const scale = Math.max(...gradient.map(Math.abs));
    expect(scale).toBeGreaterThan(0.01);
    // the last product is the same in all cases: the first parameters are where the operator's gradient arrives
    for (let k = 0; k < Math.min(parameters.length, 60); k++) {
      const width = middle.kinks ? 2e-4 : 4e-3;
      const shifted = async (by: number): Promise<number> => (await step(parameters.with(k, parameters[k]! + by), state)).loss;
      const slope = ((await shifted(width)) - (await shifted(-width))) / (2 * width);
      expect(Math.abs(gradient[k]! - slope)).toBeLessThan(2e-3 * Math.max(scale, loss));
    }
    // the graph for the CUDA provider is another formulation of the same numbers
    const other = await (await stepper(graph, { batchNorm, provider: 'cuda' }))(parameters, state);
    expect(Math.abs(other.loss - loss)).toBeLessThan(1e-5 * loss);
    other.gradient.forEach((value, k) => {
      expect(Math.abs(value - gradient[k]!)).toBeLessThan(1e-5 * scale);
    });
    expect(newState === undefined).toBe(batchNorm === 'eval' || !middle.state);
    newState?.forEach((value, k) => {
      expect(Math.abs(value - other.newState![k]!)).toBeLessThan(1e-5);
    });
  });
});

test('every operator of the table is tested', () => {
  const tested = new Set(cases.flatMap(([, { nodes }]) => nodes.map(({ operator }) => operator)));
  expect(Object.keys(rules).filter((operator) => !tested.has(operator))).toEqual([]);
});
