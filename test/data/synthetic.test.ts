import { classCounts } from '../../src/data/dataset.js';
import { syntheticDataset } from '../../src/data/synthetic.js';
import { NativeEngine } from '../../src/engines/native.js';
import { buildNet } from '../../src/models/index.js';
import type { TrainJob } from '../../src/types.js';

const imageBytes = 16 * 16 * 3;

describe('syntheticDataset', () => {
  const { dataset, facts } = syntheticDataset();

  it('has the asked shape, balanced classes and both splits', () => {
    expect(dataset).toMatchObject({ height: 16, width: 16, channels: 3, numClasses: 5, numTrain: 300, numValidation: 150 });
    expect(dataset.pixels).toHaveLength(450 * imageBytes);
    expect(classCounts(dataset)).toEqual({ train: [60, 60, 60, 60, 60], validation: [30, 30, 30, 30, 30] });
  });

  it('keeps its bytes: runs of other versions and machines stay comparable', () => {
    expect(dataset.sha256).toBe('39d60a8c1529473d4d8fc4b1a7b87b249aad8c49dfec89afcd7f7d938e4f7a2e');
    expect(syntheticDataset({ seed: 1 }).dataset.sha256).not.toBe(dataset.sha256);
  });

  it('grows by adding points: a smaller set is a prefix of both splits', () => {
    const small = syntheticDataset({ trainPerClass: 4, validationPerClass: 3 }).dataset;
    const trainBytes = small.numTrain * imageBytes;
    expect(Buffer.compare(small.pixels.subarray(0, trainBytes), dataset.pixels.subarray(0, trainBytes))).toBe(0);
    const validation = dataset.pixels.subarray(dataset.numTrain * imageBytes, (dataset.numTrain + small.numValidation) * imageBytes);
    expect(Buffer.compare(small.pixels.subarray(trainBytes), validation)).toBe(0);
    expect([...small.labels.subarray(0, small.numTrain)]).toEqual([...dataset.labels.subarray(0, small.numTrain)]);
  });

  it('records the mislabelled and atypical train examples, and only those carry a wrong label', () => {
    const wrong = [...dataset.labels.keys()].filter((point) => dataset.labels[point] !== facts.trueClasses[point]);
    expect(facts.mislabelled).toEqual(wrong);
    expect(facts.mislabelled.length).toBeGreaterThan(4);
    expect(facts.atypical.length).toBeGreaterThan(4);
    expect(facts.atypical.filter((point) => facts.mislabelled.includes(point) || point >= dataset.numTrain)).toEqual([]);
  });

  it('has rare sub-populations in every class', () => {
    const counts = [0, 0, 0, 0];
    for (const subpopulation of facts.subpopulations) counts[subpopulation]!++;
    const shares = counts.map((count) => count / dataset.labels.length);
    [0.4, 0.3, 0.2, 0.1].forEach((share, k) => {
      expect(Math.abs(shares[k]! - share)).toBeLessThan(0.08);
    });
  });

  it('is normalised by the mean and deviation it states', () => {
    const values = Array.from(dataset.pixels, (byte) => (byte / 255 - dataset.mean[0]!) / dataset.std[0]!);
    const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
    const variance = values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / values.length;
    expect(Math.abs(mean)).toBeLessThan(0.05);
    expect(Math.abs(variance - 1)).toBeLessThan(0.1);
  });

  it.each([{ trainPerClass: 0 }, { validationPerClass: -1 }, { numClasses: 1 }, { seed: 0.5 }])('refuses %j', (options) => {
    expect(() => syntheticDataset(options)).toThrow(/LETHE_DATA_OPTION/);
  });

  it('can be learned and memorised by a small network, and not perfectly', async () => {
    const net = buildNet({ name: 'smallcnn', width: 1, input: { height: 16, width: 16, channels: 3 }, numClasses: 5 });
    const points = Int32Array.from(dataset.labels.keys());
    const job: TrainJob = {
      modelIndex: 0,
      seed: 1,
      epochs: 24,
      passes: [
        {
          batchNorm: 'train',
          terms: [{ indices: points.subarray(0, dataset.numTrain), objective: { crossEntropy: 1 }, weight: 1, batchSize: 16 }],
        },
      ],
      optimizer: { kind: 'sgd', momentum: 0.9, weightDecay: 0 },
      schedule: { kind: 'triangle', learningRate: 0.4, peakEpoch: 5 },
    };
    const [result] = await new NativeEngine().trainMany(net, dataset, [job], { evalPoints: points, evalEpochs: [24], parameters: false });
    const accuracy = (chosen: number[]): number => {
      const right = chosen.filter((point) => {
        const row = result!.logits.subarray(point * 5, point * 5 + 5);
        return row.indexOf(Math.max(...row)) === dataset.labels[point];
      });
      return right.length / chosen.length;
    };
    const all = [...points];
    expect(accuracy(all.slice(0, dataset.numTrain))).toBeGreaterThan(0.95);
    expect(accuracy(facts.mislabelled)).toBeGreaterThan(0.5); // nothing but memory gives these
    expect(accuracy(all.slice(dataset.numTrain))).toBeGreaterThan(0.75);
    expect(accuracy(all.slice(dataset.numTrain))).toBeLessThan(0.99);
  });
});
