import fc from 'fast-check';
import { drawData, optima, type RotatedData, rotate } from '../../src/ridge/problem.js';
import { contraction } from '../../src/ridge/theorem1.js';
import { checkMatchingRate, fitExponential, noiseBound } from '../../src/ridge/theorem2.js';
import type { Trajectories } from '../../src/ridge/trajectories.js';
import { smallSettings } from './fixture.js';

const positive = fc.double({ min: 1e-3, max: 1e3, noNaN: true });

describe('Theorem 1', () => {
  it('has two factors of gradient descent that multiply to 1 - 2 eta (s + lambda)', () => {
    fc.assert(
      fc.property(positive, positive, positive, (step, lambda, eigenvalue) => {
        const product = 1 - 2 * step * (eigenvalue + lambda);
        const size = 1 + 2 * step * (eigenvalue + lambda);
        expect(Math.abs(contraction('gradient-descent', step, lambda, eigenvalue) - product)).toBeLessThan(1e-12 * size);
      }),
    );
  });

  it('exists where the second factor does not, at eta = 1 / (2 lambda)', () => {
    expect(contraction('gradient-descent', 0.125, 4, 2)).toBe(1 - 2 * 0.125 * 6);
  });
});

it('fits an exponential exactly', () => {
  const points = [0, 3, 5, 10].map((t) => ({ t, value: 7 * 0.9 ** t }));
  const { factor, r2 } = fitExponential(points);
  expect(factor).toBeCloseTo(0.9, 12);
  expect(r2).toBeCloseTo(1, 12);
});

it('knows the gradient disagreement of batches: equal to the mean over every batch', () => {
  const settings = smallSettings({ dimension: 6, numTrain: 7, numForget: 1, batchSize: 3 });
  const data = rotate(drawData(settings, 4), settings);
  const both = settings.lambdas.map((lambda) => optima(data, lambda, 1));
  const { lambda, thetaStar, thetaFull } = both[1]!;
  const n = 6;
  const gradient = (i: number): Float64Array => {
    const point = data.x.subarray(i * data.dim, (i + 1) * data.dim);
    const error = point.reduce((sum, value, j) => sum + value * thetaStar[j]!, -data.y[i]!);
    return point.map((value, j) => 2 * error * value + 2 * (lambda / n) * thetaStar[j]!);
  };
  let [sum, count] = [0, 0];
  for (let a = 0; a < n; a++)
    for (let b = 0; b < a; b++)
      for (let c = 0; c < b; c++) {
        const parts = [a, b, c].map(gradient);
        for (let j = 0; j < data.dim; j++) sum += ((n / 3) * parts.reduce((total, part) => total + part[j]!, 0)) ** 2;
        count += 1;
      }
  const start = thetaFull.reduce((total, value, j) => total + (value - thetaStar[j]!) ** 2, 0);
  const { noise } = noiseBound({ index: 4, data, optima: both }, 1, settings);
  expect(noise / (sum / count / start)).toBeCloseTo(1, 12);
});

describe('the rate check of Theorem 2', () => {
  const settings = smallSettings();
  const data: RotatedData = rotate(drawData(settings, 0), settings);
  const repetition = { index: 0, data, optima: settings.lambdas.map((lambda) => optima(data, lambda, settings.numForget)) };
  const gammaMin = data.all.values[0]!;
  const step = 0.1 / data.all.values.at(-1)!;
  const loggedAt = Int32Array.from({ length: 40 }, (_, l) => 50 * l);
  const share = settings.batchSize / settings.numTrain;

  /** R falls by (1 - speed gamma_min eta_n) an iteration. */
  const check = (speed: number) => {
    const distances = Float64Array.from(loggedAt, (t) => (1 - speed * gammaMin * step * share) ** t);
    const run: Trajectories = {
      variant: { method: 'oracle-matching' },
      batch: 'stochastic',
      lambdaIndex: 0,
      steps: Float64Array.of(step),
      loggedAt,
      inSpan: [distances],
      orthogonal: [distances.map(() => 0)],
      endings: [new Uint8Array(1)],
      iterates: [],
    };
    return checkMatchingRate(run, 0, [repetition], settings).find(({ name }) => name.includes('matching-rate'))!;
  };

  it('says yes just above the rate of the theorem and no just below', () => {
    expect(check(1.01).holds).toBe(true);
    expect(check(0.99).holds).toBe(false);
  });
});
