import fc from 'fast-check';
import { constantExamples, generateMasks, maskHas, maskIndices, packMasks, selectRows, unpackMasks } from '../../src/data/masks.js';

const options = fc
  .record({ numModels: fc.integer({ min: 0, max: 9 }), numTrain: fc.integer({ min: 1, max: 70 }), seed: fc.maxSafeNat() })
  .chain((base) => fc.integer({ min: 1, max: base.numTrain }).map((size) => ({ ...base, size, subsetFraction: size / base.numTrain })));

const dense = fc
  .record({ numModels: fc.integer({ min: 0, max: 6 }), numTrain: fc.integer({ min: 1, max: 40 }) })
  .chain((shape) =>
    fc
      .array(fc.integer({ min: 0, max: 1 }), { minLength: shape.numModels * shape.numTrain, maxLength: shape.numModels * shape.numTrain })
      .map((values) => ({ ...shape, values: Uint8Array.from(values) })),
  );

describe('generateMasks', () => {
  it('puts exactly the asked number of examples in every row, and a row does not depend on the number of models', () => {
    fc.assert(
      fc.property(options, ({ size, ...rest }) => {
        const masks = generateMasks(rest);
        const more = generateMasks({ ...rest, numModels: rest.numModels + 3 });
        expect(more.bits.subarray(0, masks.bits.length)).toEqual(masks.bits);
        for (let row = 0; row < masks.numModels; row++) expect(maskIndices(masks, row)).toHaveLength(size);
      }),
    );
  });

  it('draws every example and every pair equally often', () => {
    const [numModels, numTrain] = [4000, 12];
    const values = unpackMasks(generateMasks({ numModels, numTrain, subsetFraction: 0.5, seed: 3 }));
    for (let j = 0; j < numTrain; j++) {
      for (let k = 0; k <= j; k++) {
        let together = 0;
        for (let row = 0; row < numModels; row++) together += values[row * numTrain + j]! & values[row * numTrain + k]!;
        const expected = k === j ? 0.5 : (0.5 * 5) / 11; // sampling without replacement: 6/12 * 5/11
        expect(Math.abs(together / numModels - expected)).toBeLessThan(5 * Math.sqrt(0.25 / numModels));
      }
    }
  });

  it('keeps its draws: files of old runs stay valid', () => {
    const masks = generateMasks({ numModels: 2, numTrain: 20, subsetFraction: 0.5, seed: 7 });
    expect([...masks.bits]).toEqual([142, 184, 9, 88, 118, 9]);
  });

  it.each([{ subsetFraction: 0 }, { subsetFraction: 1.2 }, { subsetFraction: NaN }, { numModels: -1 }, { numTrain: 2.5 }])(
    'refuses %j',
    (wrong) => {
      const call = () => generateMasks({ numModels: 2, numTrain: 10, subsetFraction: 0.5, seed: 0, ...wrong });
      expect(call).toThrow(/LETHE_MASKS_INVALID/);
    },
  );
});

describe('bit packing', () => {
  it('round-trips and agrees with every reader', () => {
    fc.assert(
      fc.property(dense, ({ numModels, numTrain, values }) => {
        const masks = packMasks(values, numModels, numTrain);
        expect(unpackMasks(masks)).toEqual(values);
        const column = (j: number): number[] => [...values].filter((_, i) => i % numTrain === j);
        const constant = Array.from({ length: numTrain }, (_, j) => new Set(column(j)).size < 2).filter(Boolean).length;
        expect(constantExamples(masks)).toBe(constant);
        for (let row = 0; row < numModels; row++) {
          const wanted = [...values.subarray(row * numTrain, (row + 1) * numTrain).keys()].filter((j) => values[row * numTrain + j] === 1);
          expect([...maskIndices(masks, row)]).toEqual(wanted);
          expect(wanted.every((j) => maskHas(masks, row, j))).toBe(true);
        }
      }),
    );
  });

  it('selects rows in the asked order', () => {
    const masks = generateMasks({ numModels: 4, numTrain: 11, subsetFraction: 0.5, seed: 1 });
    const chosen = selectRows(masks, [3, 0, 3]);
    expect([0, 1, 2].map((row) => maskIndices(chosen, row))).toEqual([3, 0, 3].map((row) => maskIndices(masks, row)));
    expect(() => selectRows(masks, [4])).toThrow(/LETHE_MASKS_ROW/);
    expect(() => maskIndices(masks, -1)).toThrow(/LETHE_MASKS_ROW/);
    expect(() => packMasks(new Uint8Array(5), 2, 3)).toThrow(/LETHE_SHAPE_MISMATCH/);
  });
});
