import { spawnSync } from 'node:child_process';
import { jest } from '@jest/globals';
import fs from 'node:fs';
import path from 'node:path';
import { linkFile, publishFile, publishNew, removeStaleTemporaries } from '../../../src/store/disk/publish.js';
import { processSpace } from '../../../src/store/disk/temporaries.js';
import { compiled } from '../../helpers/compiled.js';
import { temporaryFolder } from '../../helpers/temporary.js';

const folder = temporaryFolder();

test('a failing writer leaves the old file and no temporary one', async () => {
  const file = path.join(folder, 'kept', 'deep', 'file.bin');
  await publishFile(file, Buffer.from('old'));
  const failing = async function* (): AsyncGenerator<Uint8Array> {
    yield Buffer.from('new');
    await Promise.resolve();
    throw new TypeError('no more');
  };
  await expect(publishFile(file, failing())).rejects.toThrow(TypeError);
  expect(fs.readFileSync(file, 'utf8')).toBe('old');
  expect(fs.readdirSync(path.dirname(file))).toEqual(['file.bin']);
  await expect(publishFile(path.join(file, 'below'), Buffer.of(1))).rejects.toMatchObject({ code: 'LETHE_FILE_UNWRITABLE', exitCode: 4 });
});

test('a file gets second names from many at once, also over an old file, and never is absent', async () => {
  const [from, to] = ['from.bin', 'to.bin'].map((name) => path.join(folder, 'linked', name)) as [string, string];
  await publishFile(from, Buffer.from('new'));
  await publishFile(to, Buffer.from('old'));
  let absent = 0;
  const watch = setInterval(() => (absent += fs.existsSync(to) ? 0 : 1), 0);
  const linked = await Promise.all(Array.from({ length: 20 }, () => linkFile(from, to)));
  clearInterval(watch);
  expect(new Set(linked)).toEqual(new Set([true]));
  expect(absent).toBe(0);
  expect(fs.readFileSync(to, 'utf8')).toBe('new');
  expect(fs.readdirSync(path.dirname(to)).sort()).toEqual(['from.bin', 'to.bin']);
});

test('the free space is checked before work, and the message has path, need and free', async () => {
  const file = path.join(folder, 'huge.bin');
  const never = async function* (): AsyncGenerator<Uint8Array> {
    yield await Promise.reject<Uint8Array>(new Error('written'));
  };
  const promise = publishFile(file, never(), 2 ** 60);
  await expect(promise).rejects.toMatchObject({ code: 'LETHE_DISK_FULL', exitCode: 4 });
  await expect(promise).rejects.toThrow(/huge\.bin; expected 1048576 TiB free; received [\d.]+ \wiB free/);
});

test('temporary files of dead processes go, those of living ones, of other machines and of other process spaces stay', async () => {
  const root = path.join(folder, 'temporaries');
  fs.mkdirSync(path.join(root, 'deep'), { recursive: true });
  const dead = spawnSync(process.execPath, ['-e', '']).pid;
  const touch = (name: string, ageMs = 0): void => {
    fs.writeFileSync(path.join(root, name), '');
    fs.utimesSync(path.join(root, name), new Date(), new Date(Date.now() - ageMs));
  };
  const day = 25 * 3600_000;
  touch(`deep/.a.${processSpace}-${dead}-0123456789ab.tmp`);
  touch(`.a.${processSpace}-${process.pid}-0123456789ab.tmp`);
  touch(`.old.${processSpace}-1-0123456789ab.tmp`, day);
  touch(`.old.elsewhere-6-0123456789ab.tmp`, day);
  const kept = [`.a.${processSpace}-1-0123456789ab.tmp`, `.a.elsewhere-${dead}-0123456789ab.tmp`, 'precious.tmp'];
  for (const name of kept) touch(name);
  expect(await removeStaleTemporaries(root)).toBe(4);
  expect(fs.readdirSync(root).sort()).toEqual([...kept, 'deep'].sort());
});

const canUnshare = spawnSync('unshare', ['--pid', '--fork', 'true']).status === 0;
if (!canUnshare) console.warn('no rights to make a process namespace: the test of it does not run here');

(canUnshare ? test : test.skip)('a process that counts its numbers elsewhere leaves the temporary file of one at work alone', async () => {
  const root = path.join(folder, 'spaces');
  const publish = path.join(compiled(), 'store', 'disk', 'publish.js');
  const script = `const { removeStaleTemporaries } = await import(process.argv[1]);
    console.log(await removeStaleTemporaries(process.argv[2]));`;
  let removed = '';
  await publishFile(
    path.join(root, 'file.bin'),
    (function* () {
      yield Buffer.from('1');
      const node = [process.execPath, '--input-type=module', '-e', script, publish, root];
      removed = spawnSync('unshare', ['--pid', '--fork', ...node], { encoding: 'utf8' }).stdout;
    })(),
  );
  expect(removed.trim()).toBe('0');
  expect(fs.readFileSync(path.join(root, 'file.bin'), 'utf8')).toBe('1');
});

