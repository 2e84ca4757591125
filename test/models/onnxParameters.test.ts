/** The same network as exporters write it: whatever way its constants take, the same parameters are trained, or the file is refused. */
import path from 'node:path';
import { importOnnx, netFromOnnx } from '../../src/models/onnxImport.js';
import { type OnnxConstant, type OnnxModel, type OnnxNode, writeOnnx } from '../../src/models/onnxWriter.js';
import { Purpose, Random } from '../../src/native/random.js';
import { range, toyDataset, toyJob } from '../engines/toy.js';
import { compiled } from '../helpers/compiled.js';
import { filled, node, whole } from '../helpers/onnx.js';

const { OrtEngine } = (await import(path.join(compiled(), 'engines', 'ort.js'))) as typeof import('../../src/engines/ort.js');
const ort = new OrtEngine({ threads: 1 });
const dataset = toyDataset();
const outputs = { evalPoints: range(0, 128), evalEpochs: [2], parameters: true };

const random = new Random(4, Purpose.synthetic, 0);
const normals = (name: string, shape: number[]): OnnxConstant => ({
  name,
  shape,
  values: Float32Array.from({ length: shape.reduce((product, side) => product * side, 1) }, () => 0.2 * random.normal()),
});
const parts = ['weight', 'bias', 'mean', 'var'];
const norm = (name: string): OnnxConstant[] => parts.map((part, i) => filled(`${name}.${part}`, [4], [1, 0, 0, 1][i]!));

const constants = [
  normals('conv1.weight', [4, 3, 3, 3]),
  normals('conv2.weight', [4, 4, 3, 3]),
  ...norm('bn1'),
  ...norm('bn2'),
  normals('fc.weight', [4, 4]),
  filled('fc.bias', [4], 0.25),
];
const conv = (x: string, w: string, y: string): OnnxNode => node('Conv', [x, w], y, { kernel_shape: [3, 3], pads: [1, 1, 1, 1] });
const normed = (x: string, name: string, y: string): OnnxNode =>
  node('BatchNormalization', [x, ...parts.map((part) => `${name}.${part}`)], y);
const nodes = {
  conv1: [conv('x', 'conv1.weight', 'c1')],
  bn1: [normed('c1', 'bn1', 'y1')],
  conv2: [node('Relu', ['y1'], 'r1'), conv('r1', 'conv2.weight', 'c2')],
  bn2: [normed('c2', 'bn2', 'y2')],
  pool: [node('Relu', ['y2'], 'r2'), node('GlobalAveragePool', ['r2'], 'p')],
  flat: [node('Flatten', ['p'], 'flat')],
  head: [node('Gemm', ['flat', 'fc.weight', 'fc.bias'], 'logits', { transB: 1 })],
};

/** The plain network, some of its parts and constants in another way. */
function file(
  change: Partial<Record<keyof typeof nodes, OnnxNode[]>>,
  replaced: OnnxConstant[] = [],
  model: Partial<OnnxModel> = {},
): Uint8Array {
  const names = new Set(replaced.map(({ name }) => name));
  const written = Object.values({ ...nodes, ...change }).flat();
  const read = new Set(written.flatMap(({ inputs }) => inputs));
  for (const { outputs } of written) read.delete(outputs[0]!);
  return writeOnnx({
    name: 'net',
    description: '',
    nodes: written,
    constants: [...constants.filter(({ name }) => !names.has(name)), ...replaced].filter(({ name }) => read.has(name)),
    inputs: [{ name: 'x', shape: ['n', 3, 8, 8] }],
    outputs: [{ name: 'logits', shape: ['n', 4] }],
    metadata: {},
    ...model,
  });
}

const notesOf = (bytes: Uint8Array): string => {
  const notes: string[] = [];
  netFromOnnx(bytes, 'net', (line) => notes.push(line));
  return notes.join('\n');
};
const train = async (bytes: Uint8Array) => {
  const [result] = await ort.trainMany(netFromOnnx(bytes, 'net'), dataset, [toyJob(0, { epochs: 2 })], outputs);
  return result!;
};

