import fs from 'node:fs';
import path from 'node:path';
import { inspectDirectory } from '../../src/data/inspect.js';
import { loadDataset } from '../../src/data/registry.js';
import { type NpyData, writeNpy } from '../../src/store/formats/npy.js';
import { temporaryFolder } from '../helpers/temporary.js';

const folder = temporaryFolder();
const [height, width, channels] = [3, 2, 3];
const imageBytes = height * width * channels;
let sets = 0;

/** Image k is filled with values k, k + 1, ..., labels 0 1 2 0 1 2 ... */
function images(count: number, first: number): Uint8Array {
  return Uint8Array.from({ length: count * imageBytes }, (_, i) => first + Math.floor(i / imageBytes) + (i % imageBytes));
}

type Files = Record<string, [number[], NpyData] | object>;

async function write(change: Files = {}): Promise<string> {
  const directory = path.join(folder, `set-${sets++}`);
  fs.mkdirSync(directory);
  const files: Files = {
    'train_images.npy': [[9, height, width, channels], images(9, 0)],
    'train_labels.npy': [[9], BigInt64Array.from({ length: 9 }, (_, i) => BigInt(i % 3))],
    'validation_images.npy': [[3, height, width, channels], images(3, 100)],
    'validation_labels.npy': [[3], Uint8Array.of(0, 1, 2)],
    ...change,
  };
  for (const [name, content] of Object.entries(files)) {
    const file = path.join(directory, name);
    if (Array.isArray(content)) await writeNpy(file, content[0] as number[], content[1] as NpyData);
    else fs.writeFileSync(file, JSON.stringify(content));
  }
  return directory;
}

const load = (directory: string, trainPerClass = 0, validationPerClass = 0) =>
  loadDataset({ name: 'npy', trainPerClass, validationPerClass }, { directory });

