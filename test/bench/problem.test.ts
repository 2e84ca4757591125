import { syntheticProblem } from '../../src/bench/problem.js';
import { median, medianDeviation } from '../../src/bench/statistics.js';
import { maskHas } from '../../src/data/masks.js';
import { Purpose, Random } from '../../src/native/random.js';

describe('syntheticProblem', () => {
  it('depends on the seed only, and a target not on its neighbours', () => {
    const few = syntheticProblem(37, 50, 2);
    const more = syntheticProblem(37, 50, 5);
    expect(more.masks).toEqual(few.masks);
    expect(few).toEqual(syntheticProblem(37, 50, 2));
    for (let row = 0; row < 37; row++) expect(more.outputs[row * 5 + 1]).toBe(few.outputs[row * 2 + 1]);
    expect(syntheticProblem(37, 50, 2, 1).masks).not.toEqual(few.masks);
  });

  it('is what its description says', () => {
    const [m, n] = [61, 205]; // 10 true weights: one whole group of eight columns and a part of one
    const { masks, outputs } = syntheticProblem(m, n, 3, 7);
    expect(masks.bits.reduce((sum, byte) => sum + byte.toString(2).replaceAll('0', '').length, 0) / (m * n)).toBeCloseTo(0.5, 1);
    const random = new Random(7, Purpose.synthetic, 2);
    const support = new Set<number>();
    while (support.size < 10) support.add(random.below(n));
    const weights = Array.from({ length: 10 }, (_, a) => random.normal() / Math.sqrt(a + 1));
    const signal = Array.from({ length: m }, (_, row) =>
      [...support].reduce((sum, j, a) => sum + (maskHas(masks, row, j) ? weights[a]! : 0), 0),
    );
    const mean = signal.reduce((sum, value) => sum + value, 0) / m;
    const deviation = Math.sqrt(signal.reduce((sum, value) => sum + (value - mean) ** 2, 0) / m);
    for (let row = 0; row < m; row++) expect(outputs[row * 3 + 2]).toBeCloseTo(signal[row]! + deviation * random.normal(), 5);
  });
});

it('knows median and spread', () => {
  expect([median([5, 1, 3]), median([4, 1, 3, 2]), medianDeviation([1, 2, 3, 9])]).toEqual([3, 2.5, 1]);
  expect(median([])).toBeNaN();
});
