/** Readers of files from strangers, each with sound files of its own. What is accepted must hold together. */
import fs from 'node:fs/promises';
import path from 'node:path';
import zlib from 'node:zlib';
import { loadCifar10 } from '../../src/data/cifar10.js';
import { loadNpyImages } from '../../src/data/npyImages.js';
import { readTar } from '../../src/data/tar.js';
import { encodeDatamodels, readDatamodelBatches, readDatamodels } from '../../src/store/contents/datamodels.js';
import { requireRecordedDatamodels } from '../../src/store/folders/fitFolder.js';
import { decodeJson, encodeJson } from '../../src/store/disk/json.js';
import { decodeManifest, encodeManifest } from '../../src/store/folders/manifest.js';
import { encodeMasks, readMasks } from '../../src/store/contents/masksFile.js';
import { encodeNpy, readNpy } from '../../src/store/formats/npy.js';
import { encodeOutputs, readOutputs } from '../../src/store/contents/outputs.js';
import { readSafetensors, writeSafetensors } from '../../src/store/formats/safetensors.js';
import type { Datamodels } from '../../src/types.js';
import { tar } from './tar.js';

export interface Reader {
  sound: Uint8Array[];
  read: (bytes: Uint8Array) => Promise<unknown>;
}

const datamodels: Datamodels = {
  numTargets: 40,
  numTrain: 90,
  bias: Float32Array.from({ length: 40 }, (_, k) => k / 8),
  lambda: new Float32Array(40).fill(0.5),
  gap: new Float32Array(40).fill(1e-5),
  status: Array.from({ length: 40 }, (_, k) => (k % 9 === 0 ? 'unconverged' : 'converged')),
  rowStart: Float64Array.from({ length: 41 }, (_, k) => 3 * k),
  indices: Int32Array.from({ length: 120 }, (_, k) => (k % 3) * 30 + (k % 7)),
  weights: Float32Array.from({ length: 120 }, (_, k) => Math.sin(k)),
};

function requireConsistent(read: Datamodels): void {
  const ends = [read.rowStart.at(-1), read.indices.length, read.weights.length];
  if (new Set(ends).size !== 1 || read.bias.length !== read.numTargets) throw new Error(`inconsistent: ${ends.join()}`);
  encodeDatamodels(read);
}

const outputs = (rows: number) =>
  encodeOutputs(
    {
      numPoints: 5,
      numClasses: 3,
      models: Int32Array.from({ length: rows }, (_, k) => k),
      status: Array.from({ length: rows }, () => 'trained'),
      logits: new Float32Array(rows * 15).fill(0.5),
      predicted: new Uint8Array(rows * 5),
    },
    700,
  );

/** `count` records of CIFAR-10. */
function records(count: number): Buffer {
  return Buffer.from(Array.from({ length: 3073 * count }, (_, k) => (k % 3073 === 0 ? (k / 3073) % 10 : (k * k) % 253)));
}

async function safetensors(folder: string): Promise<Reader> {
  const file = path.join(folder, 'a.safetensors');
  await writeSafetensors(
    file,
    [
      ['a', { shape: [2, 3], data: new Float32Array(6) }],
      ['b', { shape: [], data: Float32Array.of(7) }],
    ],
    { net: 'tiny' },
  );
  const sound = [await fs.readFile(file)];
  return {
    sound,
    async read(bytes) {
      await fs.writeFile(file, bytes);
      for (const { shape, data } of (await readSafetensors(file)).tensors.values()) {
        if (shape.reduce((product, size) => product * size, 1) !== data.length) throw new Error('inconsistent');
      }
    },
  };
}

/** The data set in a folder of which one file is damaged. */
async function inFolder(folder: string, files: Record<string, Uint8Array>, load: (folder: string) => Promise<unknown>): Promise<Reader> {
  for (const [name, bytes] of Object.entries(files)) await fs.writeFile(path.join(folder, name), bytes);
  const names = Object.keys(files);
  let next = 0;
  return {
    sound: names.map((name) => files[name]!),
    async read(bytes) {
      const name = names[next++ % names.length]!;
      await fs.writeFile(path.join(folder, name), bytes);
      try {
        await load(folder);
      } finally {
        await fs.writeFile(path.join(folder, name), files[name]!);
      }
    },
  };
}

