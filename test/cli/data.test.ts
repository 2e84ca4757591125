import fs from 'node:fs';
import path from 'node:path';
import zlib from 'node:zlib';
import type { DirectoryReport } from '../../src/data/inspect.js';
import { serveFile } from '../helpers/fileServer.js';
import { cifar10SmallDirectory, itWithData } from '../helpers/realData.js';
import { temporaryFolder } from '../helpers/temporary.js';
import { lethe } from '../helpers/lethe.js';

const folder = temporaryFolder();

function writeSet(name: string, labels: number[]): string {
  const directory = path.join(folder, name);
  fs.mkdirSync(directory);
  const records = Buffer.concat(labels.map((label) => Buffer.alloc(3073, 7).fill(label, 0, 1)));
  fs.writeFileSync(path.join(directory, 'train.bin'), records);
  fs.writeFileSync(path.join(directory, 'test.bin.gz'), zlib.gzipSync(records.subarray(0, 3073)));
  return directory;
}

const info = (args: string[], environment = {}) => lethe(['data', 'info', ...args], environment);

describe('lethe data info', () => {
  it('prints files, classes and identity as one document', async () => {
    const directory = writeSet('good', [3, 3, 5]);
    const { code, stdout } = await info(['--json'], { LETHE_DATA: directory });
    expect(code).toBe(0);
    const report = JSON.parse(stdout) as DirectoryReport & { document: string; version: number };
    expect(report).toMatchObject({ document: 'lethe.data-info', version: 1, layout: 'single', problems: [] });
    expect(report.dataset).toMatchObject({ height: 32, width: 32, channels: 3, numTrain: 3, numValidation: 1 });
    expect(report.dataset!.classes[3]).toEqual({ name: 'cat', train: 2, validation: 1 });
    expect(report.files.map(({ file, compression, bytes }) => [file, compression, bytes])).toEqual([
      ['train.bin', 'none', 9219],
      ['test.bin.gz', 'gzip', 3073],
    ]);
  });

  it('reports what is wrong, with exit code 3 and what can still be said', async () => {
    const directory = writeSet('bad', [3, 11]);
    const { code, stdout } = await info([directory, '--json']);
    const report = JSON.parse(stdout) as DirectoryReport;
    expect(code).toBe(3);
    expect(report.problems.map((problem) => problem.code)).toEqual(['LETHE_DATA_LABEL']);
    expect(report.files).toHaveLength(2);
  });

  it('teaches in words too', async () => {
    const wrong = await info([path.join(folder, 'nowhere')]);
    expect(wrong).toMatchObject({
      code: 3,
      stdout: expect.stringMatching(/LETHE_DATA_MISSING.*Run: lethe data fetch cifar10 --to/) as string,
    });
    expect(await info([])).toMatchObject({ code: 2, stderr: expect.stringMatching(/LETHE_DATA_DIRECTORY.*lethe data info DIR/) as string });
  });

  itWithData('knows the real images', async () => {
    const { code, stdout } = await info([cifar10SmallDirectory]);
    expect(code).toBe(0);
    expect(stdout).toMatch(/train\.bin\.br +15365000 bytes {2}9121d04c31df2e93/);
    expect(stdout).toMatch(/all +5000 +1000/);
  });
});

describe('lethe data fetch', () => {
  it('refuses what is not the published archive, with exit code 3', async () => {
    const server = await serveFile(Buffer.from('not an archive'));
    const to = path.join(folder, 'fetched');
    const result = await lethe(['data', 'fetch', 'cifar10', '--to', to, '--url', server.url]);
    await server.close();
    expect(result).toMatchObject({ code: 3, stdout: '', stderr: expect.stringMatching(/LETHE_DOWNLOAD_SIZE.*170052171/) as string });
    expect(fs.readdirSync(to)).toEqual([]);
  });

  it('names what can be fetched', async () => {
    const result = await lethe(['data', 'fetch', 'cifar', '--to', folder]);
    expect(result).toMatchObject({ code: 2, stderr: expect.stringMatching(/LETHE_DATA_UNKNOWN.*Did you mean cifar10/) as string });
  });
});
