/** Datamodels files after a journey through other programs: columns and rows by their names, what cannot be read is named. */
import {
  compressionRegistry,
  CompressionType,
  type Data,
  Dictionary,
  type DataType,
  Field,
  Float32,
  Float64,
  Int32,
  Int64,
  LargeList,
  LargeUtf8,
  List,
  makeData,
  RecordBatch,
  RecordBatchFileWriter,
  Schema,
  Struct,
  Table,
  tableFromIPC,
  tableToIPC,
  Utf8,
  vectorFromArray,
} from 'apache-arrow';
import fs from 'node:fs';
import path from 'node:path';
import { encodeDatamodels, readDatamodelBatches, readDatamodels } from '../../../src/store/contents/datamodels.js';
import type { Datamodels } from '../../../src/types.js';
import { temporaryFolder } from '../../helpers/temporary.js';

const datamodels: Datamodels = {
  numTargets: 4,
  numTrain: 9,
  bias: Float32Array.of(1, NaN, 3, 4),
  lambda: Float32Array.of(0.5, NaN, 0.25, 0),
  gap: Float32Array.of(0.125, NaN, 0.25, 0),
  status: ['converged', 'nonfinite', 'unconverged', 'constant'],
  rowStart: Float64Array.of(0, 2, 2, 5, 5),
  indices: Int32Array.of(1, 8, 0, 4, 5),
  weights: Float32Array.of(0.5, -1, 2, 3, -4),
};
const sound = encodeDatamodels(datamodels);
const batch = tableFromIPC(sound).batches[0]!;
const folder = temporaryFolder();

type Columns = Record<string, Data>;
const original: Columns = Object.fromEntries(batch.schema.fields.map(({ name }) => [name, batch.getChild(name)!.data[0]!]));

/** The bytes of a file with these columns. */
function written(columns: Columns, metadata = batch.schema.metadata): Uint8Array {
  const fields = Object.entries(columns).map(([name, { type }]) => new Field(name, type, true));
  const schema = new Schema(fields, metadata);
  const struct = makeData({ type: new Struct(fields), length: 4, nullCount: 0, children: Object.values(columns) });
  return tableToIPC(new Table(schema, [new RecordBatch(schema, struct)]), 'file');
}

const without = (name: string): Columns => Object.fromEntries(Object.entries(original).filter(([other]) => other !== name));
const item = <T extends DataType>(type: T): Field<T> => new Field('item', type, true);
const ints = (values: number[]): Data => makeData({ type: new Int32(), data: Int32Array.from(values) });
const floats = (values: ArrayLike<number>): Data => makeData({ type: new Float32(), data: Float32Array.from(values) });
const text = (values: string[]): Data => vectorFromArray(values, new Utf8()).data[0]!;
const list = (child: Data, starts: number[]): Data =>
  makeData({ type: new List(item(child.type)), length: 4, nullCount: 0, valueOffsets: Int32Array.from(starts), child });

const wide: Columns = {
  target: makeData({ type: new Int64(), data: BigInt64Array.of(0n, 1n, 2n, 3n) }),
  bias: makeData({ type: new Float64(), data: Float64Array.from(datamodels.bias) }),
  status: vectorFromArray(datamodels.status, new LargeUtf8()).data[0]!,
  weights: makeData({
    type: new LargeList(item(new Float64())),
    length: 4,
    nullCount: 0,
    valueOffsets: BigInt64Array.of(0n, 2n, 2n, 5n, 5n),
    child: makeData({ type: new Float64(), data: Float64Array.from(datamodels.weights) }),
  }),
};

describe('are read', () => {
  // validity of rows 0, 2, 3
  const nullBias = makeData({ type: new Float32(), data: Float32Array.of(1, 0, 3, 4), nullCount: 1, nullBitmap: Uint8Array.of(0b1101) });
  const withoutCounts = without('numNonzero');
  it.each<[string, Columns]>([
    [
      'columns in another order, and one more',
      { note: text(['a', 'b', 'c', 'd']), ...Object.fromEntries(Object.entries(original).reverse()) },
    ],
    ['large lists, large texts and wide numbers', { ...original, ...wide }],
    ['null in place of NaN', { ...original, bias: nullBias }],
    ['without the column that counts', withoutCounts],
  ])('with %s', (_name, columns) => {
    expect(readDatamodels(written(columns))).toEqual(datamodels);
  });

  it('with rows in another order, each with its own values', async () => {
    const columns = {
      target: ints([3, 0, 2, 1]),
      bias: floats([4, 1, 3, NaN]),
      lambda: floats([0, 0.5, 0.25, NaN]),
      gap: floats([0, 0.125, 0.25, NaN]),
      status: text(['constant', 'converged', 'unconverged', 'nonfinite']),
      indices: list(ints([1, 8, 0, 4, 5]), [0, 0, 2, 5, 5]),
      weights: list(floats(datamodels.weights), [0, 0, 2, 5, 5]),
    };
    expect(readDatamodels(written(columns))).toEqual(datamodels);
    const file = path.join(folder, 'rows.arrow');
    fs.writeFileSync(file, written(columns));
    const batches: Datamodels[] = [];
    for await (const read of readDatamodelBatches(file)) batches.push(read);
    expect(batches).toEqual([datamodels]);
  });

  it('without metadata, where the number of train examples is known, with a word', async () => {
    const file = path.join(folder, 'lost.arrow');
    fs.writeFileSync(file, written(original, new Map()));
    const notes: string[] = [];
    const batches: Datamodels[] = [];
    for await (const read of readDatamodelBatches(file, { numTrain: 9, note: (line) => notes.push(line) })) batches.push(read);
    expect(batches).toEqual([datamodels]);
    expect(notes).toEqual([expect.stringMatching(/lost\.arrow has lost its metadata "train".*9 is taken/)]);
    expect(() => readDatamodels(written(original, new Map()))).toThrow(/LETHE_ARROW_UNSUPPORTED.*metadata "train"/);
  });
});