test('any name that the file system allows can be published', async () => {
  for (const name of ['x'.repeat(255), 'ü'.repeat(127), '.'.repeat(3)]) {
    await publishFile(path.join(folder, 'names', name), Buffer.from(name));
    expect(fs.readFileSync(path.join(folder, 'names', name), 'utf8')).toBe(name);
  }
  const tooLong = publishFile(path.join(folder, 'names', 'x'.repeat(256)), Buffer.of(1));
  await expect(tooLong).rejects.toMatchObject({ code: 'LETHE_FILE_UNWRITABLE', action: 'Choose a shorter name.' });
});

test('of many who publish a new name at once one does', async () => {
  const file = path.join(folder, 'new', 'file');
  const won = await Promise.all(Array.from({ length: 20 }, (_, k) => publishNew(file, Buffer.of(k))));
  expect(won.filter(Boolean)).toHaveLength(1);
  expect(fs.readFileSync(file)).toEqual(Buffer.of(won.indexOf(true)));
  expect(fs.readdirSync(path.dirname(file))).toEqual(['file']);
});

describe('a file system', () => {
  const promises = fs.promises;
  const failing = (code: string, syscall: string) => () =>
    Promise.reject(Object.assign(new Error(`${code}: ${syscall}`), { code, syscall }));
  afterEach(() => {
    jest.restoreAllMocks();
  });

  test('that knows no fsync of folders is worth one warning', async () => {
    const warned = jest.spyOn(process, 'emitWarning').mockReturnValue();
    const open = promises.open.bind(promises);
    jest.spyOn(promises, 'open').mockImplementation(async (...args) => {
      const handle = await open(...args);
      if ((await handle.stat()).isDirectory()) handle.sync = failing('EINVAL', 'fsync');
      return handle;
    });
    for (const name of ['one', 'two']) await publishFile(path.join(folder, 'unsynced', name), Buffer.from(name));
    expect(warned.mock.calls.map(([text]) => text)).toEqual([expect.stringContaining('fsync of a folder: EINVAL')]);
  });

  test('that tells no sizes is not full', async () => {
    const sizes = await promises.statfs(folder);
    jest.spyOn(promises, 'statfs').mockResolvedValue(Object.assign(sizes, { blocks: 0, bfree: 0, bavail: 0 }));
    await expect(publishFile(path.join(folder, 'unsized'), Buffer.of(1))).resolves.toMatchObject({ bytes: 1 });
  });

  test('that fails is named, with the path and the way on', async () => {
    jest.spyOn(promises, 'statfs').mockImplementation(failing('EIO', 'statfs'));
    const ended = publishFile(path.join(folder, 'unread'), Buffer.of(1));
    await expect(ended).rejects.toMatchObject({ exitCode: 4, code: 'LETHE_FILE_UNREADABLE' });
    await expect(ended).rejects.toThrow(/cannot read .*; received EIO: statfs. The disk .* fails: see dmesg/);
  });
});

const mount = path.join(folder, 'small-disk');
const canMount = spawnSync('unshare', ['-m', 'mount', '-t', 'tmpfs', 'tmpfs', folder]).status === 0;
if (!canMount) console.warn('no rights to mount a small tmpfs: the full-disk test does not run here');

(canMount ? test : test.skip)(
  'a disk that fills up or runs out of inodes while writing: temporary file removed, old files intact, work resumes',
  () => {
    fs.mkdirSync(mount);
    const script = `
    import fs from 'node:fs';
    const { publishFile } = await import(process.argv[1]);
    await publishFile('first', Buffer.alloc(100000));
    const stream = async function* () { for (let i = 0; i < 100; i++) yield Buffer.alloc(100000); };
    let code = 'published';
    try { await publishFile('second', stream()); } catch (error) { code = error.code; }
    for (let i = 0; code === 'LETHE_DISK_FULL' && i < 100; i++) {
      try { await publishFile('small' + i, Buffer.alloc(1)); } catch (error) { code += ' ' + error.code; break; }
    }
    const names = fs.readdirSync('.');
    for (const name of names) if (name.startsWith('small')) fs.rmSync(name);
    await publishFile('third', Buffer.alloc(3));
    console.log(code, names.filter((name) => !name.startsWith('small')).join());`;
    const shell = `mount -t tmpfs -o size=3m,nr_inodes=20 tmpfs "$1" && cd "$1" && exec "$2" --input-type=module -e "$3" "$4"`;
    const publish = path.join(compiled(), 'store', 'disk', 'publish.js');
    const child = spawnSync('unshare', ['-m', 'sh', '-c', shell, 'sh', mount, process.execPath, script, publish], { encoding: 'utf8' });
    expect(child.stderr).toBe('');
    expect(child.stdout.trim()).toBe('LETHE_DISK_FULL LETHE_DISK_FULL first');
  },
);
