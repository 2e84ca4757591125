import fs from 'node:fs';
import path from 'node:path';
import { encodeNpy, readNpy } from '../../../src/store/formats/npy.js';
import { decodeFloats, decodeIndices, encodeIndices } from '../../../src/store/contents/npyArtefact.js';
import { temporaryFolder } from '../../helpers/temporary.js';

const folder = temporaryFolder();

test('indices and floats come back from any place in memory, and other programs read them as .npy', async () => {
  const indices = Int32Array.of(0, 7, 49_999);
  const bytes = encodeIndices(indices);
  // three bytes into a buffer: a view would not be aligned
  const moved = new Uint8Array(bytes.length + 3).subarray(3);
  moved.set(bytes);
  expect(decodeIndices(moved)).toEqual(indices);
  expect(decodeIndices(encodeIndices(new Int32Array(0)))).toEqual(new Int32Array(0));
  const floats = Float32Array.of(1.5, -0, NaN, Infinity, 2 ** -149, 3);
  expect(decodeFloats(encodeNpy([2, 3], floats))).toEqual(floats);
  const file = path.join(folder, 'indices.npy');
  fs.writeFileSync(file, bytes);
  expect(await readNpy(file)).toEqual({ dtype: 'int32', shape: [3], data: indices });
});

test('a decoded array is a copy', () => {
  const bytes = encodeIndices(Int32Array.of(1, 2));
  decodeIndices(bytes)[0] = 9;
  expect(decodeIndices(bytes)).toEqual(Int32Array.of(1, 2));
});

test.each([
  ['another type', encodeNpy([2], Float32Array.of(1, 2)), /shift does not hold int32 values; expected .*int32; received .*float32/],
  [
    'a byte too few',
    encodeIndices(Int32Array.of(1, 2)).slice(0, -1),
    /shift does not hold int32 values; expected 8 bytes.*received 7 bytes/,
  ],
  ['a byte too many', Buffer.concat([encodeIndices(Int32Array.of(1, 2)), Buffer.of(0)]), /received 9 bytes/],
  ['only a start', encodeIndices(Int32Array.of(1)).slice(0, 5), /shift/],
  ['nothing', new Uint8Array(0), /shift/],
])('%s is refused', (_, bytes, message) => {
  expect(() => decodeIndices(bytes, 'shift')).toThrow(message);
  expect(() => decodeIndices(bytes, 'shift')).toThrow(expect.objectContaining({ code: 'LETHE_NPY_DAMAGED', exitCode: 3 }) as Error);
});
