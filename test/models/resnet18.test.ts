import { NativeEngine } from '../../src/engines/native.js';
import { buildNet, resnet18 } from '../../src/models/index.js';

const engine = new NativeEngine();

test('the full ResNet-18 has the published size, layer by layer', () => {
  const imagenet = engine.describeNet(resnet18({ width: 1, input: { height: 224, width: 224, channels: 3 }, numClasses: 1000 }), 1);
  expect(imagenet.numTrainable).toBe(11_689_512);
  expect(Math.round(imagenet.multiplyAdds / 1e6)).toBe(1814); // the 1.8 G of the original paper
  const shapes = Object.fromEntries(imagenet.parameters.map(({ name, shape }) => [name, shape]));
  expect(shapes['stem.conv.weight']).toEqual([7, 7, 3, 64]);
  expect(shapes['stage3.block1.a.conv.weight']).toEqual([3, 3, 128, 256]);
  expect(shapes['stage3.block1.shortcut.conv.weight']).toEqual([1, 1, 128, 256]);
  expect(shapes['logits.weight']).toEqual([512, 1000]);
});

test('Living-17: 17 classes at 160 x 160', () => {
  const living17 = { input: { height: 160, width: 160, channels: 3 }, numClasses: 17 };
  expect(engine.describeNet(resnet18({ width: 1, ...living17 }), 1).numTrainable).toBe(11_689_512 - 983 * 513);
  const eighth = buildNet({ name: 'resnet18', width: 8, ...living17 });
  expect(eighth.name).toBe('resnet18/8');
  expect(engine.describeNet(eighth, 1).parameters.find(({ name }) => name === 'logits.weight')!.shape).toEqual([64, 17]);
});
