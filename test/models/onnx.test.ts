import * as ort from 'onnxruntime-node';
import { syntheticDataset } from '../../src/data/synthetic.js';
import { NativeEngine } from '../../src/engines/native.js';
import { buildNet } from '../../src/models/index.js';
import { exportOnnx } from '../../src/models/onnx.js';
import { Purpose, Random } from '../../src/native/random.js';
import type { Dataset, NetSpec, ParameterTensor } from '../../src/types.js';

const engine = new NativeEngine({ threads: 1, precision: 'fp32' });
const { dataset } = syntheticDataset({ trainPerClass: 3, validationPerClass: 1 });

/** Values of the size training gives: He-scaled weights, BatchNorm factors around 1, positive variances. */
function someParameters(tensors: ParameterTensor[], seed: number): Float32Array {
  const random = new Random(seed, Purpose.synthetic, 0);
  const values = new Float32Array(tensors.reduce((sum, tensor) => sum + tensor.size, 0));
  for (const { name, shape, offset, size } of tensors) {
    const fanIn = shape.slice(0, -1).reduce((product, side) => product * side, 1);
    for (let k = offset; k < offset + size; k++) {
      const draw = random.normal();
      if (name.endsWith('.weight')) values[k] = draw * Math.sqrt(2 / fanIn);
      else if (name.endsWith('.gamma') || name.endsWith('.runningVariance')) values[k] = 1 + 0.3 * Math.tanh(draw);
      else values[k] = 0.2 * draw;
    }
  }
  return values;
}

/** (points, channels, height, width) on the 0..1 scale */
function planes({ pixels, height, width, channels }: Dataset, points: Int32Array): Float32Array {
  const area = height * width;
  const images = new Float32Array(points.length * area * channels);
  points.forEach((point, k) => {
    for (let p = 0; p < area; p++) {
      for (let c = 0; c < channels; c++) images[(k * channels + c) * area + p] = pixels[(point * area + p) * channels + c]! / 255;
    }
  });
  return images;
}

/** Uses what the two networks do not: strides without padding, a pool of 4, layers behind a linear one, sums of vectors. */
const unusual: NetSpec = {
  name: 'unusual',
  input: { height: 16, width: 16, channels: 3 },
  numClasses: 5,
  layers: [
    { name: 'pool', inputs: ['image'], op: 'maxPool', size: 4 },
    { name: 'conv', inputs: ['pool'], op: 'conv', outChannels: 6, kernel: 2, stride: 2, pad: 0 },
    { name: 'maximum', inputs: ['conv'], op: 'globalMaxPool' },
    { name: 'average', inputs: ['conv'], op: 'globalAveragePool' },
    { name: 'both', inputs: ['maximum', 'average'], op: 'add' },
    { name: 'hidden', inputs: ['both'], op: 'linear', outFeatures: 6, bias: true },
    { name: 'norm', inputs: ['hidden'], op: 'batchNorm', epsilon: 1e-3, momentum: 0.1 },
    { name: 'relu', inputs: ['norm'], op: 'relu' },
    { name: 'around', inputs: ['relu', 'average'], op: 'add' },
    { name: 'head', inputs: ['around'], op: 'linear', outFeatures: 5, bias: false },
    { name: 'logits', inputs: ['head'], op: 'scale', factor: -0.5 },
  ],
};

const input = { height: 16, width: 16, channels: 3 };
const nets = [
  buildNet({ name: 'resnet9', width: 8, input, numClasses: 5 }),
  buildNet({ name: 'smallcnn', width: 1, input, numClasses: 5 }),
  buildNet({ name: 'resnet18', width: 8, input, numClasses: 5 }),
  unusual,
];

describe('exportOnnx', () => {
  it.each(nets.map((net) => [net.name, net] as const))(
    'gives stock ONNX Runtime the logits of the native engine: %s',
    async (_name, net) => {
      const tensors = engine.parameters(net);
      const parameters = someParameters(tensors, 11);
      const points = Int32Array.from({ length: 20 }, (_, k) => k);
      const expected = await engine.forwardMany(net, dataset, [parameters], points);
      const session = await ort.InferenceSession.create(exportOnnx({ net, tensors, parameters, dataset }));
      const images = new ort.Tensor('float32', planes(dataset, points), [points.length, 3, 16, 16]);
      const { logits } = await session.run({ images });
      expect(logits!.dims).toEqual([20, 5]);
      const largest = Math.max(...expected.map(Math.abs));
      expect(largest).toBeGreaterThan(0.1);
      (logits!.data as Float32Array).forEach((value, k) => {
        expect(Math.abs(value - expected[k]!)).toBeLessThan(1e-4 * Math.max(1, largest));
      });
      await session.release();
    },
  );

  it('takes any batch and refuses parameters of another network', async () => {
    const net = nets[1]!;
    const tensors = engine.parameters(net);
    const parameters = someParameters(tensors, 1);
    const session = await ort.InferenceSession.create(exportOnnx({ net, tensors, parameters, dataset }));
    const one = await session.run({ images: new ort.Tensor('float32', new Float32Array(3 * 256), [1, 3, 16, 16]) });
    expect(one['logits']!.dims).toEqual([1, 5]);
    await session.release();
    expect(() => exportOnnx({ net, tensors, parameters: parameters.subarray(1), dataset })).toThrow(/LETHE_SHAPE_MISMATCH/);
    expect(() => exportOnnx({ net: nets[0]!, tensors, parameters, dataset })).toThrow(/LETHE_SHAPE_MISMATCH/);
  });
});
