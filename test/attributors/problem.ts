/** A made-up problem whose truth is known. */
import type { TargetPoints } from '../../src/attributors/attributor.js';
import { packMasks } from '../../src/data/masks.js';
import { Purpose, Random } from '../../src/native/random.js';

export const [numTrain, numPoints, numClasses] = [24, 32, 3];

/** Points of hidden kinds: every model knows each kind as well as the examples of it that it has seen, and by chance. */
export function problem(numModels: number, seed = 1) {
  const random = new Random(seed, Purpose.synthetic, 0);
  const dense = Uint8Array.from({ length: numModels * numTrain }, () => random.below(2));
  const labels = Int32Array.from({ length: numPoints }, (_, point) => point % numClasses);
  const kind = (point: number): number => point % 6;
  const margins = new Float32Array(numModels * numPoints);
  const truth = new Float32Array(numModels * numPoints);
  for (let model = 0; model < numModels; model++) {
    const known = Array.from({ length: 6 }, () => random.normal());
    for (let point = 0; point < numPoints; point++) {
      let taught = 0;
      for (let i = 0; i < numTrain; i++) if (dense[model * numTrain + i] === 1 && i !== point && kind(i) === kind(point)) taught += 0.3;
      if (point < numTrain) taught += 2 * dense[model * numTrain + point]!;
      truth[model * numPoints + point] = taught;
      margins[model * numPoints + point] = taught + known[kind(point)]! + 0.5 * random.normal();
    }
  }
  const ofTrain = Float32Array.from({ length: numModels * numTrain }, (_, at) => {
    return margins[Math.floor(at / numTrain) * numPoints + (at % numTrain)]!;
  });
  const points: TargetPoints = { labels, targetsPerPoint: 1, trainMargins: () => Promise.resolve(ofTrain) };
  return { dense, masks: packMasks(dense, numModels, numTrain), outputs: margins, truth, points, ofTrain, numModels };
}
