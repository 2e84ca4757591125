import crypto from 'node:crypto';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import zlib from 'node:zlib';
import { type ArchiveSpec, fetchArchive, type FetchOptions } from '../../src/data/fetch.js';
import { type Faults, type FileServer, serveFile } from '../helpers/fileServer.js';
import { tar } from '../helpers/tar.js';

const sha256 = (bytes: Uint8Array): string => crypto.createHash('sha256').update(bytes).digest('hex');
const contents = [1, 2].map((k) => Buffer.from(Array.from({ length: 40000 }, (_, b) => (b * b * k + (b >> 7)) % 251)));
const files = contents.map((content, k) => ({ name: `set/part_${k}.bin`, content }));
const members = files.map(({ name, content }) => ({ name, bytes: content.length, sha256: sha256(content) }));
const archive = zlib.gzipSync(tar([{ name: 'set/', type: '5', content: '' }, { name: 'set/readme.html', content: 'hello' }, ...files]));
const quick = { maxAttempts: 3, backoffMs: 1 };

let directory: string;
let server: FileServer | undefined;

beforeEach(() => {
  directory = fs.mkdtempSync(path.join(os.tmpdir(), 'lethe-fetch-'));
});
afterEach(async () => {
  await server?.close();
  server = undefined;
  fs.rmSync(directory, { recursive: true });
});

async function fetchFrom(
  faults: Faults,
  options: Partial<FetchOptions> = {},
  change: Partial<ArchiveSpec> = {},
  served: Uint8Array = archive,
) {
  server = await serveFile(served, faults);
  const spec = { url: server.url, bytes: archive.length, sha256: sha256(archive), members, ...change };
  return fetchArchive(spec, { directory, ...quick, ...options });
}

function expectComplete(): void {
  expect(fs.readdirSync(directory).sort()).toEqual(['part_0.bin', 'part_1.bin']);
  contents.forEach((content, k) => {
    expect(Buffer.compare(fs.readFileSync(path.join(directory, `part_${k}.bin`)), content)).toBe(0);
  });
}

const partFile = (): string => path.join(directory, 'archive.tar.gz.part');

