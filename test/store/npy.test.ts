import fc from 'fast-check';
import fs from 'node:fs';
import path from 'node:path';
import { LetheError } from '../../src/errors.js';
import { openForReading, readFully } from '../../src/store/files.js';
import { encodeNpy, readNpy, toFloat32, writeNpy } from '../../src/store/npy.js';
import { halfToFloat } from '../../src/store/npyValues.js';
import { temporaryFolder } from '../helpers/temporary.js';

const folder = temporaryFolder();
/** Made with numpy.save of NumPy 1.24. */
const fixture = (name: string): string => path.join(import.meta.dirname, 'npy', `${name}.npy`);

async function failure(file: string): Promise<LetheError> {
  try {
    await readNpy(file);
  } catch (error) {
    if (error instanceof LetheError) return error;
    throw error;
  }
  throw new Error(`${file} was accepted`);
}

describe('files made by NumPy', () => {
  const half = [0, -0, 1, -2, 65504, 2 ** -14, 2 ** -24, Infinity, -Infinity, NaN, 0.0999755859375];
  test.each([
    ['bool', 'bool', [3, 5], Uint8Array.from([1, 0, 0, 1, 0, 0, 1, 0, 0, 1, 0, 0, 1, 0, 0])],
    ['uint8', 'uint8', [2, 2, 3], Uint8Array.from({ length: 12 }, (_, i) => i)],
    ['int32', 'int32', [4], Int32Array.from([-(2 ** 31), -1, 0, 2 ** 31 - 1])],
    ['int64', 'int64', [6], Float64Array.from([-(2 ** 53) + 1, -1, 0, 2 ** 53 - 1, 2 ** 32, -(2 ** 32)])],
    ['float16', 'float16', [11], Float32Array.from(half)],
    ['float32', 'float32', [2, 2], Float32Array.from([1.5, -2.25, Infinity, 1e-40])],
    ['float64', 'float64', [], Float64Array.from([Math.PI])],
    ['empty', 'float32', [0, 7], new Float32Array(0)],
    ['version2', 'float32', [4], Float32Array.from([0, 1, 2, 3])],
  ] as const)('%s', async (name, dtype, shape, data) => {
    const array = await readNpy(fixture(name));
    expect(array).toEqual({ dtype, shape, data });
    expect(toFloat32(array)).toEqual(Float32Array.from(data));
  });

  test.each([
    ['fortran', 'LETHE_NPY_UNSUPPORTED', /C order.*ascontiguousarray/],
    ['object', 'LETHE_NPY_UNSUPPORTED', /Python objects/],
    ['structured', 'LETHE_NPY_UNSUPPORTED', /expected bool, uint8/],
    ['bigendian', 'LETHE_NPY_UNSUPPORTED', />f4/],
    ['big64', 'LETHE_NPY_UNSUPPORTED', /2\^53/],
  ])('%s is refused', async (name, code, message) => {
    const error = await failure(fixture(name));
    expect([error.code, error.exitCode]).toEqual([code, 3]);
    expect(error.message).toMatch(message);
  });
});

test('half precision: all 65,536 values', () => {
  const float = new DataView(new ArrayBuffer(4));
  for (let half = 0; half < 65536; half++) {
    // independent way: move the fields into a float32 and rescale by 2^112, which is exact for normal and subnormal halves
    float.setUint32(0, ((half & 0x7fff) << 13) >>> 0);
    const magnitude = (half & 0x7c00) === 0x7c00 ? (half & 1023 ? NaN : Infinity) : float.getFloat32(0) * 2 ** 112;
    if (!Object.is(halfToFloat(half), half & 0x8000 ? -magnitude : magnitude)) expect(half).toBe('converted');
  }
});

test('what is written is read back, and encodeNpy gives the same bytes', async () => {
  const file = path.join(folder, 'round.npy');
  const shapes = fc.array(fc.nat({ max: 5 }), { maxLength: 4 });
  const makers = [
    (n: number) => Uint8Array.from({ length: n }, (_, i) => i % 251),
    (n: number) => Int32Array.from({ length: n }, (_, i) => -i),
    (n: number) => Float32Array.from({ length: n }, (_, i) => i / 3),
    (n: number) => Float64Array.from({ length: n }, (_, i) => i / 7),
  ];
  await fc.assert(
    fc.asyncProperty(shapes, fc.constantFrom(...makers), async (shape, make) => {
      const data = make(shape.reduce((a, b) => a * b, 1));
      await writeNpy(file, shape, data);
      expect((await readNpy(file)).data).toEqual(data);
      expect((await readNpy(file)).shape).toEqual(shape);
      expect(new Uint8Array(fs.readFileSync(file))).toEqual(encodeNpy(shape, data));
    }),
    { numRuns: 40 },
  );
  await writeNpy(file, [2], Uint8Array.of(0, 1), { bool: true });
  expect(await readNpy(file)).toEqual({ dtype: 'bool', shape: [2], data: Uint8Array.of(0, 1) });
  await writeNpy(file, [2], BigInt64Array.of(-5n, 1n << 40n));
  expect(await readNpy(file)).toEqual({ dtype: 'int64', shape: [2], data: Float64Array.of(-5, 2 ** 40) });
  expect(fs.readdirSync(folder)).toEqual(['round.npy']);
  await expect(writeNpy(file, [3], Uint8Array.of(1))).rejects.toMatchObject({ code: 'LETHE_SHAPE_MISMATCH' });
});

