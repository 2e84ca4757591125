import fc from 'fast-check';
import { readMasks, encodeMasks } from '../../../src/store/contents/masksFile.js';
import { encodeOutputs, readOutputs, type ModelOutputs } from '../../../src/store/contents/outputs.js';

function sample(rows: number, numPoints: number, numClasses: number, numParameters: number): ModelOutputs {
  const fill = (length: number, from: number): Float32Array =>
    Float32Array.from({ length }, (_, i) => Math.fround(Math.sin(i + from) * 10));
  return {
    numPoints,
    numClasses,
    models: Int32Array.from({ length: rows }, (_, i) => 250 + i),
    status: Array.from({ length: rows }, (_, i) => (i % 3 === 1 ? 'diverged' : 'trained')),
    snapshots: Int32Array.from({ length: rows }, (_, i) => i % 2),
    parameters: fill(rows * numParameters, 1),
    logits: fill(rows * numPoints * numClasses, 2),
    margins: fill(rows * numPoints, 3),
    predicted: Uint8Array.from({ length: rows * numPoints }, (_, i) => i % numClasses),
  };
}

test('outputs come back as they were, for any number of record batches, with equal bytes for equal content', () => {
  const sizes = fc.tuple(
    fc.integer({ min: 1, max: 9 }),
    fc.integer({ min: 1, max: 7 }),
    fc.integer({ min: 1, max: 5 }),
    fc.integer({ min: 1, max: 11 }),
  );
  fc.assert(
    fc.property(sizes, fc.constantFrom(1, 300, 1000, undefined), ([rows, points, classes, parameters], batchBytes) => {
      const outputs = sample(rows, points, classes, parameters);
      outputs.margins![0] = NaN;
      const bytes = encodeOutputs(outputs, batchBytes);
      expect(Buffer.compare(bytes, encodeOutputs(sample(rows, points, classes, parameters), batchBytes))).not.toBe(0);
      expect(Buffer.compare(bytes, encodeOutputs({ ...outputs }, batchBytes))).toBe(0);
      const read = readOutputs(bytes);
      expect(read).toMatchObject({ numRows: rows, numPoints: points, numClasses: classes });
      expect(read.models).toEqual(outputs.models);
      expect(read.status).toEqual(outputs.status);
      expect(read.snapshots).toEqual(outputs.snapshots);
      for (const name of ['parameters', 'logits', 'margins', 'predicted'] as const) {
        expect(read[name]!.flat()).toEqual(outputs[name]);
        expect(read[name]!.length).toBe(rows);
        const width = read[name]!.width;
        expect(read[name]!.row(rows - 1)).toEqual(outputs[name]!.slice((rows - 1) * width));
      }
    }),
    { numRuns: 60 },
  );
});

test('matrices are views into the bytes of the file', () => {
  const bytes = encodeOutputs(sample(20, 30, 10, 100));
  const read = readOutputs(bytes);
  for (const rows of [read.logits!, read.margins!, read.predicted!, read.parameters!]) expect(rows.flat().buffer).toBe(bytes.buffer);
});

test('optional columns stay absent, an empty shard is a shard, wrong lengths are refused', () => {
  const outputs: ModelOutputs = {
    numPoints: 2,
    numClasses: 2,
    models: Int32Array.of(4),
    status: ['trained'],
    margins: Float32Array.of(1, 2),
  };
  expect(Object.keys(readOutputs(encodeOutputs(outputs))).sort()).toEqual([
    'margins',
    'models',
    'numClasses',
    'numPoints',
    'numRows',
    'status',
  ]);
  const empty = readOutputs(encodeOutputs({ ...outputs, models: new Int32Array(0), status: [], margins: new Float32Array(0) }));
  expect([empty.numRows, empty.margins!.length, empty.margins!.flat().length]).toEqual([0, 0, 0]);
  expect(() => encodeOutputs({ ...outputs, margins: new Float32Array(3) })).toThrow(
    /LETHE_SHAPE_MISMATCH: margins.*expected 2 values; received 3/,
  );
  expect(() => encodeOutputs({ ...outputs, status: [] })).toThrow(/status/);
});

test('masks', () => {
  for (const numTrain of [1, 8, 13]) {
    const bits = Uint8Array.from({ length: 5 * Math.ceil(numTrain / 8) }, (_, i) => (i * 37) & 255);
    const masks = { numModels: 5, numTrain, bits };
    expect(readMasks(encodeMasks(masks))).toEqual(masks);
    expect(readMasks(encodeMasks(masks, 3))).toEqual(masks);
    const bytes = encodeMasks(masks);
    expect(readMasks(bytes).bits.buffer).toBe(bytes.buffer);
  }
  expect(() => readMasks(encodeOutputs(sample(1, 1, 1, 1)))).toThrow(/LETHE_ARROW_DAMAGED.*metadata train/);
  expect(() => readOutputs(Buffer.from('no arrow at all'))).toThrow(/LETHE_ARROW_DAMAGED/);
});
