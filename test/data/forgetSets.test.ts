import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { extremes, resolveForgetSet } from '../../src/data/forgetSets.js';
import { principalProjection, symmetricEigen } from '../../src/data/principalComponents.js';
import { Purpose, Random } from '../../src/native/random.js';
import { readNpy, writeNpy } from '../../src/store/formats/npy.js';

const published = path.resolve(import.meta.dirname, '../../../shared/data/forget-sets');
const itWithSets = fs.existsSync(published)
  ? it
  : (name: string): void => {
      it(`${name} (not run: no ../shared/data/forget-sets)`, () => {
        expect(fs.existsSync(published)).toBe(false);
      });
    };

describe('random forget sets', () => {
  it('equal NumPy legacy choice', async () => {
    // numpy.random.seed(0); sorted(numpy.random.choice(1000, 5, replace=False)) made with NumPy 1.24
    const { indices } = await resolveForgetSet({ name: 'a', kind: 'random', size: 5, seed: 0 }, { numTrain: 1000 });
    expect([...indices]).toEqual([298, 553, 672, 859, 993]);
  });

  itWithSets('equal the published sets 1-3', async () => {
    for (const [seed, size] of [10, 100, 1000].entries()) {
      const { indices } = await resolveForgetSet({ name: 'a', kind: 'random', size, seed }, { numTrain: 50000 });
      const { data } = await readNpy(path.join(published, `forget_set_${seed + 1}.npy`));
      expect([...indices]).toEqual([...data].map(Number));
    }
  });

  it('refuse seeds that NumPy refuses: no two seeds are one set', async () => {
    const set = (seed: number) => resolveForgetSet({ name: 'a', kind: 'random', size: 5, seed }, { numTrain: 1000 });
    expect((await set(2 ** 32 - 1)).indices).not.toEqual((await set(0)).indices);
    for (const seed of [2 ** 32 + 1, -1, 0.5]) await expect(set(seed)).rejects.toThrow(/LETHE_FORGET_SET_INVALID.*0 to 4294967295/);
  });

  it('refuse sizes that leave nothing', async () => {
    await expect(resolveForgetSet({ name: 'a', kind: 'random', size: 10, seed: 0 }, { numTrain: 10 })).rejects.toThrow(
      'LETHE_FORGET_SET_INVALID',
    );
  });
});

describe('index files', () => {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'lethe-forget-'));
  afterAll(() => {
    fs.rmSync(folder, { recursive: true });
  });

  it.each([
    ['3\n1 # a comment\n\n2\n', [1, 2, 3]],
    ['3\n3\n', 'every index once'],
    ['3\nx\n', 'one train index a line'],
    ['12\n', 'train indices from 0 to 9'],
    ['', 'between 1 and 9 points'],
  ])('%j', async (text, expected) => {
    const file = path.join(folder, 'indices.txt');
    fs.writeFileSync(file, text);
    const result = resolveForgetSet({ name: 'a', kind: 'file', path: file }, { numTrain: 10 });
    if (typeof expected === 'string') await expect(result).rejects.toThrow(expected);
    else expect([...(await result).indices]).toEqual(expected);
  });

  it('hold indices of any type, none of them cut to fit', async () => {
    const file = path.join(folder, 'indices.npy');
    const read = () => resolveForgetSet({ name: 'a', kind: 'file', path: file }, { numTrain: 10 });
    await writeNpy(file, [2], BigInt64Array.of(3n, 1n));
    expect([...(await read()).indices]).toEqual([1, 3]);
    await writeNpy(file, [2], BigInt64Array.of(3n, 2n ** 32n + 1n));
    await expect(read()).rejects.toThrow('4294967297 at position 1');
  });

  it('have paths that count from the folder of the plan', async () => {
    fs.mkdirSync(path.join(folder, 'plans'));
    fs.writeFileSync(path.join(folder, 'plans', 'set.txt'), '4\n');
    const spec = { name: 'a', kind: 'file', path: 'set.txt' } as const;
    const { indices } = await resolveForgetSet(spec, { numTrain: 10, planFolder: path.join(folder, 'plans') });
    expect([...indices]).toEqual([4]);
    await expect(resolveForgetSet(spec, { numTrain: 10 })).rejects.toMatchObject({ code: 'LETHE_FILE_MISSING' });
  });
});

/** A dense random matrix with clearly separated leading directions. */
function randomMatrix(numRows: number, numColumns: number): number[][] {
  const random = new Random(1, Purpose.synthetic, 7);
  const u = Array.from({ length: 3 }, () => Array.from({ length: numRows }, () => random.normal()));
  const v = Array.from({ length: 3 }, () => Array.from({ length: numColumns }, () => random.normal()));
  return Array.from({ length: numRows }, (_, i) =>
    Array.from({ length: numColumns }, (__, j) =>
      [5, 3, 2].reduce((sum, s, k) => sum + s * u[k]![i]! * v[k]![j]!, 4 + 0.1 * random.normal()),
    ),
  );
}

describe('principal components', () => {
  it('equal the eigenvectors of the covariance matrix', () => {
    const [numRows, numColumns] = [40, 12];
    const dense = randomMatrix(numRows, numColumns).map((row) => row.map(Math.fround));
    const means = Array.from({ length: numColumns }, (_, j) => dense.reduce((sum, row) => sum + row[j]!, 0) / numRows);
    const centred = dense.map((row) => row.map((value, j) => value - means[j]!));
    const covariance = means.map((_, i) => means.map((__, j) => centred.reduce((sum, row) => sum + row[i]! * row[j]!, 0)));
    const { vectors } = symmetricEigen(covariance);
    for (const component of [1, 2, 3]) {
      const projection = principalProjection(
        {
          numRows,
          numColumns,
          rowStart: Array.from({ length: numRows + 1 }, (_, row) => row * numColumns),
          indices: Int32Array.from({ length: numRows * numColumns }, (_, k) => k % numColumns),
          weights: Float32Array.from(dense.flat()),
        },
        component,
      );
      const expected = centred.map((row) => row.reduce((sum, value, j) => sum + value * vectors[j]![component - 1]!, 0));
      const sign = Math.sign(expected.reduce((sum, value, i) => sum + value * projection[i]!, 0));
      expected.forEach((value, i) => {
        expect(projection[i]).toBeCloseTo(sign * value, 6);
      });
      expect(Math.max(...projection)).toBeGreaterThanOrEqual(-Math.min(...projection));
    }
  });

  it('diagonalise: A v = lambda v', () => {
    const a = [
      [4, 1, 0.5],
      [1, 3, -1],
      [0.5, -1, 2],
    ];
    const { values, vectors } = symmetricEigen(a);
    values.forEach((value, k) => {
      a.forEach((row, i) => {
        expect(row.reduce((sum, x, j) => sum + x * vectors[j]![k]!, 0)).toBeCloseTo(value * vectors[i]![k]!, 12);
      });
    });
    expect([...values]).toEqual([...values].sort((x, y) => y - x));
  });

  it('takes both ends', () => {
    expect([...extremes(Float64Array.from([0.5, -2, 3, 0, 1]), 2, 1)]).toEqual([2, 4, 1]);
  });
});
