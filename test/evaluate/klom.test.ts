import fc from 'fast-check';
import { klomFloor } from '../../src/evaluate/floor.js';
import { summarise } from '../../src/evaluate/percentile.js';
import { defaultKlomOptions, divergences, klom } from '../../src/evaluate/klom.js';
import { Purpose, Random } from '../../src/native/random.js';
import type { KlomOptions } from '../../src/types.js';

/** One point: a column of margins a side. */
async function score(oracle: number[], unlearned: number[], options: Partial<KlomOptions> = {}): Promise<number> {
  const { scores } = await klom(
    {
      oracleMargins: Float32Array.from(oracle),
      unlearnedMargins: Float32Array.from(unlearned),
      numOracles: oracle.length,
      numUnlearned: unlearned.length,
      numPoints: 1,
    },
    { ...defaultKlomOptions, ...options },
  );
  return scores[0]!;
}

/** The default variant from its definition: equal bins over both samples, closed at the top, an empty bin on one side gets epsilon. */
function naive(oracle: number[], unlearned: number[], bins: number, epsilon: number): number {
  const all = [...oracle, ...unlearned];
  const [low, high] = [Math.min(...all), Math.max(...all)];
  if (low === high) return 0;
  const edges = Array.from({ length: bins + 1 }, (_, k) => low + k * ((high - low) / bins));
  const shares = (sample: number[]): number[] => {
    const counts = new Array<number>(bins).fill(0);
    for (const value of sample) {
      let bin = bins - 1;
      while (bin > 0 && value < edges[bin]!) bin--;
      counts[bin]!++;
    }
    return counts.map((count) => count / sample.length);
  };
  const [p, q] = [shares(oracle), shares(unlearned)];
  return p.reduce((sum, share, k) => {
    if (share === 0 && q[k] === 0) return sum;
    const [a, b] = [share === 0 ? epsilon : share, q[k] === 0 ? epsilon : q[k]!];
    return sum + a * Math.log(a / b);
  }, 0);
}

function normals(count: number, mean: number, deviation: number, stream: number): number[] {
  const random = new Random(3, Purpose.synthetic, 1, stream);
  return Array.from({ length: count }, () => Math.fround(mean + deviation * random.normal()));
}

describe('klom', () => {
  it('equals its definition on random samples', async () => {
    const margin = fc.integer({ min: -60, max: 60 }).map((k) => k / 8);
    const sample = fc.array(margin, { minLength: 1, maxLength: 30 });
    await fc.assert(
      fc.asyncProperty(sample, sample, fc.integer({ min: 2, max: 25 }), async (oracle, unlearned, bins) => {
        expect(await score(oracle, unlearned, { bins })).toBeCloseTo(naive(oracle, unlearned, bins, 1e-5), 10);
      }),
      { numRuns: 200, seed: 1 },
    );
  });

  it('is 0 when all margins are equal and ln(1/epsilon) when nothing overlaps', async () => {
    for (const variant of ['default', 'paper-fixed', 'easydub'] as const) expect(await score([2, 2, 2], [2, 2], { variant })).toBe(0);
    expect(await score([5, 5], [-5, -5])).toBeCloseTo(Math.log(1e5), 3);
  });

  it('names its roles: swapping them changes the value', async () => {
    const [wide, narrow] = [normals(100, 0, 2, 0), normals(100, 0, 0.5, 1)];
    expect(Math.abs((await score(wide, narrow)) - (await score(narrow, wide)))).toBeGreaterThan(0.5);
  });

  it('sees with data-dependent bins what fixed bins are nearly blind to', async () => {
    // a shift of two standard deviations of 1.5 (docs/method-notes.md: 0.10 against 3.6)
    const [oracle, unlearned] = [normals(20000, 3, 1.5, 2), normals(20000, 6, 1.5, 3)];
    const fixed = await score(oracle, unlearned, { variant: 'paper-fixed' });
    const adaptive = await score(oracle.slice(0, 100), unlearned.slice(0, 100));
    expect(fixed).toBeLessThan(0.25);
    expect(adaptive).toBeGreaterThan(2.5);
  });

  it('counts non-finite margins and never bins them', async () => {
    const clean = await score([1, 2, 3], [2, 3, 4]);
    const { scores, nonFinite, numNonFinite } = await klom({
      oracleMargins: Float32Array.from([1, NaN, 2, 1, 3, 1, Infinity, 1]),
      unlearnedMargins: Float32Array.from([2, NaN, 3, NaN, 4, NaN]),
      numOracles: 4,
      numUnlearned: 3,
      numPoints: 2,
    });
    expect(scores[0]).toBe(clean);
    expect(scores[1]).toBeNaN();
    expect([...nonFinite]).toEqual([1, 4]);
    expect(numNonFinite).toBe(5);
  });

  it('does not depend on the number of threads', async () => {
    const input = {
      oracleMargins: Float32Array.from(normals(20 * 301, 0, 1, 4)),
      unlearnedMargins: Float32Array.from(normals(30 * 301, 1, 2, 5)),
      numOracles: 20,
      numUnlearned: 30,
      numPoints: 301,
    };
    const [one, two] = [await klom(input, defaultKlomOptions, { threads: 1 }), await klom(input, defaultKlomOptions, { threads: 2 })];
    expect(one.scores).toEqual(two.scores);
  });

  it('refuses shapes that do not fit', async () => {
    const input = {
      oracleMargins: new Float32Array(5),
      unlearnedMargins: new Float32Array(6),
      numOracles: 2,
      numUnlearned: 2,
      numPoints: 3,
    };
    await expect(klom(input)).rejects.toThrow('LETHE_SHAPE_MISMATCH: oracle margins');
  });
});

