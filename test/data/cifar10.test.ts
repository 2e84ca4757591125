import crypto from 'node:crypto';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import zlib from 'node:zlib';
import { loadCifar10 } from '../../src/data/cifar10.js';
import { classCounts } from '../../src/data/dataset.js';
import { cifar10SmallDirectory, itWithData } from '../helpers/realData.js';

const all = { trainPerClass: 0, validationPerClass: 0 };
let directory: string;

beforeEach(() => {
  directory = fs.mkdtempSync(path.join(os.tmpdir(), 'lethe-cifar10-'));
});
afterEach(() => {
  fs.rmSync(directory, { recursive: true });
});

/** Record r has label labels[r]; byte b of its planes is (7 r + b) mod 251. */
function records(labels: number[]): Buffer {
  return Buffer.concat(labels.map((label, r) => Buffer.from([label, ...Array.from({ length: 3072 }, (_, b) => (7 * r + b) % 251)])));
}

function write(name: string, content: string | Uint8Array): void {
  fs.writeFileSync(path.join(directory, name), content);
}

function writeSet(train: number[] = [3, 1, 3, 0, 1, 3], test: number[] = [1, 3]): void {
  write('train.bin', records(train));
  write('test.bin', records(test));
}

describe('loadCifar10', () => {
  it('turns planes into NHWC, train first, and knows the classes and the normalisation', async () => {
    writeSet();
    const dataset = await loadCifar10(directory, all);
    expect(dataset).toMatchObject({ height: 32, width: 32, channels: 3, numClasses: 10, numTrain: 6, numValidation: 2 });
    expect([...dataset.labels]).toEqual([3, 1, 3, 0, 1, 3, 1, 3]);
    expect(dataset.classNames[3]).toBe('cat');
    const at = (point: number, y: number, x: number, c: number) => dataset.pixels[((point * 32 + y) * 32 + x) * 3 + c];
    expect(at(2, 5, 9, 1)).toBe((7 * 2 + 1024 + 5 * 32 + 9) % 251);
    expect(at(7, 31, 31, 2)).toBe((7 * 1 + 3071) % 251); // second test record
    expect([dataset.mean, dataset.std]).toEqual([
      [0.4914, 0.4822, 0.4465],
      [0.2023, 0.1994, 0.201],
    ]);
  });

  it('takes the first of every class in file order and remembers where they came from', async () => {
    writeSet([3, 1, 3, 0, 1, 3, 2, 4, 5, 6, 7, 8, 9], [9, 8, 7, 6, 5, 4, 3, 2, 1, 0, 0]);
    write('train_index.txt', Array.from({ length: 13 }, (_, r) => `${100 + 3 * r}\n`).join(''));
    write('batches.meta.txt', 'a\nb\nc\nd\ne\nf\ng\nh\ni\nj\n\n');
    const dataset = await loadCifar10(directory, { trainPerClass: 1, validationPerClass: 1 });
    expect([...dataset.labels]).toEqual([3, 1, 0, 2, 4, 5, 6, 7, 8, 9, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0]);
    expect([...dataset.sourceIndices!.subarray(0, 4)]).toEqual([100, 103, 109, 118]);
    expect(dataset.classNames[2]).toBe('c');
    await expect(loadCifar10(directory, { trainPerClass: 2, validationPerClass: 1 })).rejects.toThrow(/LETHE_DATA_TOO_FEW.*class 0/);
  });

  it('reads gzip and brotli to the same identity, prefers the plain file and says so', async () => {
    const [train, test] = [records([0, 1, 2]), records([3])];
    write('train.bin', train);
    write('test.bin', test);
    const plain = (await loadCifar10(directory, all)).sha256;
    write('train.bin.br', 'not read');
    const notes: string[] = [];
    expect((await loadCifar10(directory, all, (line) => notes.push(line))).sha256).toBe(plain);
    const few = expect.stringMatching(/holds 3 of the 50000 train images of CIFAR-10/) as string;
    expect(notes).toEqual(['train.bin is read, train.bin.br beside it is not', few]);
    write('train.bin.br', zlib.brotliCompressSync(train, { params: { [zlib.constants.BROTLI_PARAM_QUALITY]: 1 } }));
    write('test.bin.gz', zlib.gzipSync(test));
    fs.rmSync(path.join(directory, 'train.bin'));
    fs.rmSync(path.join(directory, 'test.bin'));
    expect((await loadCifar10(directory, all)).sha256).toBe(plain);
  });

  it.each<[string, RegExp, () => void]>([
    ['an empty folder', /LETHE_DATA_MISSING.*lethe data fetch/, () => undefined],
    [
      'the folder above',
      /LETHE_DATA_MISSING.*Give the folder of the files: \S*cifar-small/,
      () => {
        fs.mkdirSync(path.join(directory, 'cifar-small'));
        write(path.join('cifar-small', 'train.bin'), records([1]));
      },
    ],
    [
      'a missing half',
      /LETHE_DATA_MISSING.*no test\.bin/,
      () => {
        write('train.bin', records([1]));
      },
    ],
    [
      'a cut record',
      /LETHE_DATA_SIZE/,
      () => {
        writeSet();
        write('test.bin', records([1]).subarray(0, 3000));
      },
    ],
    [
      'an empty file',
      /LETHE_DATA_SIZE/,
      () => {
        writeSet();
        write('train.bin', '');
      },
    ],
    [
      'a short official batch',
      /LETHE_DATA_SIZE.*30730000/,
      () => {
        for (let k = 1; k <= 5; k++) write(`data_batch_${k}.bin`, records([1]));
        write('test_batch.bin', records([1]));
      },
    ],
    [
      'a label out of range',
      /LETHE_DATA_LABEL.*record 1 of the train/,
      () => {
        writeSet([3, 10]);
      },
    ],
    [
      'a damaged brotli stream',
      /LETHE_DATA_CORRUPT/,
      () => {
        writeSet();
        fs.rmSync(path.join(directory, 'train.bin'));
        write('train.bin.br', zlib.brotliCompressSync(records([1, 2])).subarray(0, -20));
      },
    ],
    [
      'a damaged gzip stream',
      /LETHE_DATA_CORRUPT/,
      () => {
        writeSet();
        fs.rmSync(path.join(directory, 'train.bin'));
        write('train.bin.gz', zlib.gzipSync(records([1, 2])).fill(0x55, 60, 70));
      },
    ],
    [
      'a bomb',
      /LETHE_DATA_SIZE/,
      () => {
        writeSet();
        fs.rmSync(path.join(directory, 'test.bin'));
        write('test.bin.gz', zlib.gzipSync(Buffer.alloc(3073 * 10001), { level: 1 }));
      },
    ],
    [
      'two layouts',
      /LETHE_DATA_AMBIGUOUS/,
      () => {
        writeSet();
        write('data_batch_1.bin', records([1]));
      },
    ],
    [
      'an index file of another set',
      /LETHE_DATA_INDEX/,
      () => {
        writeSet();
        write('train_index.txt', '1\n2\n');
      },
    ],
    [
      'an index twice',
      /LETHE_DATA_INDEX/,
      () => {
        writeSet();
        write('train_index.txt', '1 2 3 4 5 5');
      },
    ],
    [
      'too few class names',
      /LETHE_DATA_CLASSES/,
      () => {
        writeSet();
        write('batches.meta.txt', 'a\nb\n');
      },
    ],
  ])('refuses %s as damaged input', async (_name, message, prepare) => {
    prepare();
    await expect(loadCifar10(directory, all)).rejects.toThrow(message);
    await expect(loadCifar10(directory, all)).rejects.toMatchObject({ exitCode: 3 });
  });
});

