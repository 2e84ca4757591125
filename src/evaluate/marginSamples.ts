/** Margins of a few sampled points, for Figure 4. */
import { Purpose, Random } from '../native/random.js';
import type { DatasetFacts, MarginSample, SplitName } from '../types.js';

const samplesPerSplit = 4;

export interface SampleInput {
  forgetSet: string;
  seed: number;
  dataset: Pick<DatasetFacts, 'numTrain' | 'numValidation' | 'labels' | 'classNames'>;
  splits: Record<SplitName, Int32Array>;
  /** (models, points) each */
  margins: { original: Float32Array; oracle: Float32Array; dmDirect: Float32Array };
}

export function sampleMargins({ forgetSet, seed, dataset, splits, margins }: SampleInput): MarginSample[] {
  const numPoints = dataset.numTrain + dataset.numValidation;
  const column = (matrix: Float32Array, point: number): number[] =>
    Array.from({ length: matrix.length / numPoints }, (_, model) => matrix[model * numPoints + point]!);
  const random = new Random(seed, Purpose.bootstrap, 1);
  return (['forget', 'retain'] as const).flatMap((split) => {
    const left = [...splits[split]];
    return Array.from({ length: Math.min(samplesPerSplit, left.length) }, () => {
      const point = left.splice(random.below(left.length), 1)[0]!;
      return {
        forgetSet,
        split,
        point,
        label: dataset.classNames[dataset.labels[point]!]!,
        original: column(margins.original, point),
        oracle: column(margins.oracle, point),
        dmDirect: column(margins.dmDirect, point),
      };
    });
  });
}
