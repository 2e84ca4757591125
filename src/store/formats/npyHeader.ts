/** The header of a .npy file: a Python dict literal with three keys, read by a grammar that knows nothing else. */
import { damaged } from '../disk/files.js';

export type NpyDtype =
  'bool' | 'int8' | 'uint8' | 'int16' | 'uint16' | 'int32' | 'uint32' | 'int64' | 'uint64' | 'float16' | 'float32' | 'float64';

export interface NpyHeader {
  dtype: NpyDtype;
  shape: number[];
  /** Product of shape; may be unsafe, compare with the file before use. */
  count: number;
  itemBytes: number;
  bigEndian: boolean;
  /** Column-major: the first index runs fastest. False where both orders are the same bytes. */
  fortranOrder: boolean;
}

/** Kinds by size, as in '<f4'. */
const kinds: Record<string, Partial<Record<string, NpyDtype>>> = {
  b: { 1: 'bool' },
  i: { 1: 'int8', 2: 'int16', 4: 'int32', 8: 'int64' },
  u: { 1: 'uint8', 2: 'uint16', 4: 'uint32', 8: 'uint64' },
  f: { 2: 'float16', 4: 'float32', 8: 'float64' },
};

/** NumPy's one-letter codes and its names beside the dtypes' own, of 64-bit Linux. */
const synonyms: Record<string, NpyDtype> = {
  ...{ '?': 'bool', bool_: 'bool', bool8: 'bool' },
  ...{ b: 'int8', byte: 'int8', B: 'uint8', ubyte: 'uint8' },
  ...{ h: 'int16', short: 'int16', H: 'uint16', ushort: 'uint16' },
  ...{ i: 'int32', intc: 'int32', I: 'uint32', uintc: 'uint32' },
  ...{ l: 'int64', q: 'int64', p: 'int64', int: 'int64', int_: 'int64', intp: 'int64', longlong: 'int64' },
  ...{ L: 'uint64', Q: 'uint64', P: 'uint64', uint: 'uint64', uintp: 'uint64', ulonglong: 'uint64' },
  ...{
    e: 'float16',
    half: 'float16',
    f: 'float32',
    single: 'float32',
    d: 'float64',
    double: 'float64',
    float: 'float64',
    float_: 'float64',
  },
};

const itemBytes: Record<NpyDtype, number> = {
  ...{ bool: 1, int8: 1, uint8: 1, int16: 2, uint16: 2, int32: 4, uint32: 4, int64: 8, uint64: 8 },
  ...{ float16: 2, float32: 4, float64: 8 },
};

const maxDimensions = 32;
const known = 'bool, integers of 8 to 64 bits, float16, float32 or float64';

/**
 * @throws LETHE_NPY_DAMAGED for text that is no such header, LETHE_NPY_UNSUPPORTED for dtypes Lethe does not read (exit code 3)
 */
export function parseNpyHeader(text: string, path: string): NpyHeader {
  const entries = readEntries(text, path);
  const { dtype, bigEndian } = readDtype(entries.get('descr')!, path);
  const shape = readShape(entries.get('shape')!, path);
  const count = shape.reduce((product, size) => product * size, 1);
  const fortranOrder = entries.get('fortran_order') === 'True' && count > 0 && shape.filter((size) => size > 1).length > 1;
  return { dtype, itemBytes: itemBytes[dtype], bigEndian, shape, count, fortranOrder };
}

/** key -> value text; a list or nested tuple as descr (structured dtypes) is caught up to its bracket. Python 2 wrote u'descr' and 200L. */
function readEntries(text: string, path: string): Map<string, string> {
  const body = /^\s*\{(.*)\}\s*$/s.exec(text)?.[1]?.trimEnd();
  const entries = new Map<string, string>();
  const entry = /\s*u?(['"])(descr|fortran_order|shape)\1\s*:\s*(u?'[^']*'|u?"[^"]*"|True|False|\([\dL,\s]*\)|\[.*\])\s*(?:,|$)/sy;
  while (body !== undefined && entry.lastIndex < body.length) {
    const match = entry.exec(body);
    if (!match || entries.has(match[2]!)) break;
    entries.set(match[2]!, match[3]!);
    if (entry.lastIndex >= body.length && entries.size === 3) return entries;
  }
  const expected = "a dict with 'descr', 'fortran_order' and 'shape'";
  throw damaged('LETHE_NPY_DAMAGED', `${path} has an unreadable header`, expected, JSON.stringify(text.slice(0, 120)));
}

function readDtype(value: string, path: string): { dtype: NpyDtype; bigEndian: boolean } {
  const name = /^u?(['"])(.*)\1$/s.exec(value)?.[2];
  const [, order, code] = /^([<>=|]?)([A-Za-z0-9_?]+)$/.exec(name ?? '') ?? [];
  const dtype = code === undefined ? undefined : dtypeOf(code);
  if (dtype) return { dtype, bigEndian: order === '>' && itemBytes[dtype] > 1 };
  const object = name !== undefined && /^[<>=|]?(O\d*|object_?)$/.test(name);
  const what = object ? 'Python objects, which are never loaded' : `dtype ${value.slice(0, 60)}`;
  throw damaged('LETHE_NPY_UNSUPPORTED', `${path} has a dtype Lethe does not read`, known, what, adviceFor(name, object));
}

/** 'f4', 'float32' or 'f'. */
function dtypeOf(code: string): NpyDtype | undefined {
  if (Object.hasOwn(itemBytes, code)) return code as NpyDtype;
  if (Object.hasOwn(synonyms, code)) return synonyms[code];
  const [, kind, size] = /^([biuf])(\d+)$/.exec(code) ?? [];
  return kind === undefined ? undefined : kinds[kind]![size!];
}

function adviceFor(name: string | undefined, object: boolean): string {
  if (object) return 'Save an array of numbers: numpy.save(path, numpy.array(list_of_rows, dtype=float)).';
  if (name === undefined) return "Save one field of it, array['field'], by itself.";
  return 'Save real numbers: array.astype(numpy.float64), or array.real of complex ones.';
}

function readShape(value: string, path: string): number[] {
  const sizes = /^\(\s*((?:\d+L?\s*,\s*)*(?:\d+L?)?)\s*\)$/.exec(value)?.[1];
  const shape = sizes
    ?.split(',')
    .map((size) => size.trim().replace('L', ''))
    .filter((size) => size !== '');
  // (3) is a number in Python, (3,) a tuple
  const tuple = shape?.length !== 1 || value.includes(',');
  if (!shape || !tuple || shape.length > maxDimensions || shape.some((size) => !Number.isSafeInteger(Number(size)))) {
    const expected = `a tuple of at most ${maxDimensions} sizes`;
    throw damaged('LETHE_NPY_DAMAGED', `${path} has an impossible shape`, expected, value.slice(0, 120));
  }
  return shape.map(Number);
}
