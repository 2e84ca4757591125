import fc from 'fast-check';
import fs from 'node:fs';
import path from 'node:path';
import { LetheError } from '../../../src/errors.js';
import { factsMetadata, readCheckpoint, writeCheckpoint } from '../../../src/store/contents/checkpoint.js';
import { sha256 } from '../../../src/store/disk/files.js';
import { readSafetensors, writeSafetensors, type Tensor } from '../../../src/store/formats/safetensors.js';
import type { DatasetFacts, ParameterTensor } from '../../../src/types.js';
import { temporaryFolder } from '../../helpers/temporary.js';

const folder = temporaryFolder();
const file = path.join(folder, 'some.safetensors');
/** Made with safetensors 0.8.0 for Python. */
const fixture = (name: string): string => path.join(import.meta.dirname, 'safetensors', `${name}.safetensors`);

async function failure(run: Promise<unknown>): Promise<LetheError> {
  try {
    await run;
  } catch (error) {
    if (error instanceof LetheError) return error;
    throw error;
  }
  throw new Error('was accepted');
}

function withHeader(header: string, dataBytes: number): Buffer {
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(Buffer.byteLength(header)));
  return Buffer.concat([length, Buffer.from(header), Buffer.alloc(dataBytes)]);
}

describe('safetensors files', () => {
  it('of the Python library are read', async () => {
    const { tensors, metadata } = await readSafetensors(fixture('weights'));
    expect(Object.fromEntries(tensors)).toEqual({
      'head.weight': { shape: [3, 4], data: Float32Array.from({ length: 12 }, (_, i) => i / 8) },
      'norm1.gamma': { shape: [3], data: Float32Array.of(1.5, -2.5, Infinity) },
      step: { shape: [], data: Float32Array.of(7) },
      empty: { shape: [0, 5], data: new Float32Array(0) },
    });
    expect(Object.fromEntries(metadata)).toEqual({ net: 'tiny', note: 'ü' });
  });

  it('come back as they were written, data at a multiple of 64', async () => {
    const size = fc.integer({ min: 0, max: 4 });
    const tensor = fc.array(size, { maxLength: 3 }).map((shape): Tensor => {
      const count = shape.reduce((product, n) => product * n, 1);
      return { shape, data: Float32Array.from({ length: count }, (_, i) => i - 0.5) };
    });
    const entries = fc.uniqueArray(fc.tuple(fc.string({ minLength: 1 }), tensor), { selector: ([name]) => name, maxLength: 5 });
    const property = fc.asyncProperty(entries, fc.string(), async (list, note) => {
      if (list.some(([name]) => name === '__proto__' || name === '__metadata__')) return;
      await writeSafetensors(file, list, { note });
      const back = await readSafetensors(file);
      expect(new Map([...back.tensors].sort())).toEqual(new Map([...list].sort()));
      expect(back.metadata).toEqual(new Map([['note', note]]));
      expect((8 + Number(fs.readFileSync(file).readBigUInt64LE())) % 64).toBe(0);
    });
    await fc.assert(property, { seed: 3, numRuns: 30 });
  });

  it('of halves are read as floats, wherever they lie', async () => {
    const { tensors: half } = await readSafetensors(fixture('half'));
    expect([...half.values()]).toEqual([{ shape: [3], data: new Float32Array(3) }]);
    const entry = (dtype: string, count: number, begin: number, end: number) => ({ dtype, shape: [count], data_offsets: [begin, end] });
    const header = JSON.stringify({ a: entry('F16', 3, 0, 6), b: entry('F32', 2, 6, 14), c: entry('BF16', 3, 14, 20) });
    const whole = withHeader(header, 20);
    const data = whole.subarray(whole.length - 20);
    [0x3c00, 0xc100, 0x7c00].forEach((bits, k) => data.writeUInt16LE(bits, 2 * k)); // 1, -2.5, infinity
    [0.1, -3].forEach((value, k) => data.writeFloatLE(value, 6 + 4 * k));
    [0x3f80, 0xc020, 0x0001].forEach((bits, k) => data.writeUInt16LE(bits, 14 + 2 * k)); // 1, -2.5, 2^-133
    fs.writeFileSync(file, whole);
    const { tensors } = await readSafetensors(file);
    expect([...tensors.values()].map((tensor) => [...tensor.data])).toEqual([
      [1, -2.5, Infinity],
      [Math.fround(0.1), -3],
      [1, -2.5, 2 ** -133],
    ]);
  });

  it('of other dtypes are refused with advice', async () => {
    fs.writeFileSync(file, withHeader('{"a":{"dtype":"F64","shape":[1],"data_offsets":[0,8]}}', 8));
    const error = await failure(readSafetensors(file));
    expect([error.code, error.exitCode]).toEqual(['LETHE_SAFETENSORS_UNSUPPORTED', 3]);
    expect(error.message).toMatch(/expected F32, F16 or BF16; received "F64".*tensor\.float\(\)/);
  });

  const one = (offsets: string, shape = '[2]') => `{"a":{"dtype":"F32","shape":${shape},"data_offsets":${offsets}}}`;
  test.each([
    ['no JSON', 'ab', 0],
    ['a list', '[]', 0],
    ['a tensor without a shape', '{"a":{"dtype":"F32","data_offsets":[0,8]}}', 8],
    ['a null tensor', '{"a":null}', 8],
    ['a negative size', one('[0,8]', '[-2]'), 8],
    ['a fractional size', one('[0,8]', '[2.5]'), 8],
    ['a size beyond 2^53', one('[0,8]', '[9007199254740993]'), 8],
    ['a product of sizes beyond 2^53', one('[0,8]', '[4294967296,4294967296,4294967296]'), 8],
    ['seventeen dimensions', one('[0,8]', JSON.stringify([...new Array<number>(16).fill(1), 2])), 8],
    ['offsets the wrong way round', one('[8,0]'), 8],
    ['offsets past the end', one('[0,8]'), 4],
    ['a rest', one('[0,8]'), 12],
    ['a hole', one('[4,12]'), 12],
    ['three offsets', one('[0,4,8]'), 8],
    ['an overlap', `{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"b":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}`, 8],
    ['metadata that is no text', `{"__metadata__":{"a":1}}`, 0],
    ['metadata that is no object', `{"__metadata__":"a"}`, 0],
  ])('with %s are refused', async (_name, header, dataBytes) => {
    fs.writeFileSync(file, withHeader(header, dataBytes));
    const error = await failure(readSafetensors(file));
    expect([error.code, error.exitCode]).toEqual(['LETHE_SAFETENSORS_DAMAGED', 3]);
  });

  it('cut anywhere are refused, and flipped bytes of the header never do worse than an error', async () => {
    const whole = fs.readFileSync(fixture('weights'));
    for (let length = 0; length < whole.length; length += 7) {
      fs.writeFileSync(file, whole.subarray(0, length));
      expect((await failure(readSafetensors(file))).code).toBe('LETHE_SAFETENSORS_DAMAGED');
    }
    const headerEnd = 8 + Number(whole.readBigUInt64LE());
    for (let at = 0; at < headerEnd; at += 3) {
      const flipped = Buffer.from(whole);
      flipped[at]! ^= 1 << (at % 8);
      fs.writeFileSync(file, flipped);
      try {
        await readSafetensors(file);
      } catch (error) {
        expect(error).toBeInstanceOf(LetheError);
      }
    }
  });
});