const plain = file({});
const shared = [normed('c2', 'bn1', 'y2')];
const aliases = parts.map((part) => node('Identity', [`bn1.${part}`], `bn2.${part}`));
const withBias = [node('MatMul', ['flat', 'ft'], 'mm'), node('Add', ['mm', 'fc.bias'], 'logits')];
const ways: [string, Uint8Array][] = [
  ['norm values behind Identity', file({ bn1: [...aliases, ...nodes.bn1] })],
  ['two norms that read the same tensors', file({ bn2: shared })],
  ['a weight behind Identity', file({ conv1: [node('Identity', ['conv1.weight'], 'cw'), conv('x', 'cw', 'c1')] })],
  ['a weight behind Transpose', file({ head: [node('Transpose', ['fc.weight'], 'ft', { perm: [1, 0] }), ...withBias] })],
  [
    'a weight behind Reshape',
    file({ conv2: [nodes.conv2[0]!, node('Reshape', ['conv2.flat', 'sizes'], 'w2'), conv('r1', 'w2', 'c2')] }, [
      { ...constants[1]!, name: 'conv2.flat', shape: [144] },
      whole('sizes', [4, 4, 3, 3]),
    ]),
  ],
  [
    'a weight as first factor',
    file({
      head: [
        node('Transpose', ['flat'], 'ft', { perm: [1, 0] }),
        node('MatMul', ['fc.weight', 'ft'], 'mm'),
        node('Transpose', ['mm'], 'mt', { perm: [1, 0] }),
        node('Add', ['mt', 'fc.bias'], 'logits'),
      ],
    }),
  ],
  [
    'a bias (1, n) added to a product',
    file({ head: [node('Gemm', ['flat', 'fc.weight'], 'mm', { transB: 1 }), node('Add', ['fc.bias', 'mm'], 'logits')] }, [
      filled('fc.bias', [1, 4], 0.25),
    ]),
  ],
  [
    'a batch of 1 in a shape',
    file({ flat: [node('Reshape', ['p', 'sizes'], 'flat')] }, [whole('sizes', [1, 4])], { inputs: [{ name: 'x', shape: [1, 3, 8, 8] }] }),
  ],
  [
    'a batch of 1 beside a free size',
    file({ flat: [node('Reshape', ['p', 'sizes'], 'flat')] }, [whole('sizes', [1, -1])], { inputs: [{ name: 'x', shape: [1, 3, 8, 8] }] }),
  ],
];

test.each(ways)('%s: the parameters, states and logits of the plain network', async (_name, bytes) => {
  const [expected, received] = [importOnnx(plain, 'net'), importOnnx(bytes, 'net')];
  const kinds = ({ graph }: typeof expected) => graph.parameters.map(({ trainable, fanIn, start }) => [trainable, fanIn, start]);
  expect(kinds(received)).toEqual(kinds(expected));
  expect(new Set(received.graph.parameters.map(({ name }) => name)).size).toBe(expected.graph.parameters.length);
  expect(received.parameters).toEqual(expected.parameters);
  const [one, other] = [await train(plain), await train(bytes)];
  other.logits.forEach((value, i) => {
    expect(Math.abs(value - one.logits[i]!)).toBeLessThan(1e-5);
  });
  other.parameters!.forEach((value, i) => {
    expect(Math.abs(value - one.parameters![i]!)).toBeLessThan(1e-5);
  });
});

test('names of untied parameters are those that the file has for them, or tell the node', () => {
  const names = (bytes: Uint8Array) => importOnnx(bytes, 'net').graph.parameters.map(({ name }) => name);
  expect(names(ways[0]![1])).toEqual(names(plain));
  expect(names(ways[1]![1]).filter((name) => name.includes('@'))).toEqual(parts.map((part) => `bn1.${part}@y2`));
  expect(notesOf(ways[1]![1])).toMatch(/several nodes share are trained apart: "bn1\.weight" also as "bn1\.weight@y2"/);
});

test('factors and summands behind a layer are trained from the file; numbers, and what works on the images, stay', () => {
  const bytes = file(
    {
      conv1: [node('Sub', ['x', 'pixel.mean'], 'centred'), conv('centred', 'conv1.weight', 'c1')],
      pool: [
        node('Constant', [], 'half', { value_float: { float: 0.5 } }),
        node('Mul', ['y2', 'half'], 'h'),
        node('Mul', ['scale', 'h'], 'scaled'),
        node('Add', ['scaled', 'position'], 'moved'),
        node('GlobalAveragePool', ['moved'], 'p'),
      ],
    },
    [filled('pixel.mean', [3, 1, 1], 0.4), filled('scale', [], 0.125), normals('position', [1, 4, 8, 8])],
  );
  const { graph } = importOnnx(bytes, 'net');
  const by = (name: string) => graph.parameters.find((parameter) => parameter.name === name);
  expect(by('scale')).toEqual({ name: 'scale', shape: [], trainable: true, fanIn: 0, start: 0.125 });
  expect(by('position')).toEqual({ name: 'position', shape: [1, 4, 8, 8], trainable: true, fanIn: 0, start: 0 });
  expect(graph.constants.map(({ name }) => name).sort()).toEqual(['half', 'pixel.mean']);
  const notes = notesOf(bytes);
  expect(notes).toMatch(/factors and summands are trained: "scale" \(Mul at "scaled"\) from 0\.125, "position" \(Add at "moved"\) from 0/);
  expect(notes).toMatch(/work on the images stay as they are: "pixel\.mean" \(Sub at "centred"\)/);
});

