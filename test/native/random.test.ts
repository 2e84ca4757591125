import fc from 'fast-check';
import { Purpose, Random } from '../../src/native/random.js';

describe('Random', () => {
  it('is Philox 4x32-10: the published answer for key 0 and counter 0', () => {
    // this seed cancels the purpose out of the key
    const random = new Random(0x9e3779b9 * 2 ** 32, Purpose.initialise, 0);
    expect([1, 2, 3, 4].map(() => random.next().toString(16))).toEqual(['6627e8d5', 'e169c58d', 'bc57ac4c', '9b00dbd8']);
  });

  it('draws what native/core/base/random.cpp draws (the same table is in random_test.cpp)', () => {
    const random = new Random(2 ** 40 + 12345, Purpose.mask, 2 ** 33 + 7, 3);
    const draws = [random.next(), random.next(), random.below(10), random.below(1000003), random.next(), random.next()];
    expect(draws).toEqual([3425157222, 1895195052, 4, 416233, 1426799673, 1215849737]);
    expect(random.uniform()).toBe(0.7375170579180121);
    expect(random.normal()).toBeCloseTo(0.8598577558667169, 12); // logarithm and cosine of two libraries
  });

  it('stays below its bound and is the same again', () => {
    fc.assert(
      fc.property(fc.maxSafeNat(), fc.nat(1e6), fc.integer({ min: 1, max: 2 ** 32 - 1 }), (seed, model, bound) => {
        const [first, again] = [new Random(seed, Purpose.shuffle, model), new Random(seed, Purpose.shuffle, model)];
        for (let draw = 0; draw < 10; draw++) {
          const value = first.below(bound);
          expect(value).toBe(again.below(bound));
          expect(Number.isInteger(value) && value >= 0 && value < bound).toBe(true);
        }
      }),
    );
  });
});
