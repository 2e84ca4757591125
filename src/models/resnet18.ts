import type { LayerSpec, NetSpec } from '../types.js';
import { convNormRelu, type NetOptions } from './resnet9.js';

function convNorm(
  layers: LayerSpec[],
  name: string,
  input: string,
  conv: { outChannels: number; kernel: number; stride: number; pad: number },
): string {
  layers.push({ name: `${name}.conv`, inputs: [input], op: 'conv', ...conv });
  layers.push({ name: `${name}.norm`, inputs: [`${name}.conv`], op: 'batchNorm', epsilon: 1e-5, momentum: 0.1 });
  return `${name}.norm`;
}

/** Two 3 x 3 convolutions beside the identity, or beside a 1 x 1 projection where the size changes; ReLU after the sum. */
function basicBlock(layers: LayerSpec[], name: string, input: string, outChannels: number, stride: number): string {
  const first = convNormRelu(layers, `${name}.a`, input, { outChannels, kernel: 3, stride, pad: 1 });
  const second = convNorm(layers, `${name}.b`, first, { outChannels, kernel: 3, stride: 1, pad: 1 });
  const shortcut = stride === 1 ? input : convNorm(layers, `${name}.shortcut`, input, { outChannels, kernel: 1, stride, pad: 0 });
  layers.push({ name: `${name}.add`, inputs: [second, shortcut], op: 'add' });
  layers.push({ name: `${name}.relu`, inputs: [`${name}.add`], op: 'relu' });
  return `${name}.relu`;
}

/**
 * ResNet-18 of He et al. (2016), the paper's Living-17 network at 160 x 160: 11,689,512 parameters with 1,000 classes at width 1.
 */
export function resnet18({ width, input, numClasses }: NetOptions): NetSpec {
  const channels = (count: number): number => Math.max(1, Math.round(count / width));
  const layers: LayerSpec[] = [];
  const stem = convNormRelu(layers, 'stem', 'image', { outChannels: channels(64), kernel: 7, stride: 2, pad: 3 });
  layers.push({ name: 'pool', inputs: [stem], op: 'maxPool', size: 3, stride: 2, pad: 1 });
  let last = 'pool';
  [64, 128, 256, 512].forEach((count, stage) => {
    last = basicBlock(layers, `stage${stage + 1}.block1`, last, channels(count), stage === 0 ? 1 : 2);
    last = basicBlock(layers, `stage${stage + 1}.block2`, last, channels(count), 1);
  });
  layers.push({ name: 'globalPool', inputs: [last], op: 'globalAveragePool' });
  layers.push({ name: 'logits', inputs: ['globalPool'], op: 'linear', outFeatures: numClasses, bias: true });
  return { name: width === 1 ? 'resnet18' : `resnet18/${width}`, input, numClasses, layers };
}