describe('klomFloor', () => {
  it.each([
    [50, 0.85, 1.73],
    [100, 0.34, 0.65],
    [200, 0.145, 0.27],
  ])('of %i + %i models is the known one', async (models, mean, p95) => {
    const floor = await klomFloor({ numOracles: models, numUnlearned: models });
    expect(Math.abs(floor.mean / mean - 1)).toBeLessThan(0.06);
    expect(Math.abs(floor.p95 / p95 - 1)).toBeLessThan(0.08);
  });
});

describe('divergences without bias', () => {
  it.each([
    { models: 100, gaussian: 0.04, neighbours: 0.14, histogram: 0.66 },
    { models: 40, gaussian: 0.1, neighbours: 0.22, histogram: 2.1 },
  ])('are 0 on average between samples of one distribution, $models models a side', async ({ models, ...p95 }) => {
    const numPoints = 2000;
    const random = new Random(9, Purpose.synthetic, models);
    const draw = (): Float32Array => Float32Array.from({ length: models * numPoints }, () => 2 * random.normal());
    const input = { oracleMargins: draw(), unlearnedMargins: draw(), numOracles: models, numUnlearned: models, numPoints };
    const { gaussian, neighbours } = await divergences(input);
    const all = Int32Array.from({ length: numPoints }, (_, point) => point);
    const [g, k, h] = [gaussian, neighbours, (await klom(input)).scores].map((scores) => summarise(scores, all));
    expect(Math.abs(g!.mean)).toBeLessThan(0.005);
    expect(Math.abs(k!.mean)).toBeLessThan(0.015);
    expect(g!.p95).toBeCloseTo(p95.gaussian, 1.3);
    expect(k!.p95).toBeCloseTo(p95.neighbours, 1.3);
    expect(h!.p95).toBeGreaterThan(p95.histogram - 0.1); // what the estimates are for
  });

  it('refuse what does not fit', async () => {
    const input = {
      oracleMargins: new Float32Array(6),
      unlearnedMargins: new Float32Array(4),
      numOracles: 3,
      numUnlearned: 3,
      numPoints: 2,
    };
    await expect(divergences(input)).rejects.toThrow('LETHE_SHAPE_MISMATCH: unlearned margins');
  });
});
