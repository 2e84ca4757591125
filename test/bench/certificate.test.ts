import { certify, lambdaMax, targetColumn } from '../../src/bench/certificate.js';
import { packMasks } from '../../src/data/masks.js';

// two orthogonal columns after centring: everything below is arithmetic by hand
const masks = packMasks(Uint8Array.from([1, 1, 1, 0, 0, 1, 0, 0]), 4, 2);
const target = Float64Array.from([3, 1, 1, -1]);

describe('certify', () => {
  it('gives objective and gap of a hand-computed example', () => {
    expect(lambdaMax(masks, target)).toBeCloseTo(0.5, 14);
    const optimal = certify(masks, target, { lambda: 0.25, indices: [0, 1], weights: [1, 1] });
    expect(optimal.objective).toBeCloseTo(0.75, 14);
    expect(optimal.relativeGap).toBeCloseTo(0, 14);
    // all zero: primal 1, the residual scaled by 1/2 is dual feasible with value 3/4, and ||y - mean||^2 / 2m is 1
    const zero = certify(masks, target, { lambda: 0.25, indices: [], weights: [] });
    expect(zero).toEqual({ objective: 1, relativeGap: 0.25 });
    expect(certify(masks, target, { lambda: 0.5, indices: [], weights: [] }).relativeGap).toBeCloseTo(0, 14);
  });

  it('sees a small error, and gives NaN for NaN', () => {
    const off = certify(masks, target, { lambda: 0.25, indices: [0, 1], weights: [1, 1.01] });
    expect(off.relativeGap).toBeGreaterThan(1e-4);
    expect(certify(masks, target, { lambda: 0.25, indices: [0], weights: [NaN] }).relativeGap).toBeNaN();
  });

  it('takes one target of some models', () => {
    expect(targetColumn(Float32Array.from([1, 2, 3, 4, 5, 6]), 2, 1, [0, 2])).toEqual(Float64Array.from([2, 6]));
  });
});
