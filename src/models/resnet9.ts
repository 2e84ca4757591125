import type { LayerSpec, NetSpec } from '../types.js';

export interface NetOptions {
  /** Divides the published channel counts: 1 is the full network, 4 and 8 are the CPU sizes. */
  width: number;
  input: { height: number; width: number; channels: number };
  numClasses: number;
}

/** Convolution without bias, BatchNorm, ReLU; returns the name of the last layer. */
export function convNormRelu(
  layers: LayerSpec[],
  name: string,
  input: string,
  conv: { outChannels: number; kernel: number; stride: number; pad: number },
): string {
  layers.push({ name: `${name}.conv`, inputs: [input], op: 'conv', ...conv });
  layers.push({ name: `${name}.norm`, inputs: [`${name}.conv`], op: 'batchNorm', epsilon: 1e-5, momentum: 0.1 });
  layers.push({ name: `${name}.relu`, inputs: [`${name}.norm`], op: 'relu' });
  return `${name}.relu`;
}

/** Two convolutions beside the identity, ReLU inside, none after the sum. */
function residual(layers: LayerSpec[], name: string, input: string, channels: number): string {
  const conv = { outChannels: channels, kernel: 3, stride: 1, pad: 1 };
  const first = convNormRelu(layers, `${name}.a`, input, conv);
  const second = convNormRelu(layers, `${name}.b`, first, conv);
  layers.push({ name: `${name}.add`, inputs: [input, second], op: 'add' });
  return `${name}.add`;
}

/** The paper's CIFAR-10 network: 2,274,880 parameters and 291.3 M multiply-adds an image at width 1 and 32 x 32. */
export function resnet9({ width, input, numClasses }: NetOptions): NetSpec {
  const channels = (count: number): number => Math.max(1, Math.round(count / width));
  const layers: LayerSpec[] = [];
  let last = convNormRelu(layers, 'block1', 'image', { outChannels: channels(64), kernel: 3, stride: 1, pad: 1 });
  last = convNormRelu(layers, 'block2', last, { outChannels: channels(128), kernel: 5, stride: 2, pad: 2 });
  last = residual(layers, 'residual1', last, channels(128));
  last = convNormRelu(layers, 'block3', last, { outChannels: channels(256), kernel: 3, stride: 1, pad: 1 });
  layers.push({ name: 'pool', inputs: [last], op: 'maxPool', size: 2 });
  last = residual(layers, 'residual2', 'pool', channels(256));
  last = convNormRelu(layers, 'block4', last, { outChannels: channels(128), kernel: 3, stride: 1, pad: 0 });
  layers.push({ name: 'globalPool', inputs: [last], op: 'globalMaxPool' });
  layers.push({ name: 'head', inputs: ['globalPool'], op: 'linear', outFeatures: numClasses, bias: false });
  layers.push({ name: 'logits', inputs: ['head'], op: 'scale', factor: 0.2 });
  return { name: width === 1 ? 'resnet9' : `resnet9/${width}`, input, numClasses, layers };
}
