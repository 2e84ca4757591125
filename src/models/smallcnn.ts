import type { LayerSpec, NetSpec } from '../types.js';
import { convNormRelu, type NetOptions } from './resnet9.js';

/** Two convolutions and a linear layer: trains in a second on 16 x 16 images (quickstart, tests). */
export function smallcnn({ width, input, numClasses }: NetOptions): NetSpec {
  const channels = (count: number): number => Math.max(1, Math.round(count / width));
  const layers: LayerSpec[] = [];
  const first = convNormRelu(layers, 'block1', 'image', { outChannels: channels(8), kernel: 3, stride: 1, pad: 1 });
  layers.push({ name: 'pool', inputs: [first], op: 'maxPool', size: 2 });
  const second = convNormRelu(layers, 'block2', 'pool', { outChannels: channels(16), kernel: 3, stride: 1, pad: 1 });
  layers.push({ name: 'globalPool', inputs: [second], op: 'globalAveragePool' });
  layers.push({ name: 'logits', inputs: ['globalPool'], op: 'linear', outFeatures: numClasses, bias: true });
  return { name: width === 1 ? 'smallcnn' : `smallcnn/${width}`, input, numClasses, layers };
}
