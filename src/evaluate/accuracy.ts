/** Accuracy of many models over the splits. */
import { splitNames, type SplitName } from '../types.js';

export interface AccuracyInput {
  /** (models, points) class of the largest logit; 255 (a NaN logit) is never right */
  predicted: Uint8Array;
  /** (points) */
  labels: Int32Array;
}

/** Mean over models and points of a split, 0..1; NaN for an empty split. */
export function splitAccuracy({ predicted, labels }: AccuracyInput, splits: Record<SplitName, Int32Array>): Record<SplitName, number> {
  const numPoints = labels.length;
  const numModels = predicted.length / numPoints;
  const of = (points: Int32Array): number => {
    let right = 0;
    for (let model = 0; model < numModels; model++) {
      for (const point of points) if (predicted[model * numPoints + point] === labels[point]) right++;
    }
    return right / (numModels * points.length);
  };
  const [forget, retain, validation] = splitNames.map((name) => of(splits[name]));
  return { forget: forget!, retain: retain!, validation: validation! };
}
