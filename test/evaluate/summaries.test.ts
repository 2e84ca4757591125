/** percentile.ts, accuracy.ts, lds.ts against closed forms and naive loops. */
import fc from 'fast-check';
import { splitAccuracy } from '../../src/evaluate/accuracy.js';
import { lds } from '../../src/evaluate/lds.js';
import { percentile, summariseSplits } from '../../src/evaluate/percentile.js';

const splits = { forget: Int32Array.of(0), retain: Int32Array.of(1, 2), validation: Int32Array.of(3) };

describe('percentile', () => {
  it('interpolates as NumPy does', () => {
    // numpy.percentile([1, 2, 4, 8], [0, 50, 85, 95, 100])
    const sorted = Float64Array.of(1, 2, 4, 8);
    expect([0, 50, 85, 95, 100].map((p) => percentile(sorted, p))).toEqual([1, 3, expect.closeTo(6.2, 12), expect.closeTo(7.4, 12), 8]);
    expect(percentile(new Float64Array(0), 50)).toBeNaN();
  });

  it('leaves out points without a score and averages the three splits', () => {
    const summary = summariseSplits(Float64Array.of(3, NaN, 1, 5), splits);
    expect(summary.retain.mean).toBe(1);
    expect(summary.average.mean).toBe(3);
    expect(summary.average.p95).toBe(3);
  });
});

describe('splitAccuracy', () => {
  it('is the mean over models and points; a NaN prediction is wrong', () => {
    const predicted = Uint8Array.of(1, 0, 1, 1, /* second model */ 255, 1, 1, 0);
    const labels = Int32Array.of(1, 1, 1, 1);
    expect(splitAccuracy({ predicted, labels }, splits)).toEqual({ forget: 0.5, retain: 0.75, validation: 0.5 });
  });
});

/** Spearman by definition: Pearson of average ranks. */
function naiveSpearman(a: number[], b: number[]): number {
  const ranks = (x: number[]): number[] => x.map((v) => x.filter((w) => w < v).length + (x.filter((w) => w === v).length + 1) / 2);
  const centred = (x: number[]): number[] => x.map((v) => v - x.reduce((s, w) => s + w, 0) / x.length);
  const [p, q] = [centred(ranks(a)), centred(ranks(b))];
  const dot = (x: number[], y: number[]): number => x.reduce((s, v, i) => s + v * y[i]!, 0);
  return dot(p, q) / Math.sqrt(dot(p, p) * dot(q, q));
}

describe('lds', () => {
  it('is the mean Spearman correlation, ties included, constants counting as 0', async () => {
    const column = fc.array(fc.integer({ min: 0, max: 5 }), { minLength: 7, maxLength: 7 });
    await fc.assert(
      fc.asyncProperty(fc.array(fc.tuple(column, column), { minLength: 1, maxLength: 5 }), async (points) => {
        const stack = (side: 0 | 1): Float32Array =>
          Float32Array.from({ length: 7 * points.length }, (_, k) => points[k % points.length]![side][Math.floor(k / points.length)]!);
        const expected = points.map(([a, b]) => naiveSpearman(a, b)).map((value) => (Number.isNaN(value) ? 0 : value));
        const result = await lds({ predicted: stack(0), actual: stack(1), numModels: 7, numPoints: points.length });
        expect(result.mean).toBeCloseTo(expected.reduce((s, v) => s + v, 0) / expected.length, 10);
        expect(result.low).toBeLessThanOrEqual(result.mean + 1e-12);
        expect(result.high).toBeGreaterThanOrEqual(result.mean - 1e-12);
      }),
      { numRuns: 100, seed: 2 },
    );
  });

  it('says how many points have no correlation, and repeats its interval', async () => {
    const predicted = Float32Array.of(1, 1, 1, 2, 1, 3);
    const actual = Float32Array.of(1, 5, 2, 6, 3, NaN);
    const input = { predicted, actual, numModels: 3, numPoints: 2 };
    const result = await lds(input, { seed: 4 });
    expect(result.numUndefined).toBe(2);
    expect(result.mean).toBe(0);
    expect(await lds(input, { seed: 4 })).toEqual(result);
    await expect(lds({ ...input, numModels: 2 })).rejects.toThrow('LETHE_SHAPE_MISMATCH');
  });
});
