/**
 * The memory model of a fit against peaks that were measured: `/usr/bin/time -f %M lethe fit --threads 2 --memory 8GiB` on random halves and
 * targets that are normal sums of `influences` columns plus noise of 0.7 of their deviation. Whoever changes the solver measures again.
 * Problems with more influences than weights are expected take no more, as the working sets keep to their share.
 */
import { planMemory } from '../../src/datamodels/blocks.js';
import { openDesign } from '../../src/attributors/registry.js';
import { defaultFitOptions } from '../../src/datamodels/fit.js';

const MiB = 2 ** 20;

/** models, train examples, targets, influences; MiB */
const measured: [number, number, number, number, number][] = [
  [50, 40, 10, 5, 75],
  [200, 300, 200, 20, 91],
  [300, 1000, 400, 200, 98],
  [300, 20000, 100, 20, 893],
  [400, 400, 200, 20, 99],
  [400, 1000, 200, 20, 97],
  [400, 4000, 200, 20, 134],
  [400, 10000, 200, 20, 303],
  [500, 1000, 500, 40, 108],
  [500, 2000, 300, 20, 123],
  [500, 2000, 300, 40, 119],
  [1000, 500, 4000, 30, 130],
  [1000, 1000, 200, 40, 127],
  [1000, 2000, 500, 60, 137],
  [1000, 4000, 200, 40, 164],
  [1000, 4000, 200, 300, 187],
  [1000, 10000, 200, 40, 343],
  [2000, 1000, 200, 60, 141],
  [2000, 4000, 200, 60, 215],
  [2000, 4000, 200, 500, 223],
  [2000, 5000, 192, 80, 238],
  [4000, 1000, 200, 60, 164],
  [4000, 4000, 128, 60, 266],
  [4000, 4000, 128, 600, 257],
  [8000, 2000, 128, 60, 230],
];

function plan(numModels: number, numTrain: number, numTargets: number, limitBytes: number) {
  const masks = { numModels, numTrain, bits: new Uint8Array(numModels * Math.ceil(numTrain / 8)) };
  const { memoryBytes: designBytes, ...design } = openDesign(masks, defaultFitOptions, {
    numTargets,
    threads: 2,
    gramBytes: limitBytes / 3,
  });
  return planMemory({ ...design, designBytes, numTargets, numClasses: 1, extraBytes: 0 }, limitBytes);
}

it.each(measured)('%d models, %d examples, %d targets: not below the peak, and not far above it', (models, train, targets, _, peak) => {
  const { memoryBytes } = plan(models, train, targets, 8 * 2 ** 30);
  expect(memoryBytes / MiB).toBeGreaterThanOrEqual(peak);
  expect(memoryBytes / MiB).toBeLessThanOrEqual(1.25 * peak);
});

it('says what is missing in units for people', () => {
  expect(() => plan(1000, 2000, 500, 50 * MiB)).toThrow(/expected at least 1\d\d MiB; received 50\.0 MiB/);
});