describe('are refused by name', () => {
  const some = (name: keyof Columns, data: Data): Columns => ({ ...original, [name]: data });
  const statuses = new Dictionary(new Utf8(), new Int32());
  it.each<[string, RegExp, Columns]>([
    ['a missing column', /one column "gap"; received "target", "bias"/, without('gap')],
    [
      'a status as categories',
      /column "status",.*expected text; received dictionary of text\. .*astype\(str\)/,
      some('status', vectorFromArray(datamodels.status, statuses).data[0]!),
    ],
    ['texts as numbers', /column "bias",.*expected float32; received text/, some('bias', text(['1', '2', '3', '4']))],
    [
      'numbers that lose digits',
      /column "bias",.*0\.1 in row 0/,
      some('bias', makeData({ type: new Float64(), data: Float64Array.of(0.1, NaN, 3, 4) })),
    ],
    [
      'targets beyond int32',
      /column "target",.*below 2\^31; received 2147483648/,
      some('target', makeData({ type: new Int64(), data: BigInt64Array.of(0n, 1n, 2n, 2n ** 31n) })),
    ],
    ['a target twice', /LETHE_DATAMODELS_INVALID.*every target from 0 on, once; received 2 twice/, some('target', ints([0, 2, 2, 1]))],
    ['a target that is left out', /received 4 among 4 rows/, some('target', ints([0, 1, 2, 4]))],
    [
      'indices that do not ascend',
      /target 0 .*ascending indices below 9; received 1 after 1/,
      some('indices', list(ints([1, 1, 0, 4, 5]), [0, 2, 2, 5, 5])),
    ],
    [
      'an index that is no train example',
      /target 2 .*below 9; received 9 after 4/,
      some('indices', list(ints([1, 8, 0, 4, 9]), [0, 2, 2, 5, 5])),
    ],
    [
      'other numbers of weights',
      /target 0 .*as many weights as indices/,
      some('weights', list(floats(datamodels.weights), [0, 1, 2, 5, 5])),
    ],
    ['a count that is not theirs', /target 3 .*numNonzero 1/, some('numNonzero', ints([2, 0, 3, 1]))],
    [
      'a weight that is not finite',
      /target 2 .*finite numbers, as its status is unconverged/,
      some('weights', list(floats([0.5, -1, 2, Infinity, -4]), [0, 2, 2, 5, 5])),
    ],
    ['a status of its own', /target 1 .*received "solved"/, some('status', text(['converged', 'solved', 'unconverged', 'constant']))],
    [
      'offsets that go back',
      /ascending offsets of at most 5; received 1 after 2/,
      some('indices', list(ints([1, 8, 0, 4, 5]), [0, 2, 1, 5, 5])),
    ],
  ])('with %s', (_name, message, columns) => {
    expect(() => readDatamodels(written(columns), 'a.arrow')).toThrow(message);
    expect(() => readDatamodels(written(columns))).not.toThrow(/fit again/);
  });

  it('compressed, as a stream, in other formats, cut anywhere', () => {
    // an LZ4 frame of one stored block
    const mark = Buffer.from('04224d18604082', 'hex');
    const frame = (bytes: Uint8Array): Uint8Array => {
      const length = Buffer.alloc(4);
      length.writeUInt32LE((0x80000000 + bytes.length) >>> 0);
      return Buffer.concat([mark, length, bytes, Buffer.alloc(4)]);
    };
    compressionRegistry.set(CompressionType.LZ4_FRAME, { encode: frame, decode: (bytes) => bytes.subarray(11, -4) });
    const writer = new RecordBatchFileWriter({ compressionType: CompressionType.LZ4_FRAME });
    writer.writeAll(tableFromIPC(sound).batches);
    const action = /LETHE_ARROW_UNSUPPORTED.*compression LZ4\. Write it again with compression='uncompressed'/;
    expect(() => readDatamodels(writer.toUint8Array(true))).toThrow(action);
    expect(() => readDatamodels(tableToIPC(tableFromIPC(sound), 'stream'))).toThrow(/an Arrow stream\. Write the file format/);
    expect(() => readDatamodels(Buffer.from('PAR1 and more than eighteen bytes'))).toThrow(/a Parquet file/);
    for (let length = 0; length < sound.length; length += 13) {
      expect(() => readDatamodels(sound.subarray(0, length))).toThrow(
        expect.objectContaining({ code: 'LETHE_ARROW_DAMAGED', exitCode: 3 }) as Error,
      );
    }
  });
});

it('a flipped bit in what the file says about itself never makes datamodels that contradict themselves', () => {
  const footer = sound.length - 10 - Buffer.from(sound).readInt32LE(sound.length - 10);
  const metadata = 16 + Buffer.from(sound).readInt32LE(12);
  const places = [...sound.keys()].filter((at) => at < metadata || at >= footer);
  let refused = 0;
  for (const at of places) {
    for (let bit = 0; bit < 8; bit++) {
      const bytes = Uint8Array.from(sound);
      bytes[at]! ^= 1 << bit;
      let read: Datamodels | undefined;
      try {
        read = readDatamodels(bytes);
      } catch (error) {
        expect(error).toMatchObject({ exitCode: 3 });
        refused++;
      }
      // the number of train examples has no second witness
      if (read) expect([at, bit, { ...read, numTrain: 9 }]).toEqual([at, bit, datamodels]);
    }
  }
  expect(refused).toBeGreaterThan(3 * places.length);
});
