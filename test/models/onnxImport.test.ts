import path from 'node:path';
import { NativeEngine } from '../../src/engines/native.js';
import { buildNet } from '../../src/models/index.js';
import { exportOnnx } from '../../src/models/onnx.js';
import { importOnnx, netFromOnnx } from '../../src/models/onnxImport.js';
import { readOnnx } from '../../src/models/onnxReader.js';
import { type OnnxModel, type OnnxNode, writeOnnx } from '../../src/models/onnxWriter.js';
import { Purpose, Random } from '../../src/native/random.js';
import { range, toyDataset, toyJob } from '../engines/toy.js';
import { compiled } from '../helpers/compiled.js';

const { OrtEngine } = (await import(path.join(compiled(), 'engines', 'ort.js'))) as typeof import('../../src/engines/ort.js');
const dataset = toyDataset();
const net = buildNet({ name: 'smallcnn', width: 1, input: { height: 8, width: 8, channels: 3 }, numClasses: 4 });
const native = new NativeEngine({ threads: 1, precision: 'fp32' });
const ort = new OrtEngine({ threads: 1 });
const points = range(0, 128);
const outputs = { evalPoints: points, evalEpochs: [0, 6], parameters: true };

async function trainedFile(): Promise<{ bytes: Uint8Array; logits: Float32Array }> {
  const [result] = await native.trainMany(net, dataset, [toyJob(0)], { ...outputs, evalEpochs: [6] });
  const bytes = exportOnnx({ net, tensors: native.parameters(net), parameters: result!.parameters!, dataset });
  return { bytes, logits: result!.logits };
}

/** A model of the given nodes on images (n, 3, 8, 8). */
function model(nodes: OnnxNode[], change: Partial<OnnxModel> = {}): Uint8Array {
  const weight = { name: 'w', shape: [4, 3, 8, 8], values: new Float32Array(768) };
  return writeOnnx({
    name: 'hand-made',
    description: '',
    nodes,
    constants: [weight],
    inputs: [{ name: 'images', shape: ['n', 3, 8, 8] }],
    outputs: [{ name: 'logits', shape: ['n', 4] }],
    metadata: {},
    opset: 20,
    ...change,
  });
}

const convThen = (operator: string): OnnxNode[] => [
  { operator: 'Conv', inputs: ['images', 'w'], outputs: ['c'] },
  { operator, inputs: ['c'], outputs: ['d'] },
  { operator: 'Flatten', inputs: ['d'], outputs: ['logits'] },
];

