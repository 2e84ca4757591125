/** The header of a .npy file: a Python dict literal with three keys, read by a grammar that knows nothing else. */
import { damaged } from './files.js';

export type NpyDtype = 'bool' | 'uint8' | 'int32' | 'int64' | 'float16' | 'float32' | 'float64';

export interface NpyHeader {
  dtype: NpyDtype;
  shape: number[];
  /** Product of shape; may be unsafe, compare with the file before use. */
  count: number;
  itemBytes: number;
  /** Column-major: the first index runs fastest. */
  fortranOrder: boolean;
}

const dtypes = new Map<string, [NpyDtype, number]>([
  ['|b1', ['bool', 1]],
  ['|u1', ['uint8', 1]],
  ['<i4', ['int32', 4]],
  ['<i8', ['int64', 8]],
  ['<f2', ['float16', 2]],
  ['<f4', ['float32', 4]],
  ['<f8', ['float64', 8]],
]);
const maxDimensions = 32;
const known = 'bool, uint8, int32, int64, float16, float32 or float64, little-endian';

/**
 * @throws LETHE_NPY_DAMAGED for text that is no such header, LETHE_NPY_UNSUPPORTED for dtypes Lethe does not read (exit code 3)
 */
export function parseNpyHeader(text: string, path: string): NpyHeader {
  const entries = readEntries(text, path);
  const dtype = readDtype(entries.get('descr')!, path);
  const shape = readShape(entries.get('shape')!, path);
  const count = shape.reduce((product, size) => product * size, 1);
  return { dtype: dtype[0], itemBytes: dtype[1], shape, count, fortranOrder: entries.get('fortran_order') === 'True' };
}

/** @throws LETHE_NPY_UNSUPPORTED (exit code 3) */
export function requireRowMajor({ fortranOrder }: NpyHeader, path: string): void {
  if (!fortranOrder) return;
  const action = 'Save it with numpy.save(path, numpy.ascontiguousarray(array)).';
  throw damaged('LETHE_NPY_UNSUPPORTED', `${path} is in Fortran order`, 'C order (row-major)', 'fortran_order True', action);
}

/** key -> value text; a list or nested tuple as descr (structured dtypes) is caught up to its bracket. */
function readEntries(text: string, path: string): Map<string, string> {
  const body = /^\{(.*)\}\s*$/s.exec(text)?.[1];
  const entries = new Map<string, string>();
  const entry = /\s*'(descr|fortran_order|shape)'\s*:\s*('[^']*'|True|False|\([\d,\s]*\)|\[.*\])\s*(?:,|$)/sy;
  while (body !== undefined && entry.lastIndex < body.trimEnd().length) {
    const match = entry.exec(body);
    if (!match || entries.has(match[1]!)) break;
    entries.set(match[1]!, match[2]!);
    if (entry.lastIndex >= body.trimEnd().length && entries.size === 3) return entries;
  }
  const expected = "a dict with 'descr', 'fortran_order' and 'shape'";
  throw damaged('LETHE_NPY_DAMAGED', `${path} has an unreadable header`, expected, JSON.stringify(text.slice(0, 120)));
}

function readDtype(value: string, path: string): [NpyDtype, number] {
  const name = value.slice(1, -1);
  const dtype = value.startsWith("'") ? dtypes.get(name) : undefined;
  if (dtype) return dtype;
  const object = value.startsWith("'") && name.includes('O');
  const what = object ? 'Python objects, which are never loaded' : `dtype ${value.slice(0, 60)}`;
  throw damaged(
    'LETHE_NPY_UNSUPPORTED',
    `${path} has a dtype Lethe does not read`,
    known,
    what,
    'Convert it with array.astype(numpy.float32).',
  );
}

function readShape(value: string, path: string): number[] {
  const sizes = /^\(\s*((?:\d+\s*,\s*)*\d*)\s*\)$/.exec(value)?.[1];
  const shape = sizes
    ?.split(',')
    .map((size) => size.trim())
    .filter((size) => size !== '');
  // (3) is a number in Python, (3,) a tuple
  const tuple = shape?.length !== 1 || value.includes(',');
  if (!shape || !tuple || shape.length > maxDimensions || shape.some((size) => !Number.isSafeInteger(Number(size)))) {
    const expected = `a tuple of at most ${maxDimensions} sizes`;
    throw damaged('LETHE_NPY_DAMAGED', `${path} has an impossible shape`, expected, value.slice(0, 120));
  }
  return shape.map(Number);
}