test('says that no norms are left, that tensors are not read, and that probabilities are no logits', () => {
  const folded = { bn1: [node('Identity', ['c1'], 'y1')], bn2: [node('Identity', ['c2'], 'y2')] };
  expect(notesOf(file(folded))).toMatch(/no BatchNormalization is left in it.*TrainingMode\.PRESERVE/);
  const head = [node('Gemm', ['flat', 'fc.weight', 'fc.bias'], 'z', { transB: 1 }), node('Softmax', ['z'], 'logits', { axis: -1 })];
  expect(notesOf(file({ head }))).toBe('net: its last operator makes probabilities, which are taken as logits: Softmax');
  const written = file({}, [], { constants: [...constants, filled('lost', [3], 0)] });
  expect(notesOf(written)).toBe('net: tensors that no node reads are left out: "lost"');
  expect(notesOf(plain)).toBe('');
});

const aux = [...nodes.head, node('GlobalMaxPool', ['r1'], 'm'), node('Flatten', ['m'], 'mf'), node('MatMul', ['mf', 'aux.weight'], 'aux')];
const square = { conv2: [nodes.conv2[0]!, conv('r1', 'shared', 'c2'), conv('c2', 'shared', 'c3')], bn2: [normed('c3', 'bn2', 'y2')] };

test.each([
  [
    'weights that two layers share',
    file(square, [{ ...constants[1]!, name: 'shared' }]),
    /"shared" is shared.*one tensor for "c2" \(Conv\), "c3" \(Conv\).*Store a copy/,
  ],
  [
    'weights that are computed',
    file({ conv1: [node('Mul', ['conv1.weight', 'g'], 'w'), conv('x', 'w', 'c1')] }, [filled('g', [4, 1, 1, 1], 2)]),
    /node "c1" \(Conv\).*received "w", computed by "w" \(Mul\).*constant folding/,
  ],
  [
    'running statistics that are computed',
    file({ bn1: [node('Neg', ['bn1.mean'], 'm'), node('BatchNormalization', ['c1', 'bn1.weight', 'bn1.bias', 'm', 'bn1.var'], 'y1')] }),
    /node "y1" \(BatchNormalization\).*received "m", computed by "m" \(Neg\)/,
  ],
  [
    'running statistics in another layout',
    file({ bn1: [node('Squeeze', ['wide'], 'm'), node('BatchNormalization', ['c1', 'bn1.weight', 'bn1.bias', 'm', 'bn1.var'], 'y1')] }, [
      filled('wide', [1, 4], 0),
    ]),
    /node "y1" \(BatchNormalization\).*"wide" in another layout/,
  ],
  [
    'parameters that lead elsewhere',
    file({ head: aux }, [normals('aux.weight', [4, 4])], { outputs: ['logits', 'aux'].map((name) => ({ name, shape: ['n', 4] })) }),
    /would miss parameters.*"aux\.weight" \(MatMul at "aux"\).*only output/,
  ],
  [
    'values that are joined to those of the images',
    file({ pool: [node('Concat', ['y2', 'token'], 'cat', { axis: 2 }), node('GlobalAveragePool', ['cat'], 'p')] }, [
      normals('token', [1, 4, 1, 8]),
    ]),
    /node "cat" \(Concat\).*stored values "token"/,
  ],
  [
    'weights that are inputs',
    file({}, [], {
      constants: constants.slice(1),
      inputs: [
        { name: 'x', shape: ['n', 3, 8, 8] },
        { name: 'conv1.weight', shape: [4, 3, 3, 3] },
      ],
    }),
    /one input of images.*"conv1\.weight" \(4, 3, 3, 3\)/,
  ],
  [
    'a fixed batch in a shape, where the batch is free',
    file({ flat: [node('Reshape', ['p', 'sizes'], 'flat')] }, [whole('sizes', [1, 4])]),
    /node "flat" \(Reshape\).*received \(1, 4\).*dynamic axes/,
  ],
  [
    'no parameters',
    file({ conv1: [node('Flatten', ['x'], 'logits')], bn1: [], conv2: [], bn2: [], pool: [], flat: [], head: [] }, [], {
      outputs: [{ name: 'logits', shape: ['n', 192] }],
    }),
    /nothing to train/,
  ],
  [
    'a Softmax over several axes, as it was',
    file({ pool: [node('Softmax', ['y2'], 's', { axis: 1 }), node('GlobalAveragePool', ['s'], 'p')] }, [], { opset: 12 }),
    /Softmax along the last axis below operator set 13; received "s" along axis 1 of \(n, 4, 8, 8\)/,
  ],
  ['dropout', file({ pool: [node('Dropout', ['y2'], 'd'), node('GlobalAveragePool', ['d'], 'p')] }), /node "d".*received Dropout/],
])('refuses %s', (_name, bytes, message) => {
  expect(() => netFromOnnx(bytes, 'file')).toThrow(message);
});
