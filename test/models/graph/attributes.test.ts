/** What the rules do not honour is refused by name. */
import { checkTraining } from '../../../src/models/graph/step.js';
import type { OnnxNode } from '../../../src/models/onnxWriter.js';
import { around, type Middle } from './graphs.js';

const node = (operator: string, inputs: string[], attributes: OnnxNode['attributes'] = {}, outputs = ['out']): OnnxNode => ({
  operator,
  inputs,
  outputs,
  attributes,
});
const simple = (operator: string, attributes: OnnxNode['attributes']): Middle => ({
  nodes: [node(operator, ['x'], attributes)],
  outputs: 90,
});
const conv = (attributes: OnnxNode['attributes'], weight = [3, 3, 3, 3]): Middle => ({
  nodes: [node('Conv', ['x', 'w'], attributes)],
  parameters: { w: weight },
  outputs: 36,
});
const norm = (channels: number, attributes: OnnxNode['attributes'] = {}): Middle => ({
  nodes: [node('BatchNormalization', ['x', 'gamma', 'beta', 'mean', 'variance'], attributes)],
  parameters: { gamma: [channels], beta: [3] },
  state: { mean: [3], variance: [3] },
  outputs: 90,
});
const gemm = (attributes: OnnxNode['attributes'], weight = [90, 3]): Middle => ({
  nodes: [node('Flatten', ['x'], {}, ['f']), node('Gemm', ['f', 'w'], attributes)],
  parameters: { w: weight },
  outputs: 3,
});

test.each<[string, Middle, RegExp]>([
  ['groups', conv({ group: 3 }), /\(Conv\).*one group; received group 3/],
  ['a group that is no whole number', conv({ group: { float: 3 } }), /attribute group as a whole number/],
  ['automatic padding', conv({ auto_pad: 'SAME_UPPER' }), /explicit pads; received auto_pad SAME_UPPER/],
  ['strides of 0', conv({ strides: [0, 1] }), /2 whole numbers from 1 on.*\[0, 1\]/],
  ['negative pads', conv({ pads: [0, -1, 0, 0] }), /4 whole numbers from 0 on/],
  ['dilations of one side', conv({ dilations: [2] }), /2 whole numbers from 1 on/],
  ['a kernel that is not that of the weights', conv({ kernel_shape: [2, 2] }), /weights \(out, 3, 2, 2\); received \(3, 3, 3, 3\)/],
  ['weights for other channels', conv({}, [3, 2, 3, 3]), /weights \(out, 3, 3, 3\); received \(3, 2, 3, 3\)/],
  ['an attribute that nobody knows', conv({ activation: 'relu' }), /no attributes but .*group; received "activation"/],
  ['an attribute of an operator that has none', simple('Relu', { alpha: { float: 0.1 } }), /\(Relu\).*no attributes; received "alpha"/],
  ['norms over everything', norm(3, { spatial: 0 }), /\(BatchNormalization\).*received "spatial"/],
  ['norms of other channels', norm(4), /values for 3 channels; received \(4\) in/],
  ['an epsilon that is no float', norm(3, { epsilon: 1 }), /attribute epsilon as a float/],
  ['maxima by columns', simple('MaxPool', { kernel_shape: [2, 2], storage_order: 1 }), /storage_order 0/],
  ['outputs rounded up', simple('MaxPool', { kernel_shape: [2, 2], strides: [2, 2], ceil_mode: 1 }), /ceil_mode 0/],
  ['pools by powers', simple('AveragePool', { kernel_shape: [2, 2], p: 2 }), /\(AveragePool\).*received "p"/],
  ['another GELU', simple('Gelu', { approximate: 'sigmoid' }), /approximate none or tanh; received sigmoid/],
  ['a Softmax over the batch', simple('Softmax', { axis: 0 }), /an axis of known size/],
  ['a Softmax over no axis', simple('Softmax', { axis: 4 }), /an axis of known size/],
  ['means over everything', simple('ReduceMean', {}), /axes of known size.*received none/],
  ['means over the batch', simple('ReduceMean', { axes: [0] }), /axes of known size/],
  ['a transposition of other axes', simple('Transpose', { perm: [0, 1, 1, 2] }), /perm as an order of 4 axes/],
  ['factors that do not fit', gemm({}, [80, 3]), /two matrices that fit/],
  ['half a transposition', gemm({ transB: 2 }), /transA and transB 0 or 1/],
])('refuses %s', (_name, middle, message) => {
  const check = () => {
    checkTraining(around(middle));
  };
  expect(check).toThrow(/LETHE_ONNX_UNSUPPORTED/);
  expect(check).toThrow(message);
});