test('damaged files give a teaching error or unchanged structure, never a crash', async () => {
  const names = ['bool', 'uint8', 'int32', 'int64', 'float16', 'float64', 'version2', 'object', 'structured'];
  const originals = names.map((name) => fs.readFileSync(fixture(name)));
  const file = path.join(folder, 'damaged.npy');
  const edits = fc.array(fc.tuple(fc.nat({ max: 140 }), fc.nat({ max: 255 })), { minLength: 1, maxLength: 4 });
  await fc.assert(
    fc.asyncProperty(fc.constantFrom(...originals), edits, fc.option(fc.nat({ max: 200 })), async (original, changes, cut) => {
      const bytes = Buffer.from(original);
      for (const [at, value] of changes) bytes[at % bytes.length] = value;
      fs.writeFileSync(file, cut === null ? bytes : bytes.subarray(0, cut));
      try {
        const array = await readNpy(file);
        expect(array.data.length).toBe(array.shape.reduce((a, b) => a * b, 1));
      } catch (error) {
        if (!(error instanceof LetheError)) throw error;
        expect(error.exitCode).toBe(3);
        expect(error.message).toMatch(/^LETHE_NPY_(DAMAGED|UNSUPPORTED): .*; expected .*; received .*\./s);
      }
    }),
    { numRuns: 1500 },
  );
});

test.each([
  ["{'descr': '<f4', 'fortran_order': False, 'shape': (9999999999, 9999999999, 9999999999), }", /does not hold/],
  ["{'descr': '<f4', 'fortran_order': False, 'shape': (-1,), }", /unreadable header/],
  ["{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999999999999,), }", /impossible shape/],
  ["{'descr': '<f4', 'fortran_order': False, 'shape': (2), }", /impossible shape/],
  ["{'descr': '<f4', 'fortran_order': False, 'shape': (,), }", /impossible shape/],
  [`{'descr': '<f4', 'fortran_order': False, 'shape': (${'1, '.repeat(40)}), }`, /impossible shape/],
  ["{'descr': '<f4', 'fortran_order': False}", /unreadable header/],
  ["{'descr': '<f4', 'descr': '<f4', 'fortran_order': False, 'shape': (1,), }", /unreadable header/],
  ["{'descr': '<f4', 'fortran_order': False, 'shape': (1,), 'x': __import__('os')}", /unreadable header/],
])('header %s', async (text, message) => {
  const file = path.join(folder, 'header.npy');
  fs.writeFileSync(
    file,
    Buffer.concat([
      Buffer.from('\x93NUMPY\x01\x00', 'latin1'),
      Buffer.of(text.length & 255, text.length >> 8),
      Buffer.from(text),
      Buffer.alloc(4),
    ]),
  );
  expect((await failure(file)).message).toMatch(message);
});

test('a missing file and a folder are told apart', async () => {
  expect((await failure(path.join(folder, 'none.npy'))).code).toBe('LETHE_FILE_MISSING');
  expect((await failure(folder)).code).toBe('LETHE_FILE_UNREADABLE');
});

test('offsets beyond 2 GiB are read, sizes beyond the memory refused before allocation', async () => {
  const file = path.join(folder, 'sparse.npy');
  const length = 2 ** 33 * 1000 + 5;
  const text = Buffer.from(encodeNpy([0], new Uint8Array(0))).toString('latin1');
  fs.writeFileSync(file, text.replace(`(0,), }${' '.repeat(12)}`, `(${length},), }`), 'latin1');
  fs.truncateSync(file, text.length + length);
  expect(await failure(file)).toMatchObject({ code: 'LETHE_MEMORY_SHORT', exitCode: 4 });
  const { handle, bytes } = await openForReading(file);
  fs.writeSync(fs.openSync(file, 'r+'), Buffer.of(7), 0, 1, bytes - 1);
  const end = new ArrayBuffer(16);
  expect(await readFully(handle, end, bytes - 10)).toBe(10);
  expect(new Uint8Array(end)[9]).toBe(7);
  await handle.close();
});
