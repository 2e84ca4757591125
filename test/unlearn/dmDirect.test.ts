import fc from 'fast-check';
import { calibrateScale, forgetShift, simulate } from '../../src/unlearn/index.js';
import { sparse } from './fixture.js';

const numClasses = 2;
const numTrain = 3;
/** 3 train + 1 validation points, 2 classes: (targets, numTrain) */
const dense = [
  [4, 0, 1],
  [-3, 0.5, 0],
  [0, 2, 0.25],
  [0, -1, 0],
  [1, 1, 1],
  [0, 0, 0],
  [0.5, 0, -0.5],
  [0, 0, 8],
];

describe('forgetShift', () => {
  it('sums the weights of the forget set, for any datamodels (dense reference)', () => {
    const weight = fc.oneof(
      fc.constant(0),
      fc.integer({ min: -64, max: 64 }).map((value) => value / 8),
    );
    const property = fc.property(
      fc.array(fc.array(weight, { minLength: numTrain, maxLength: numTrain }), { minLength: 8, maxLength: 8 }),
      fc.subarray([0, 1, 2]),
      (rows, forget) => {
        const shift = forgetShift({ datamodels: sparse(rows), numClasses, forget: Int32Array.from(forget) });
        rows.forEach((row, target) => {
          const point = Math.floor(target / numClasses);
          expect(shift.full[target]).toBe(forget.reduce((sum, i) => sum + row[i]!, 0));
          expect(shift.diagonal[target]).toBe(forget.includes(point) ? row[point]! : 0);
        });
      },
    );
    fc.assert(property, { seed: 1, numRuns: 50 });
  });

  it('gives the same by blocks of targets, even blocks that split a point', () => {
    const forget = Int32Array.of(0, 1);
    const whole = forgetShift({ datamodels: sparse(dense), numClasses, forget });
    const parts = [
      [0, 3],
      [3, 8],
    ].map(([first, end]) => forgetShift({ datamodels: sparse(dense.slice(first, end)), firstTarget: first!, numClasses, forget }));
    expect(parts.flatMap((part) => [...part.full])).toEqual([...whole.full]);
    expect(parts.flatMap((part) => [...part.diagonal])).toEqual([...whole.diagonal]);
  });

  it('hides no non-finite weight and refuses foreign forget points', () => {
    const broken = sparse([[NaN, 1, 2], ...dense.slice(1)]);
    expect(forgetShift({ datamodels: broken, numClasses, forget: Int32Array.of(0) }).full[0]).toBeNaN();
    expect(forgetShift({ datamodels: broken, numClasses, forget: Int32Array.of(1) }).full[0]).toBe(1);
    expect(() => forgetShift({ datamodels: sparse(dense), numClasses, forget: Int32Array.of(3) })).toThrow(/LETHE_FORGET_SET_INVALID/);
  });
});

describe('simulate', () => {
  const shift = forgetShift({ datamodels: sparse(dense), numClasses, forget: Int32Array.of(0, 2) });
  const originalLogits = Float32Array.from({ length: 8 }, (_, i) => i);

  it('subtracts the scaled shift from the original (C.2): a positive weight lowers the output of the unlearned model', () => {
    expect([...simulate({ originalLogits, shift, scale: 1, diagonalOnly: false })]).toEqual([-5, 4, 1.75, 3, 2, 5, 6, -1]);
    expect([...simulate({ originalLogits, shift, scale: 0.5, diagonalOnly: false })]).toEqual([-2.5, 2.5, 1.875, 3, 3, 5, 6, 3]);
    expect([...simulate({ originalLogits, shift, scale: 1, diagonalOnly: true })]).toEqual([-4, 4, 2, 3, 3, 5, 6, 7]);
  });

  it('refuses logits of other points or classes', () => {
    expect(() => simulate({ originalLogits: new Float32Array(9), shift, scale: 1, diagonalOnly: false })).toThrow(/LETHE_SHAPE_MISMATCH/);
  });
});

describe('calibrateScale', () => {
  const shift = Float32Array.of(1, -2, 0.5, 0, 3, 1, -1, 2);
  const originalMean = Float32Array.of(1, 2, 3, 4, 5, 6, 7, 8);

  it('finds the scale that the oracles were made with', () => {
    const oracleMean = originalMean.map((logit, i) => logit - 0.9 * shift[i]!);
    const splits = [Int32Array.of(0), Int32Array.of(1, 2), Int32Array.of(3)];
    expect(calibrateScale({ shift, originalMean, oracleMean, numClasses, splits })).toBeCloseTo(0.9, 6);
  });

  it('minimises the squared error averaged over splits, whatever their sizes', () => {
    const oracleMean = Float32Array.of(0, 4.5, 2, 4, 3, 5, 7.5, 8);
    const splits = [Int32Array.of(0), Int32Array.of(1, 2, 3)];
    const error = (scale: number) =>
      splits.reduce((sum, points) => {
        let total = 0;
        for (const point of points) {
          for (const t of [2 * point, 2 * point + 1]) total += (originalMean[t]! - scale * shift[t]! - oracleMean[t]!) ** 2;
        }
        return sum + total / points.length;
      }, 0);
    const scale = calibrateScale({ shift, originalMean, oracleMean, numClasses, splits });
    for (const step of [-1e-3, 1e-3]) expect(error(scale + step)).toBeGreaterThan(error(scale));
  });

  it('says when datamodels say nothing', () => {
    const input = { shift: new Float32Array(8), originalMean, oracleMean: originalMean, numClasses, splits: [Int32Array.of(0)] };
    expect(() => calibrateScale(input)).toThrow(/LETHE_SCALE_UNDEFINED/);
    expect(() => calibrateScale({ ...input, oracleMean: shift.subarray(1) })).toThrow(/LETHE_SHAPE_MISMATCH/);
  });
});

it('a target that could not be fitted has an unknown shift, not a zero one', () => {
  const shift = forgetShift({
    datamodels: {
      numTargets: 2,
      numTrain: 3,
      bias: Float32Array.of(NaN, 0),
      lambda: new Float32Array(2),
      gap: new Float32Array(2),
      status: ['nonfinite', 'converged'],
      rowStart: Float64Array.of(0, 0, 1),
      indices: Int32Array.of(1),
      weights: Float32Array.of(2),
    },
    numClasses: 2,
    forget: Int32Array.of(1),
  });
  expect([...shift.full]).toEqual([NaN, 2]);
  expect(shift.diagonal[0]).toBeNaN();
});