const selection = { trainPerClass: 0, validationPerClass: 0 };
const sum = 'ab'.repeat(32);

export const readers: Record<string, (folder: string) => Promise<Reader>> = {
  datamodels(folder) {
    const file = path.join(folder, 'a.arrow');
    return Promise.resolve({
      sound: [encodeDatamodels(datamodels), encodeDatamodels(datamodels, 900)],
      async read(bytes) {
        await fs.writeFile(file, bytes);
        for await (const batch of readDatamodelBatches(file)) requireConsistent(batch);
        requireConsistent(readDatamodels(bytes));
      },
    });
  },
  outputs: () => Promise.resolve({ sound: [outputs(4), outputs(40)], read: (bytes) => Promise.resolve(readOutputs(bytes)) }),
  masks: () =>
    Promise.resolve({
      sound: [encodeMasks({ numModels: 9, numTrain: 30, bits: new Uint8Array(36).fill(0xa5) })],
      read: (bytes) => Promise.resolve(readMasks(bytes)),
    }),
  safetensors,
  cifar: (folder) =>
    inFolder(folder, { 'train.bin.br': zlib.brotliCompressSync(records(20)), 'test.bin.gz': zlib.gzipSync(records(10)) }, (directory) =>
      loadCifar10(directory, selection),
    ),
  images: (folder) =>
    inFolder(
      folder,
      {
        'train_images.npy': encodeNpy([4, 2, 2, 3], new Uint8Array(48).fill(7)),
        'train_labels.npy': encodeNpy([4], Int32Array.of(0, 1, 0, 1)),
        'validation_images.npy': encodeNpy([2, 2, 2, 3], new Uint8Array(24)),
        'validation_labels.npy': encodeNpy([2], Int32Array.of(1, 0)),
        'meta.json': encodeJson({ classNames: ['a', 'b'], mean: [0, 0, 0], std: [1, 1, 1] }),
      },
      (directory) => loadNpyImages(directory, selection),
    ),
  npy(folder) {
    const file = path.join(folder, 'a.npy');
    return Promise.resolve({
      sound: [encodeNpy([3, 4], new Float32Array(12)), encodeNpy([5], Int32Array.of(1, 2, 3, 4, 5))],
      async read(bytes) {
        await fs.writeFile(file, bytes);
        await readNpy(file);
      },
    });
  },
  tar: () =>
    Promise.resolve({
      sound: [
        tar([
          { name: 'a/', type: '5', content: '' },
          { name: 'a/b.bin', content: Buffer.alloc(700, 1) },
        ]),
      ],
      async read(bytes) {
        let seen = 0;
        for await (const { content } of readTar(chunks(bytes), 1 << 20)) for await (const part of content) seen += part.length;
        if (seen > bytes.length) throw new Error('more than there is');
      },
    }),
  async json(folder) {
    const file = path.join(folder, 'datamodels.arrow');
    await fs.writeFile(file, 'something');
    const found = { bytes: 9, sha256: '3fc9b689459d738f8c88a3a48aa9e33542016b7a4052e001aaa536fca74813cb' };
    const record = { command: { a: [1, 'b', NaN], c: { d: null } }, summary: { threads: 2 }, seconds: 1, datamodels: found };
    return {
      sound: [encodeJson(record), encodeManifest({ bytes: 9, sha256: sum, planHash: sum, rows: 3 })],
      async read(bytes) {
        decodeManifest(bytes);
        await fs.writeFile(path.join(folder, 'fit.json'), bytes);
        await requireRecordedDatamodels(file).catch((error: unknown) => {
          if (!String(error).includes('LETHE_DATAMODELS_CHANGED')) throw error;
        });
        encodeJson(decodeJson(bytes, 'a document'));
      },
    };
  },
};

// eslint-disable-next-line @typescript-eslint/require-await -- streams are asynchronous
async function* chunks(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += 500) yield bytes.subarray(at, at + 500);
}
