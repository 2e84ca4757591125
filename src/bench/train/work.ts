/** What a training step is made of: its arithmetic, images and jobs. */
import { createDataset } from '../../data/dataset.js';
import { Purpose, Random } from '../../native/random.js';
import type { Dataset, NetSpec, TrainJob } from '../../types.js';
import { nativeAddon } from '../../native/addon.js';

/**
 * Operations of one training image: 2 (3 F - I) with F the multiply-adds of the forward pass in convolutions and linear layers, as often again
 * for the input and the weight gradients, less I for the layers that read the image, whose input gradient nobody needs.
 */
export function flopsPerImage(net: NetSpec): number {
  return 2 * (3 * nativeAddon().describeNet(net, '', 'fp32', 1).multiplyAdds - multiplyAddsAtImage(net));
}

function multiplyAddsAtImage(net: NetSpec): number {
  const { height, width, channels } = net.input;
  const positions = (side: number, kernel: number, stride: number, pad: number): number =>
    Math.floor((side + 2 * pad - kernel) / stride) + 1;
  return net.layers.reduce((sum, layer) => {
    if (layer.op !== 'conv' || layer.inputs[0] !== 'image') return sum;
    const { kernel, stride, pad, outChannels } = layer;
    return sum + positions(height, kernel, stride, pad) * positions(width, kernel, stride, pad) * kernel ** 2 * channels * outChannels;
  }, 0);
}

/** Random pixels and labels with CIFAR-10's normalisation; times do not depend on what they show. */
export function randomImages(net: NetSpec, count: number, seed = 0): Dataset {
  const { height, width, channels } = net.input;
  const random = new Random(seed, Purpose.synthetic, 0);
  return createDataset({
    name: 'bench',
    description: 'random pixels',
    height,
    width,
    channels,
    numClasses: net.numClasses,
    classNames: Array.from({ length: net.numClasses }, (_, i) => String(i)),
    numTrain: count,
    numValidation: 0,
    pixels: Uint8Array.from({ length: count * height * width * channels }, () => random.next() & 0xff),
    labels: Int32Array.from({ length: count }, () => random.below(net.numClasses)),
    mean: [0.4914, 0.4822, 0.4465],
    std: [0.2023, 0.1994, 0.201],
  });
}

/** Plain steps of SGD with momentum and weight decay, in one epoch: one pass a batch, each with its own points. */
export function stepsJob(
  batches: readonly Int32Array[],
  settings: { learningRate: number; momentum: number; weightDecay: number },
): TrainJob {
  return {
    modelIndex: 0,
    seed: 0,
    epochs: 1,
    optimizer: { kind: 'sgd', momentum: settings.momentum, weightDecay: settings.weightDecay },
    schedule: { kind: 'constant', learningRate: settings.learningRate },
    passes: batches.map((indices) => ({
      batchNorm: 'train',
      terms: [{ indices, objective: { crossEntropy: 1 }, weight: 1, batchSize: indices.length }],
    })),
  };
}