describe('checksums and ends', () => {
  const sum = (bytes: Uint8Array): string => crypto.createHash('sha256').update(bytes).digest('hex');
  const compressed = (name: string, bytes: Uint8Array): void => {
    fs.rmSync(path.join(directory, name.replace(/\.(br|gz)$/, '')), { force: true });
    write(name, bytes);
  };

  it('what SHA256SUMS says must hold: of plain names, compressed ones and texts', async () => {
    writeSet([1, 2], [3]);
    const [train, test] = [records([1, 2]), records([3])];
    write('batches.meta.txt', 'a\nb\nc\nd\ne\nf\ng\nh\ni\nj\n');
    const names = fs.readFileSync(path.join(directory, 'batches.meta.txt'));
    const sums = `${sum(train)}  train.bin\n${sum(test)} *./test.bin\n${sum(names)}  batches.meta.txt\n`;
    write('SHA256SUMS', sums);
    compressed('train.bin.br', zlib.brotliCompressSync(train));
    const { sha256 } = await loadCifar10(directory, all);
    compressed('train.bin.br', zlib.brotliCompressSync(records([1, 3])));
    await expect(loadCifar10(directory, all)).rejects.toMatchObject({ code: 'LETHE_DATA_CHECKSUM', exitCode: 3 });
    compressed('train.bin.br', zlib.brotliCompressSync(train));
    write('batches.meta.txt', 'A\nb\nc\nd\ne\nf\ng\nh\ni\nj\n');
    await expect(loadCifar10(directory, all)).rejects.toThrow(/LETHE_DATA_CHECKSUM.*batches\.meta\.txt/);
    write('SHA256SUMS', `${sums}${sum(train)}  test.bin\n`);
    await expect(loadCifar10(directory, all)).rejects.toThrow(/LETHE_DATA_SUMS.*line 4/);
    fs.rmSync(path.join(directory, 'SHA256SUMS'));
    expect((await loadCifar10(directory, all)).sha256).toBe(sha256);
  });

  it.each(['br', 'gz'])('nothing may follow a compressed stream: %s', async (suffix) => {
    const train = records([1, 2]);
    const stream = suffix === 'br' ? zlib.brotliCompressSync(train) : zlib.gzipSync(train);
    for (const rest of [Buffer.from('more'), Buffer.alloc(9)]) {
      writeSet();
      compressed(`train.bin.${suffix}`, Buffer.concat([stream, rest]));
      await expect(loadCifar10(directory, all)).rejects.toMatchObject({ code: 'LETHE_DATA_CORRUPT', exitCode: 3 });
    }
  });
});

