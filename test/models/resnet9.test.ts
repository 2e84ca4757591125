import { NativeEngine } from '../../src/engines/native.js';
import { buildNet, resnet9 } from '../../src/models/index.js';

const engine = new NativeEngine();
const cifar = { input: { height: 32, width: 32, channels: 3 }, numClasses: 10 };

test('the full ResNet-9 has the published size and work', () => {
  const facts = engine.describeNet(resnet9({ width: 1, ...cifar }), 512);
  expect(facts.numTrainable).toBe(2_274_880);
  expect(Math.round(facts.multiplyAdds / 1e5) / 10).toBe(291.3);
  expect(facts.memoryBytes).toBeGreaterThan(4 * facts.numParameters);
});

test('trainable tensors come first, state after them, without gaps', () => {
  const tensors = engine.parameters(resnet9({ width: 8, ...cifar }));
  let offset = 0;
  for (const tensor of tensors) {
    expect(tensor.offset).toBe(offset);
    expect(tensor.size).toBe(tensor.shape.reduce((a, b) => a * b));
    offset += tensor.size;
  }
  expect(tensors[0]).toMatchObject({ name: 'block1.conv.weight', shape: [3, 3, 3, 8], trainable: true });
  expect(tensors.map(({ trainable }) => trainable)).toEqual(tensors.map(({ name }) => !name.includes('running')));
  expect(tensors.findIndex(({ trainable }) => !trainable)).toBe(tensors.filter(({ trainable }) => trainable).length);
});

test('an input that does not fit names the layer', () => {
  const net = resnet9({ width: 8, input: { height: 34, width: 34, channels: 3 }, numClasses: 10 });
  expect(() => engine.parameters(net)).toThrow(/LETHE_NET_INVALID.*"pool".*every pixel; received 17 x 17 x 32/);
});

test('unknown networks name the known ones', () => {
  expect(() => buildNet({ name: 'resnet8', width: 1, ...cifar })).toThrow(
    /LETHE_NET_UNKNOWN.*resnet9 or resnet18 or smallcnn.*Did you mean resnet9/,
  );
});
