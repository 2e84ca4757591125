import fc from 'fast-check';
import fs from 'node:fs';
import path from 'node:path';
import { encodeNpy, readNpy } from '../../../src/store/formats/npy.js';
import { NpyFile } from '../../../src/store/formats/npyFile.js';
import { temporaryFolder } from '../../helpers/temporary.js';

const folder = temporaryFolder();
const file = path.join(folder, 'array.npy');

type Maker = [string, number, (view: DataView, at: number, value: number) => void];
const dtypes: Maker[] = [
  [
    '|u1',
    1,
    (view, at, value) => {
      view.setUint8(at, value % 251);
    },
  ],
  [
    '<f4',
    4,
    (view, at, value) => {
      view.setFloat32(at, value / 3, true);
    },
  ],
  [
    '<f8',
    8,
    (view, at, value) => {
      view.setFloat64(at, value / 3, true);
    },
  ],
  [
    '>i2',
    2,
    (view, at, value) => {
      view.setInt16(at, value % 30000);
    },
  ],
  // the half-precision number 1 + k / 1024
  [
    '<f2',
    2,
    (view, at, value) => {
      view.setUint16(at, 0x3c00 + (value % 1024), true);
    },
  ],
];

function valueOf(type: string, k: number): number {
  if (type === '|u1') return k % 251;
  if (type === '>i2') return k % 30000;
  if (type === '<f8') return k / 3;
  return type === '<f2' ? 1 + (k % 1024) / 1024 : Math.fround(k / 3);
}

/** The value at C position k is k in its dtype, wherever it lies in the file. */
function write(shape: number[], [type, bytes, set]: Maker, fortran: boolean): void {
  const text = `{'descr': '${type}', 'fortran_order': ${fortran ? 'True' : 'False'}, 'shape': (${shape.join(', ')},), }`.padEnd(117) + '\n';
  const head = Buffer.from([0x93, 0x4e, 0x55, 0x4d, 0x50, 0x59, 1, 0, 118, 0, ...Buffer.from(text, 'latin1')]);
  const count = shape.reduce((product, size) => product * size, 1);
  const view = new DataView(new ArrayBuffer(count * bytes));
  for (let k = 0; k < count; k++) {
    let left = k;
    const index = shape.map(() => 0);
    for (let d = shape.length - 1; d >= 0; d--) {
      index[d] = left % shape[d]!;
      left = Math.floor(left / shape[d]!);
    }
    const position = fortran ? index.reduceRight((sum, i, d) => sum * shape[d]! + i, 0) : k;
    set(view, position * bytes, k);
  }
  fs.writeFileSync(file, Buffer.concat([head, Buffer.from(view.buffer)]));
}

test('columns and rows of any dtype, order and shape', async () => {
  const shapes = fc.record({
    shape: fc.oneof(
      fc.tuple(fc.integer({ min: 1, max: 90 }), fc.integer({ min: 1, max: 80 })),
      fc.tuple(fc.integer({ min: 1, max: 30 }), fc.integer({ min: 1, max: 9 }), fc.integer({ min: 1, max: 9 })),
    ),
    maker: fc.constantFrom(...dtypes),
    fortran: fc.boolean(),
    cut: fc.tuple(fc.double({ min: 0, max: 1, noNaN: true }), fc.double({ min: 0, max: 1, noNaN: true })),
  });
  await fc.assert(
    fc.asyncProperty(shapes, async ({ shape, maker, fortran, cut }) => {
      write([...shape], maker, fortran);
      const opened = await NpyFile.open(file);
      const { rows, columns } = opened;
      const span = (size: number): [number, number] =>
        cut.map((share) => Math.round(share * size)).sort((a, b) => a - b) as [number, number];
      const [left, right] = span(columns);
      const [top, bottom] = span(rows);
      const of = (row: number, column: number): number => valueOf(maker[0], row * columns + column);
      const tall = Array.from({ length: rows * (right - left) }, (_, k) => of(Math.floor(k / (right - left)), left + (k % (right - left))));
      const wide = Array.from({ length: (bottom - top) * columns }, (_, k) => of(top + Math.floor(k / columns), k % columns));
      expect([rows, columns]).toEqual([shape[0], shape.slice(1).reduce((a, b) => a * b, 1)]);
      expect(Array.from(await opened.readColumns(left, right))).toEqual(tall);
      expect(Array.from(await opened.readRows(top, bottom))).toEqual(wide);
      await opened.close();
      const all = Array.from({ length: rows * columns }, (_, k) => valueOf(maker[0], k));
      expect(Array.from((await readNpy(file)).data)).toEqual(all);
    }),
    { numRuns: 150, seed: 3 },
  );
});

test('beyond 2 GiB, of a sparse file', async () => {
  const [rows, columns] = [3, 400_000_000];
  const start = encodeNpy([1, 1], new Float32Array(1));
  const head = Buffer.from(
    Buffer.from(start.subarray(0, 128)).toString('latin1').replace('(1, 1)', `(${rows}, ${columns})`),
    'latin1',
  ).subarray(0, 127);
  fs.writeFileSync(file, Buffer.concat([head, Buffer.from('\n')]));
  fs.truncateSync(file, 128 + 4 * rows * columns);
  const handle = fs.openSync(file, 'r+');
  fs.writeSync(handle, Float32Array.of(7), 0, 4, 128 + 4 * (2 * columns + 399_999_999));
  fs.closeSync(handle);
  const opened = await NpyFile.open(file);
  expect(await opened.readColumns(399_999_998, 400_000_000)).toEqual(Float32Array.of(0, 0, 0, 0, 0, 7));
  const before = await opened.fingerprint();
  await opened.close();
  const again = fs.openSync(file, 'r+');
  fs.writeSync(again, Float32Array.of(8), 0, 4, 128 + 4 * (2 * columns + 399_999_999));
  fs.closeSync(again);
  const changed = await NpyFile.open(file);
  expect(await changed.fingerprint()).not.toBe(before);
  await changed.close();
  fs.rmSync(file);
});

test('a file that becomes shorter while it is read is damaged', async () => {
  fs.writeFileSync(file, encodeNpy([100, 100], new Float32Array(10000)));
  const opened = await NpyFile.open(file);
  fs.truncateSync(file, 20000);
  await expect(opened.readColumns(3, 9)).rejects.toMatchObject({ code: 'LETHE_NPY_DAMAGED', exitCode: 3 });
  await opened.close();
});
