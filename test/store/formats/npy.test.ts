import fc from 'fast-check';
import fs from 'node:fs';
import path from 'node:path';
import { readMaskFile } from '../../../src/data/maskFile.js';
import { LetheError } from '../../../src/errors.js';
import { openForReading, readFully } from '../../../src/store/disk/files.js';
import { encodeNpy, readNpy, toFloat32, writeNpy } from '../../../src/store/formats/npy.js';
import { readWholeNumbers } from '../../../src/store/formats/npyIntegers.js';
import { halfToFloat, type NpyValues } from '../../../src/store/formats/npyValues.js';
import { temporaryFolder } from '../../helpers/temporary.js';

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
    ['fortran', 'float64', [2, 3], Float64Array.from([0, 1, 2, 3, 4, 5])],
    ['bigendian', 'float32', [3], Float32Array.from([0, 1, 2])],
    ['empty', 'float32', [0, 7], new Float32Array(0)],
    ['version2', 'float32', [4], Float32Array.from([0, 1, 2, 3])],
  ] as const)('%s', async (name, dtype, shape, data) => {
    const array = await readNpy(fixture(name));
    expect(array).toEqual({ dtype, shape, data });
    expect(toFloat32(array)).toEqual(Float32Array.from(data));
  });

  test.each([
    ['object', 'LETHE_NPY_UNSUPPORTED', /Python objects/],
    ['structured', 'LETHE_NPY_UNSUPPORTED', /expected bool, integers.*array\['field'\]/],
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
  const names = ['bool', 'uint8', 'int32', 'int64', 'float16', 'float64', 'version2', 'object', 'structured', 'fortran', 'bigendian'];
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

/** A file of this header and these bytes. */
function writeRaw(text: string, payload: Uint8Array): string {
  const file = path.join(folder, 'header.npy');
  const length = Buffer.of(text.length & 255, text.length >> 8);
  fs.writeFileSync(file, Buffer.concat([Buffer.from('\x93NUMPY\x01\x00', 'latin1'), length, Buffer.from(text), payload]));
  return file;
}

const bytesOf = (values: NpyValues | BigUint64Array): Uint8Array => new Uint8Array(values.buffer);

// numpy.dtype reads all of these
test.each([
  ['? |b1 <b1 >b1 =b1 b1 bool', Uint8Array.of(1, 0)],
  ['B |u1 <u1 =u1 u1 uint8', Uint8Array.of(1, 200)],
  ['b |i1 <i1 i1 int8', Int8Array.of(-1, 100)],
  ['h <i2 =i2 i2 int16', Int16Array.of(-1, 30000)],
  ['H <u2 u2 uint16', Uint16Array.of(1, 60000)],
  ['i <i4 =i4 i4 int32', Int32Array.of(-1, 2e9)],
  ['I <u4 u4 uint32', Uint32Array.of(1, 4e9)],
  ['f <f4 =f4 f4 float32 single', Float32Array.of(1.5, NaN)],
  ['d <f8 =f8 f8 float64 double', Float64Array.of(1.5, 1e300)],
])('types %s', async (spellings, data) => {
  for (const descr of spellings.split(' ')) {
    const file = writeRaw(`{'descr': '${descr}', 'fortran_order': False, 'shape': (2,), }`, bytesOf(data));
    expect([descr, (await readNpy(file)).data]).toEqual([descr, data]);
  }
});

test('whole numbers of 64 bits are exact or refused', async () => {
  const header = "{'descr': '<u8', 'fortran_order': False, 'shape': (1,), }";
  const read = (value: bigint) => readNpy(writeRaw(header, bytesOf(BigUint64Array.of(value))));
  expect((await read(2n ** 53n - 1n)).data).toEqual(Float64Array.of(2 ** 53 - 1));
  for (const value of [2n ** 53n, 2n ** 63n, 2n ** 64n - 1n])
    await expect(read(value)).rejects.toThrow(/LETHE_NPY_UNSUPPORTED.*uint64 beyond 2\^53/);
});

test('headers of Python 2, of other quotes and spacing', async () => {
  const data = Float32Array.of(1, 2, 3, 4);
  for (const text of [
    "{'descr': '<f4', 'fortran_order': False, 'shape': (2L, 2L), }",
    '{"descr": "<f4", "fortran_order": False, "shape": (2, 2)}',
    "{u'shape':(2,2,),u'descr':u'<f4' , 'fortran_order' : False}\n",
  ]) {
    expect(await readNpy(writeRaw(text, bytesOf(data)))).toEqual({ dtype: 'float32', shape: [2, 2], data });
  }
});

test('a vector is the same in both orders, and an empty array of a huge shape takes no time', async () => {
  const vector = writeRaw("{'descr': '<f4', 'fortran_order': True, 'shape': (1, 3), }", bytesOf(Float32Array.of(1, 2, 3)));
  expect((await readNpy(vector)).data).toEqual(Float32Array.of(1, 2, 3));
  const huge = writeRaw("{'descr': '|b1', 'fortran_order': True, 'shape': (9007199254740991, 0), }", new Uint8Array(0));
  expect((await readNpy(huge)).data.length).toBe(0);
  await expect(readMaskFile(huge)).rejects.toThrow(/LETHE_MASKS_SHAPE.*no dimension empty/);
});

test('vectors of whole numbers: taken as they are, or refused with the place', async () => {
  const refuse = (received: string, action = ''): LetheError => new LetheError('LETHE_TEST_REFUSED', `${received}|${action}`, {});
  const read = async (shape: number[], data: Parameters<typeof writeNpy>[2]) => {
    await writeNpy(path.join(folder, 'whole.npy'), shape, data);
    return readWholeNumbers(path.join(folder, 'whole.npy'), 10, refuse);
  };
  expect(await read([3], Float64Array.of(0, 9, 3))).toEqual(Int32Array.of(0, 9, 3));
  expect(await read([2], BigInt64Array.of(4n, 0n))).toEqual(Int32Array.of(4, 0));
  for (const [data, message] of [
    [Float32Array.of(1, 0.5), '0.5 at position 1'],
    [Float32Array.of(NaN), 'NaN at position 0'],
    [Float64Array.of(1, 2, Infinity), 'Infinity at position 2'],
    [BigInt64Array.of(2n ** 32n + 1n), '4294967297 at position 0'],
    [Int32Array.of(-1), '-1 at position 0'],
    [Uint8Array.of(10), '10 at position 0'],
  ] as const) {
    await expect(read([data.length], data)).rejects.toThrow(message);
  }
  await expect(read([2, 1], Int32Array.of(1, 2))).rejects.toThrow('int32 of shape (2, 1)|Save array.reshape(-1)');
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
  expect((await failure(writeRaw(text, Buffer.alloc(4)))).message).toMatch(message);
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