describe('images of one’s own', () => {
  it('come in as they lie in the files, normalised by their own statistics', async () => {
    const dataset = await load(await write());
    expect(dataset).toMatchObject({ name: 'npy', height, width, channels, numClasses: 3, numTrain: 9, numValidation: 3 });
    expect(dataset.classNames).toEqual(['class 0', 'class 1', 'class 2']);
    expect([...dataset.labels]).toEqual([0, 1, 2, 0, 1, 2, 0, 1, 2, 0, 1, 2]);
    expect([...dataset.pixels]).toEqual([...images(9, 0), ...images(3, 100)]);
    for (let c = 0; c < channels; c++) {
      const values = [...images(9, 0)].filter((_, i) => i % channels === c).map((value) => value / 255);
      const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
      const variance = values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / values.length;
      expect(dataset.mean[c]).toBeCloseTo(mean, 12);
      expect(dataset.std[c]).toBeCloseTo(Math.sqrt(variance), 12);
    }
  });

  it('are selected by class, in file order, and remember where they were', async () => {
    const dataset = await load(await write(), 2, 1);
    expect([...dataset.labels]).toEqual([0, 1, 2, 0, 1, 2, 0, 1, 2]);
    expect([...dataset.pixels]).toEqual([...images(6, 0), ...images(3, 100)]);
    const mixed = await load(await write({ 'train_labels.npy': [[9], Int32Array.of(0, 0, 0, 0, 1, 2, 1, 2, 0)] }), 2, 1);
    expect([...mixed.sourceIndices!]).toEqual([0, 1, 4, 5, 6, 7]);
    expect([...mixed.pixels.subarray(2 * imageBytes, 3 * imageBytes)]).toEqual([...images(1, 4)]);
  });

  it('take names and normalisation from meta.json, which is part of their identity; grey images have one channel', async () => {
    const meta = { description: 'ramps', classNames: ['a', 'b', 'c', 'd'], mean: [0.1, 0.2, 0.3], std: [1, 1, 1] };
    const [plain, described] = [await load(await write()), await load(await write({ 'meta.json': meta }))];
    expect(described).toMatchObject({ classNames: meta.classNames, numClasses: 4, mean: meta.mean, std: meta.std });
    expect(described.description).toMatch(/^ramps, 9 train and 3 validation/);
    expect(described.sha256).not.toBe(plain.sha256);
    expect((await load(await write())).sha256).toBe(plain.sha256);
    const side = { 'train_images.npy': [[9, 6, 3], images(9, 0)], 'validation_images.npy': [[3, 6, 3], images(3, 100)] } satisfies Files;
    expect(await load(await write(side))).toMatchObject({ height: 6, width: 3, channels: 1 });
  });

  it('are refused in words when something does not fit', async () => {
    const cases: [Files, RegExp][] = [
      [{ 'train_labels.npy': [[8], Uint8Array.from({ length: 8 })] }, /LETHE_DATA_SHAPE.*uint8 \(8, height.*\(9, 3, 2, 3\)/],
      [{ 'train_images.npy': [[9, 3, 2, 3], Float32Array.from(images(9, 0))] }, /LETHE_DATA_SHAPE.*float32 \(9, 3, 2, 3\)/],
      [{ 'validation_images.npy': [[3, 2, 3, 3], images(3, 0)] }, /LETHE_DATA_SHAPE.*differ.*\(9, 3, 2, 3\) and \(3, 2, 3, 3\)/],
      [{ 'train_labels.npy': [[9], Int32Array.from({ length: 9 }, (_, i) => i - 1)] }, /LETHE_DATA_LABEL.*-1 at position 0/],
      [{ 'train_labels.npy': [[9], new Float32Array(9).fill(0.5)] }, /LETHE_DATA_LABEL.*0.5 at position 0/],
      [{ 'train_labels.npy': [[9, 1], Int32Array.from({ length: 9 })] }, /LETHE_DATA_LABEL.*int32 of shape \(9, 1\).*reshape\(-1\)/],
      [{ 'train_labels.npy': [[9], Int32Array.from({ length: 9 }, () => 2 ** 31 - 1)] }, /LETHE_DATA_LABEL.*2147483647 at position 0/],
      [{ 'train_labels.npy': [[9], new Uint8Array(9)], 'validation_labels.npy': [[3], new Uint8Array(3)] }, /LETHE_DATA_CLASSES.*2 to 255/],
      [{ 'train_labels.npy': [[9], Int32Array.from({ length: 9 }, (_, i) => 247 + i)] }, /LETHE_DATA_LABEL.*0 to 254.*255 at position 8/],
      [{ 'meta.json': { mean: [125, 123, 114], std: [63, 62, 66] } }, /LETHE_DATA_META.*0\.\.255 scale.*Divide them by 255/],
      [{ 'meta.json': { mean: [-0.5, 0, 0], std: [1, 1, 1] } }, /LETHE_DATA_META.*mean from 0 to 1/],
      [{ 'meta.json': { mean: [0.5, 0.5, 0.5], std: [1e-6, 1, 1] } }, /LETHE_DATA_META.*std from 1\/255 to 1/],
      [{ 'meta.json': { classNames: ['a', 'b'] } }, /LETHE_DATA_LABEL.*0 to 1.*received 2/],
      [{ 'meta.json': { mean: [0.5] } }, /LETHE_DATA_META.*one of mean and std/],
      [{ 'meta.json': { mean: [0.5], std: [0.5] } }, /LETHE_DATA_META.*3 values each/],
      [{ 'meta.json': { classnames: ['a'] } }, /LETHE_DATA_META.*classnames/],
    ];
    for (const [change, expected] of cases) await expect(load(await write(change))).rejects.toThrow(expected);
    await expect(load(await write(), 4)).rejects.toThrow(/LETHE_DATA_TOO_FEW.*class 0.*4 per class; received 3/);
    await expect(load(folder)).rejects.toThrow(/LETHE_DATA_MISSING.*no train_images.npy, train_labels.npy/);
    await expect(loadDataset({ name: 'npy', trainPerClass: 0, validationPerClass: 0 })).rejects.toThrow(/LETHE_DATA_DIRECTORY.*--data/);
  });

  it('are refused with the channels first, with the transpose to call, unless so many channels are stated', async () => {
    const [train, validation] = [new Uint8Array(9 * 3 * 6 * 5), new Uint8Array(3 * 3 * 6 * 5)];
    const first = { 'train_images.npy': [[9, 3, 6, 5], train], 'validation_images.npy': [[3, 3, 6, 5], validation] } satisfies Files;
    const directory = await write(first);
    await expect(load(directory)).rejects.toThrow(/\(N, C, H, W\): save numpy\.transpose\(images, \(0, 2, 3, 1\)\)/);
    const { problems } = await inspectDirectory(directory);
    expect(problems.map(({ code }) => code)).toEqual(['LETHE_DATA_SHAPE']);
    const stated = { ...first, 'meta.json': { mean: [0, 0, 0, 0, 0], std: [1, 1, 1, 1, 1] } };
    expect(await load(await write(stated))).toMatchObject({ height: 3, width: 6, channels: 5 });
  });

  it('are described by data info, problems included', async () => {
    const directory = await write();
    const report = await inspectDirectory(directory);
    expect(report).toMatchObject({ layout: 'npy', problems: [], dataset: { numTrain: 9, pixelBytes: 12 * imageBytes } });
    expect(report.files.map(({ file }) => file)).toEqual([
      'train_images.npy',
      'train_labels.npy',
      'validation_images.npy',
      'validation_labels.npy',
    ]);
    expect(report.dataset!.classes[1]).toEqual({ name: 'class 1', train: 3, validation: 1 });
    fs.rmSync(path.join(directory, 'validation_labels.npy'));
    expect((await inspectDirectory(directory)).problems).toMatchObject([{ code: 'LETHE_DATA_MISSING' }]);
  });
});