describe('checkpoints', () => {
  const layout: ParameterTensor[] = [
    { name: 'conv1.weight', shape: [1, 1, 2, 3], offset: 0, size: 6, trainable: true },
    { name: 'norm1.runningMean', shape: [3], offset: 6, size: 3, trainable: false },
  ];
  const parameters = Float32Array.from({ length: 9 }, (_, i) => i);

  it('come back as one buffer', async () => {
    await writeCheckpoint(file, layout, parameters, { method: 'dmm' });
    expect((await readCheckpoint(file, layout)).parameters).toEqual(parameters);
  });

  it('leave out the counters of norms, whatever their type, and say so', async () => {
    for (const [dtype, bytes] of [
      ['I64', 8],
      ['F32', 4],
    ] as const) {
      await writeCheckpoint(file, layout, parameters, {});
      const written = fs.readFileSync(file);
      const length = Number(written.readBigUInt64LE(0));
      const header = JSON.parse(written.toString('utf8', 8, 8 + length)) as Record<string, object>;
      const data = written.subarray(8 + length);
      header['bn.num_batches_tracked'] = { dtype, shape: [], data_offsets: [data.length, data.length + bytes] };
      fs.writeFileSync(file, Buffer.concat([withHeader(JSON.stringify(header), 0), data, Buffer.alloc(bytes, 1)]));
      const read = await readCheckpoint(file, layout);
      expect(read.parameters).toEqual(parameters);
      expect(read.notes.join()).toMatch(/1 counters \(bn\.num_batches_tracked, \.\.\.\) are left out/);
    }
  });

  it('of other names and layouts are refused with every difference and the way to rewrite them', async () => {
    const foreign = layout.map((tensor, i) => ({ ...tensor, name: `module.${i}.weight` }));
    await writeCheckpoint(file, foreign, parameters, {});
    const { message } = await failure(readCheckpoint(file, layout));
    for (const { name, shape } of layout) expect(message).toContain(`expected ${name} (${shape.join(', ')})`);
    for (const { name } of foreign) expect(message).toContain(`"${name}"`);
    expect(message).toMatch(/permute\(2, 3, 1, 0\)/);
  });

  it('of an ONNX file say which, and nothing that grows with it', () => {
    const net = { name: 'net', input: { height: 1, width: 1, channels: 1 }, numClasses: 2, layers: [], onnx: new Uint8Array(1e6) };
    const facts = { sha256: 'data', mean: [0], std: [1], classNames: ['a', 'b'] } as unknown as DatasetFacts;
    const metadata = factsMetadata(net, facts);
    expect(metadata['onnxSha256']).toBe(sha256(net.onnx));
    expect(JSON.stringify(metadata).length).toBeLessThan(300);
  });

  it('of another network are refused', async () => {
    await writeCheckpoint(file, layout, parameters, {});
    const wider = [layout[0]!, { ...layout[1]!, shape: [4], size: 4 }];
    const longer = [...layout, { ...layout[1]!, name: 'head.bias', offset: 9 }];
    for (const other of [wider, longer, layout.slice(0, 1)]) {
      const error = await failure(readCheckpoint(file, other));
      expect([error.code, error.exitCode]).toEqual(['LETHE_CHECKPOINT_MISMATCH', 3]);
    }
  });

  it('refuse shapes that do not fit', async () => {
    const tensor = { shape: [2], data: new Float32Array(3) };
    expect((await failure(writeSafetensors(file, [['a', tensor]]))).code).toBe('LETHE_SHAPE_MISMATCH');
  });
});
