import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { linkFile, publishFile, removeStaleTemporaries } from '../../src/store/publish.js';
import { compiled } from '../helpers/compiled.js';
import { temporaryFolder } from '../helpers/temporary.js';

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
  await expect(promise).rejects.toThrow(/huge\.bin; expected 11529215046\d+ free bytes; received \d+ free bytes/);
});

test('temporary files of dead processes go, those of living ones and of other machines stay', async () => {
  const root = path.join(folder, 'temporaries');
  fs.mkdirSync(path.join(root, 'deep'), { recursive: true });
  const dead = spawnSync(process.execPath, ['-e', '']).pid;
  const host = os
    .hostname()
    .toLowerCase()
    .replaceAll(/[^a-z0-9]/g, '')
    .slice(0, 32);
  const touch = (name: string): void => {
    fs.writeFileSync(path.join(root, name), '');
  };
  touch(`deep/.a.${host}-${dead}-0123456789ab.tmp`);
  touch(`.a.${host}-${process.pid}-0123456789ab.tmp`);
  touch(`.a.${host}-1-0123456789ab.tmp`);
  touch('.a.elsewhere-5-0123456789ab.tmp');
  touch('.a.elsewhere-6-0123456789ab.tmp');
  fs.utimesSync(path.join(root, '.a.elsewhere-6-0123456789ab.tmp'), 0, 0);
  touch('precious.tmp');
  expect(await removeStaleTemporaries(root)).toBe(3);
  expect(fs.readdirSync(root).sort()).toEqual(
    ['.a.elsewhere-5-0123456789ab.tmp', `.a.${host}-1-0123456789ab.tmp`, 'deep', 'precious.tmp'].sort(),
  );
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
    const publish = path.join(compiled(), 'store', 'publish.js');
    const child = spawnSync('unshare', ['-m', 'sh', '-c', shell, 'sh', mount, process.execPath, script, publish], { encoding: 'utf8' });
    expect(child.stderr).toBe('');
    expect(child.stdout.trim()).toBe('LETHE_DISK_FULL LETHE_DISK_FULL first');
  },
);