describe('CIFAR in other forms', () => {
  const place = (sizes: Record<string, number>): void => {
    for (const [name, size] of Object.entries(sizes)) {
      fs.mkdirSync(path.dirname(path.join(directory, name)), { recursive: true });
      write(name, Buffer.alloc(size));
    }
  };
  it.each<[string, RegExp, Record<string, number>]>([
    ['Python pickles', /CIFAR-10 as Python pickles.*python3 -c/, { data_batch_1: 0, test_batch: 0, 'batches.meta': 0 }],
    ['the folder above', /cd \S*cifar-10-batches-py && python3/, { 'cifar-10-batches-py/data_batch_1': 0 }],
    ['pickles of CIFAR-100', /CIFAR-100 as Python pickles/, { train: 0, test: 0, meta: 0 }],
    ['an archive', /an archive, cifar-10-binary\.tar\.gz\. Unpack it: tar -xf/, { 'cifar-10-binary.tar.gz': 0 }],
    ['records of two labels', /CIFAR-100.*two labels.*validation/, { 'train.bin': 3074 * 5, 'test.bin': 3074 * 2 }],
  ])('are named, with the command that helps: %s', async (_name, message, sizes) => {
    place(sizes);
    await expect(loadCifar10(directory, all)).rejects.toThrow(message);
    await expect(loadCifar10(directory, all)).rejects.toMatchObject({ code: 'LETHE_DATA_FOREIGN', exitCode: 3 });
  });

  it('beside the binary version do not matter', async () => {
    writeSet();
    place({ data_batch_1: 0, 'cifar-10-python.tar.gz': 0 });
    expect((await loadCifar10(directory, all)).numTrain).toBe(6);
  });
});

describe('real CIFAR-10', () => {
  itWithData('has the published pixels, labels and indices', async () => {
    const dataset = await loadCifar10(cifar10SmallDirectory, all);
    expect(dataset).toMatchObject({ numTrain: 5000, numValidation: 1000 });
    expect(classCounts(dataset).train).toEqual(new Array(10).fill(500));
    const wanted = /^([0-9a-f]{64}) {2}train\.bin$/m.exec(fs.readFileSync(path.join(cifar10SmallDirectory, 'SHA256SUMS'), 'utf8'))![1];
    const file = Buffer.alloc(5000 * 3073); // back to planes
    for (let i = 0; i < 5000; i++) {
      file[i * 3073] = dataset.labels[i]!;
      for (let b = 0; b < 3072; b++) file[i * 3073 + 1 + b] = dataset.pixels[i * 3072 + (b % 1024) * 3 + (b >> 10)]!;
    }
    expect(crypto.createHash('sha256').update(file).digest('hex')).toBe(wanted);
    expect(dataset.sourceIndices![4999]).toBe(20368);
  });
});