describe('fetchArchive', () => {
  it('downloads, checks and unpacks, and does nothing when all is there', async () => {
    const progress: number[] = [];
    const first = await fetchFrom({}, { onProgress: (done) => progress.push(done) });
    expect(first.downloaded).toBe(true);
    expectComplete();
    expect(progress.at(-1)).toBe(archive.length);
    expect(
      (await fetchArchive({ url: server!.url, bytes: archive.length, sha256: sha256(archive), members }, { directory })).downloaded,
    ).toBe(false);
    expect(server!.ranges).toEqual(['']);
  });

  it('keeps a file of the same name that is not of the archive, and loads nothing', async () => {
    const own = path.join(directory, 'part_1.bin');
    fs.writeFileSync(own, 'mine');
    await expect(fetchFrom({})).rejects.toMatchObject({
      code: 'LETHE_OUT_TAKEN',
      exitCode: 2,
      message: expect.stringContaining(own) as string,
    });
    expect(fs.readFileSync(own, 'utf8')).toBe('mine');
    expect(server!.ranges).toEqual([]);
  });

  const cutAt =
    (...positions: number[]) =>
    (done: number): void => {
      if (positions.includes(done)) server!.cut();
    };

  it('goes on where a connection was cut', async () => {
    await fetchFrom({ hangAfter: (request) => (request < 2 ? 5000 : undefined) }, { onProgress: cutAt(5000, 10000) });
    expectComplete();
    expect(server!.ranges).toEqual(['', 'bytes=5000-', 'bytes=10000-']);
  });

  it('goes on with the part file of an earlier process', async () => {
    fs.writeFileSync(partFile(), archive.subarray(0, 777));
    await fetchFrom({ chunked: true });
    expectComplete();
    expect(server!.ranges).toEqual(['bytes=777-']);
  });

  it('starts again when the server cannot resume', async () => {
    const notes: string[] = [];
    const hangAfter = (request: number) => (request < 1 ? 3000 : undefined);
    await fetchFrom({ withoutRange: true, hangAfter }, { note: (line) => notes.push(line), onProgress: cutAt(3000) });
    expectComplete();
    expect(notes.join()).toMatch(/trying again.*starting again/);
  });

  it('drops a silent connection and tries again', async () => {
    const notes: string[] = [];
    const hangAfter = (request: number) => (request === 0 ? 2000 : undefined);
    await fetchFrom({ hangAfter }, { stallMs: 300, note: (line) => notes.push(line) });
    expectComplete();
    expect(notes.join()).toMatch(/nothing arrived/);
  });

  it('tries again after server errors, and gives up after enough of them', async () => {
    await fetchFrom({ status: (request) => (request < 2 ? 503 : undefined) });
    expectComplete();
    await server!.close();
    fs.rmSync(path.join(directory, 'part_0.bin'));
    await expect(fetchFrom({ status: () => 500 })).rejects.toMatchObject({ code: 'LETHE_DOWNLOAD_FAILED', exitCode: 1 });
    expect(server!.ranges).toHaveLength(quick.maxAttempts);
  });

  it('does not try again when the file is not there', async () => {
    await expect(fetchFrom({ status: () => 404 })).rejects.toThrow(/LETHE_DOWNLOAD_FAILED.*404.*--url/);
    expect(server!.ranges).toHaveLength(1);
  });

  it('keeps the part file when interrupted', async () => {
    const controller = new AbortController();
    const onProgress = (): void => {
      controller.abort();
    };
    const fetching = fetchFrom({ hangAfter: () => 4000 }, { signal: controller.signal, onProgress });
    await expect(fetching).rejects.toMatchObject({ code: 'LETHE_DOWNLOAD_ABORTED', exitCode: 75 });
    expect(fs.statSync(partFile()).size).toBe(4000);
  });

  it.each<[string, RegExp, Faults, Partial<ArchiveSpec>, Uint8Array]>([
    ['a longer file', /LETHE_DOWNLOAD_SIZE/, {}, {}, Buffer.concat([archive, Buffer.alloc(9)])],
    ['a longer file of unknown length', /LETHE_DOWNLOAD_SIZE.*more/, { chunked: true }, {}, Buffer.concat([archive, Buffer.alloc(9)])],
    ['a shorter file', /LETHE_DOWNLOAD_SIZE/, {}, {}, archive.subarray(0, -9)],
    ['another file of the same size', /LETHE_DOWNLOAD_CHECKSUM/, {}, {}, Buffer.from(archive).fill(0, 100, 101)],
  ])('refuses %s and leaves nothing behind', async (_name, message, faults, change, served) => {
    await expect(fetchFrom(faults, {}, change, served)).rejects.toThrow(message);
    expect(fs.readdirSync(directory)).toEqual([]);
  });

  it('gives up on a server that trickles', async () => {
    const fetching = fetchFrom({ trickleMs: 5 }, { stallMs: 100 });
    await expect(fetching).rejects.toThrow(/LETHE_DOWNLOAD_FAILED.*next to nothing arrived for 0\.1 s/);
    expect(server!.ranges).toHaveLength(quick.maxAttempts);
  });

  it('follows redirects on the web, neither to files nor for ever', async () => {
    await fetchFrom({ redirect: (request) => (request < 3 ? '/elsewhere' : undefined) });
    expectComplete();
    fs.rmSync(path.join(directory, 'part_0.bin'));
    for (const [location, message, requests] of [
      ['file:///etc/passwd', /a redirect to file:/, 1],
      ['/round', /more than 10 redirects/, 11],
    ] as const) {
      await server!.close();
      await expect(fetchFrom({ redirect: () => location })).rejects.toThrow(message);
      expect(server!.ranges).toHaveLength(requests);
    }
    const spec = { url: 'file:///etc/passwd', bytes: 1, sha256: '', members };
    await expect(fetchArchive(spec, { directory })).rejects.toMatchObject({ code: 'LETHE_DOWNLOAD_URL', exitCode: 2 });
  });

  it.each(['symbolic link', 'second name'])('writes nothing through a %s', async (kind) => {
    const other = path.join(directory, 'other');
    fs.writeFileSync(other, 'kept');
    if (kind === 'second name') fs.linkSync(other, partFile());
    else fs.symlinkSync(other, partFile());
    await expect(fetchFrom({})).rejects.toMatchObject({ code: 'LETHE_DOWNLOAD_PART', exitCode: 2 });
    expect(fs.readFileSync(other, 'utf8')).toBe('kept');
    expect(server!.ranges).toEqual([]);
  });

  it('says that a proxy is not used, and goes on with what another program has fetched', async () => {
    process.env['HTTP_PROXY'] = 'http://proxy.example:3128';
    try {
      const notes: string[] = [];
      await expect(fetchFrom({ status: () => 404 }, { note: (line) => notes.push(line) })).rejects.toThrow(
        /HTTP_PROXY is set, but downloads do not use a proxy.*curl -fL -o \S+archive\.tar\.gz\.part http/,
      );
      expect(notes.join()).toMatch(/HTTP_PROXY is set/);
    } finally {
      delete process.env['HTTP_PROXY'];
    }
    await server!.close();
    fs.writeFileSync(partFile(), archive);
    await fetchFrom({});
    expectComplete();
    expect(server!.ranges).toEqual([]);
  });

  const packed = (...list: Parameters<typeof tar>[0]): [Partial<ArchiveSpec>, Buffer] => {
    const bytes = zlib.gzipSync(tar(list));
    return [{ bytes: bytes.length, sha256: sha256(bytes) }, bytes];
  };
  it.each<[string, RegExp, Partial<ArchiveSpec>, Uint8Array]>([
    ['a path that climbs', /LETHE_ARCHIVE_UNSAFE/, ...packed({ name: '../evil', content: 'x' }, ...files)],
    ['a link', /LETHE_ARCHIVE_UNSAFE/, ...packed({ name: 'set/part_0.bin', type: '2', content: '' })],
    ['a missing member', /LETHE_ARCHIVE_MEMBER.*part_1/, ...packed(files[0]!)],
    ['a member of another size', /LETHE_ARCHIVE_MEMBER.*part_0/, ...packed({ name: 'set/part_0.bin', content: 'short' })],
    [
      'a changed member',
      /LETHE_ARCHIVE_MEMBER.*part_0/,
      ...packed({ name: 'set/part_0.bin', content: Buffer.from(contents[0]!).fill(1, 9, 12) }),
    ],
  ])('refuses an archive with %s', async (_name, message, change, served) => {
    await expect(fetchFrom({}, {}, change, served)).rejects.toThrow(message);
    const left = fs.readdirSync(directory).filter((name) => name !== 'archive.tar.gz.part');
    expect(left.filter((name) => name !== 'part_0.bin')).toEqual([]);
    expect(fs.existsSync(path.join(directory, '..', 'evil'))).toBe(false);
  });
});
