/** percentile.ts, accuracy.ts, lds.ts against closed forms and naive loops. */
import fc from 'fast-check';
import { splitAccuracy } from '../../src/evaluate/accuracy.js';
import { ldsCeiling } from '../../src/evaluate/ldsCeiling.js';
import { correlatePoints, lds } from '../../src/evaluate/lds.js';
import { percentile, summariseSplits } from '../../src/evaluate/percentile.js';
import { Purpose, Random } from '../../src/native/random.js';

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
    const actual = Float32Array.of(1, 5, 2, 6, 3, 6);
    const input = { predicted, actual, numModels: 3, numPoints: 2 };
    const result = await lds(input, { seed: 4 });
    expect([result.numUndefined, result.numNonFinite]).toEqual([1, 0]);
    expect(result.mean).toBeCloseTo(naiveSpearman([1, 2, 3], [5, 6, 6]) / 2, 12);
    expect(await lds(input, { seed: 4 })).toEqual(result);
    await expect(lds({ ...input, numModels: 2 })).rejects.toThrow('LETHE_SHAPE_MISMATCH');
  });
});

describe('lds of models that diverged', () => {
  it('is that of the others, point by point, whatever the diverged ones are', async () => {
    const [numModels, numPoints] = [9, 4];
    const random = new Random(3, Purpose.synthetic, 0);
    const draw = (): Float32Array => Float32Array.from({ length: numModels * numPoints }, () => random.normal());
    const [predicted, actual] = [draw(), draw()];
    for (let point = 0; point < numPoints; point++) actual[2 * numPoints + point] = NaN;
    actual[5 * numPoints + 1] = -Infinity;
    const expected = Array.from({ length: numPoints }, (_, point) => {
      const rows = Array.from({ length: numModels }, (_unused, model) => model).filter(
        (model) => model !== 2 && !(model === 5 && point === 1),
      );
      const of = (matrix: Float32Array): number[] => rows.map((row) => matrix[row * numPoints + point]!);
      return naiveSpearman(of(predicted), of(actual));
    });
    const { values, numUndefined } = await correlatePoints({ predicted, actual, numModels, numPoints });
    expect([...values]).toEqual(expected.map((value) => expect.closeTo(value, 10) as number));
    expect(numUndefined).toBe(0);
    const cut = await correlatePoints({ predicted, actual, numModels, numPoints }, { first: 1, end: 3 });
    expect(cut.values).toEqual(values.slice(1, 3));
  });

  it('is no number where nothing is finite, and never a zero that looks like one', async () => {
    const nothing = new Float32Array(6).fill(NaN);
    const something = Float32Array.of(1, 2, 3, 4, 5, 6);
    for (const input of [
      { predicted: something, actual: nothing },
      { predicted: nothing, actual: something },
    ]) {
      const { mean, median, low, high, numNonFinite } = await lds({ ...input, numModels: 3, numPoints: 2 });
      expect([mean, median, low, high, numNonFinite]).toEqual([NaN, NaN, NaN, NaN, 2]);
    }
  });
});

describe('the ceiling of LDS', () => {
  it('is the score of what models of one mask have in common', async () => {
    const [numModels, numPoints] = [400, 40];
    const random = new Random(5, Purpose.synthetic, 0);
    // point z: signal of variance 1, noise of variance z / 20 in each of two models
    const signal = Float32Array.from({ length: numModels * numPoints }, () => random.normal());
    const model = (): Float32Array => signal.map((value, i) => value + Math.sqrt((i % numPoints) / 20) * random.normal());
    const [actual, again] = [model(), model()];
    const points = { first: 0, end: numPoints, seed: 1 };
    const ceiling = await ldsCeiling({ predicted: again, actual, numModels, numPoints }, points);
    const perfect = await lds({ predicted: signal, actual, numModels, numPoints }, points);
    // the root of a mean lies above the mean of roots: by 0.014 here
    expect(ceiling.mean).toBeGreaterThan(perfect.mean);
    expect(ceiling.mean - perfect.mean).toBeLessThan(0.03);
    expect(ceiling.low).toBeLessThan(ceiling.mean);
    expect(ceiling.high).toBeGreaterThan(ceiling.mean);
    expect(ceiling.numMasks).toBe(numModels);
    expect(ceiling.reliability).toBeCloseTo(ceiling.mean ** 2, 12);
  });

  it('is zero where two models of a mask agree less than by chance', async () => {
    const [predicted, actual] = [Float32Array.of(1, 2, 3), Float32Array.of(3, 2, 1)];
    const { mean, reliability } = await ldsCeiling({ predicted, actual, numModels: 3, numPoints: 1 }, { first: 0, end: 1, seed: 1 });
    expect([mean, reliability]).toEqual([0, -1]);
  });
});
