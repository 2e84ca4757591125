import { drawData, massInSpan, optima, rotate } from '../../src/ridge/problem.js';
import { smallSettings } from './fixture.js';

const shapes = [
  { dimension: 40, numTrain: 12, numForget: 2 }, // fewer points than coordinates
  { dimension: 11, numTrain: 12, numForget: 3 }, // the retain set alone does not span
  { dimension: 5, numTrain: 30, numForget: 4 }, // it does
];

const dot = (a: Float64Array, b: Float64Array): number => a.reduce((sum, value, j) => sum + value * b[j]!, 0);
const row = (x: Float64Array, i: number, width: number): Float64Array => x.subarray(i * width, (i + 1) * width);

describe.each(shapes)('d $dimension, n $numTrain, forget $numForget', (shape) => {
  const settings = smallSettings(shape);
  const raw = drawData(settings, 0);
  const data = rotate(raw, settings);
  const { dimension, numTrain, numForget } = settings;

  it('rotates without changing an inner product', () => {
    expect(data.dim).toBe(Math.min(dimension, numTrain));
    for (let i = 0; i < numTrain; i++) {
      for (let k = 0; k <= i; k++) {
        const before = dot(row(raw.x, i, dimension), row(raw.x, k, dimension));
        expect(dot(row(data.x, i, data.dim), row(data.x, k, data.dim))).toBeCloseTo(before, 10);
      }
    }
  });

  it('puts the span of the retain points first', () => {
    const numRetain = numTrain - numForget;
    expect(data.spanSize).toBe(Math.min(dimension, numRetain));
    for (let i = 0; i < numRetain; i++) {
      for (const value of row(data.x, i, data.dim).subarray(data.spanSize)) expect(Math.abs(value)).toBeLessThan(1e-12);
    }
    const forget = massInSpan(data.x.subarray(numRetain * data.dim), data.dim, data.spanSize);
    if (data.spanSize === data.dim) expect(forget).toBe(1);
    else expect(forget).toBeLessThan(1);
  });

  it('finds optima where the objective (5) is flat, by central differences', () => {
    const lambda = 3;
    const { thetaFull, thetaStar } = optima(data, lambda, numForget);
    for (const [theta, points] of [
      [thetaFull, numTrain],
      [thetaStar, numTrain - numForget],
    ] as const) {
      const objective = (at: Float64Array): number => {
        let sum = lambda * dot(at, at);
        for (let i = 0; i < points; i++) sum += (dot(row(data.x, i, data.dim), at) - data.y[i]!) ** 2;
        return sum;
      };
      for (let j = 0; j < data.dim; j++) {
        const [up, down] = [1e-4, -1e-4].map((shift) => objective(theta.map((value, k) => (k === j ? value + shift : value))));
        // exact for a quadratic but for rounding
        expect(Math.abs((up! - down!) / 2e-4)).toBeLessThan(1e-7 * (1 + objective(theta)));
      }
    }
  });
});

it('draws example 2 with the variance 1/i of coordinate i', () => {
  const settings = smallSettings({ example: 2, dimension: 3, numTrain: 20_000 });
  const { x } = drawData(settings, 0);
  for (let j = 0; j < 3; j++) {
    let sum = 0;
    for (let i = 0; i < settings.numTrain; i++) sum += x[i * 3 + j]! ** 2;
    expect(sum / settings.numTrain).toBeCloseTo(1 / (j + 1), 1);
  }
  expect(drawData(settings, 1).x[0]).not.toBe(x[0]);
});