describe('importing ONNX files', () => {
  it('reads back what exportOnnx wrote: the same logits from the file, and it trains on', async () => {
    const { bytes, logits } = await trainedFile();
    const imported = netFromOnnx(bytes, 'file');
    const { parameters, graph } = importOnnx(bytes, 'file');
    expect(graph.parameters.map(({ name }) => name).sort()).toEqual(
      native
        .parameters(net)
        .map(({ name }) => name)
        .sort(),
    );
    const job = toyJob(0, { initialParameters: parameters, schedule: { kind: 'constant', learningRate: 0.01 } });
    const [result] = await ort.trainMany(imported, dataset, [job], outputs);
    logits.forEach((value, i) => {
      expect(Math.abs(value - result!.logits[i]!)).toBeLessThan(1e-4);
    });
    expect(result!.status).toBe('trained');
    expect(result!.loss).toBeLessThan(0.3);
    expect(result!.parameters).not.toEqual(parameters);
  });

  it('trains from random parameters of its own when none are given', async () => {
    const { bytes } = await trainedFile();
    const imported = netFromOnnx(bytes, 'file');
    const [first, second] = await ort.trainMany(imported, dataset, [toyJob(0), toyJob(1)], outputs);
    expect(first!.loss).toBeLessThan(0.5);
    expect(first!.logits.subarray(0, 512)).not.toEqual(second!.logits.subarray(0, 512));
    const wrong = toyJob(0, { initialParameters: new Float32Array(7) });
    await expect(ort.trainMany(imported, dataset, [wrong], outputs)).rejects.toThrow(/LETHE_JOB_INVALID.*initialParameters/);
  });

  it('finds the bias that is added to a product, draws from the fan-in, and keeps other constants', () => {
    const nodes = [
      { operator: 'Constant', inputs: [], outputs: ['two'], attributes: { value_float: { float: 2 } } },
      { operator: 'Mul', inputs: ['images', 'two'], outputs: ['m'] },
      { operator: 'Flatten', inputs: ['m'], outputs: ['f'] },
      { operator: 'MatMul', inputs: ['f', 'w'], outputs: ['p'] },
      { operator: 'Add', inputs: ['b', 'p'], outputs: ['logits'] },
    ];
    const constants = [
      { name: 'w', shape: [192, 4], values: new Float32Array(768).fill(0.5) },
      { name: 'b', shape: [4], values: Float32Array.of(1, 2, 3, 4) },
    ];
    const { graph, parameters } = importOnnx(model(nodes, { constants }), 'mlp');
    expect(graph.parameters).toEqual([
      { name: 'w', shape: [192, 4], trainable: true, fanIn: 192, start: 0 },
      { name: 'b', shape: [4], trainable: true, fanIn: 192, start: 0 },
    ]);
    expect(graph.constants).toEqual([{ name: 'two', shape: [], values: Float32Array.of(2) }]);
    expect(parameters.subarray(767)).toEqual(Float32Array.of(0.5, 1, 2, 3, 4));
  });

  it.each([
    ['an operator without rule', model(convThen('Selu')), /LETHE_ONNX_UNSUPPORTED: node "d".*AveragePool.*received Selu/],
    ['an old operator set', model(convThen('Relu'), { opset: 7 }), /LETHE_ONNX_UNSUPPORTED.*received 7/],
    [
      'two inputs',
      model(convThen('Relu'), { inputs: [1, 2].map((k) => ({ name: `i${k}`, shape: ['n', 3, 8, 8] })) }),
      /one input of images/,
    ],
    ['a value that nothing makes', model(convThen('Relu').slice(1)), /LETHE_ONNX_INVALID.*"d" \(Relu\).*received c/],
    [
      'a wrong size',
      model(convThen('Relu'), { constants: [{ name: 'w', shape: [4, 3], values: new Float32Array(3) }] }),
      /12 values in tensor "w"/,
    ],
    ['no protobuf', new TextEncoder().encode('PK this is a zip file'), /LETHE_ONNX_INVALID/],
    ['nothing', new Uint8Array(0), /LETHE_ONNX_INVALID.*no graph/],
  ])('refuses %s', (_name, bytes, message) => {
    expect(() => netFromOnnx(bytes, 'file')).toThrow(message);
  });

  it('names the node whose attributes have no rule before anything starts', () => {
    const [conv, ...rest] = convThen('Relu');
    const refusal = /LETHE_ONNX_UNSUPPORTED: node "c" \(Conv\).*one group; received group 3/;
    expect(() => netFromOnnx(model([{ ...conv!, attributes: { group: 3 } }, ...rest]), 'file')).toThrow(refusal);
  });

  it('answers damage with an error of its own, wherever the file is cut or changed', async () => {
    const { bytes } = await trainedFile();
    const random = new Random(5, Purpose.synthetic, 0);
    const refused = { cut: 0, changed: 0 };
    const tryRead = (damaged: Uint8Array): number => {
      try {
        readOnnx(damaged);
        return 0;
      } catch (error) {
        expect(error).toMatchObject({ code: expect.stringMatching(/^LETHE_ONNX_(INVALID|UNSUPPORTED)$/) as string });
        return 1;
      }
    };
    for (let length = 0; length < bytes.length; length += 1 + random.below(40))
      refused.cut += tryRead(Buffer.from(bytes).subarray(0, length));
    for (let trial = 0; trial < 500; trial++) {
      const changed = bytes.slice();
      for (let k = 0; k < 3; k++) changed[random.below(bytes.length)] = random.below(256);
      refused.changed += tryRead(changed);
    }
    expect(refused.cut).toBeGreaterThan(50);
    expect(refused.changed).toBeGreaterThan(20);
  });

  it('is refused by the native engine', async () => {
    const { bytes } = await trainedFile();
    const imported = netFromOnnx(bytes, 'file');
    await expect(native.trainMany(imported, dataset, [toyJob(0)], outputs)).rejects.toThrow(/LETHE_NET_UNSUPPORTED.*--engine ort/);
  });
});
