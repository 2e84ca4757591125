import fc from 'fast-check';
import { readTar } from '../../src/data/tar.js';
import { tar, tarHeader } from '../helpers/tar.js';

async function* inChunks(bytes: Uint8Array, size: number): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += size) yield await Promise.resolve(bytes.subarray(at, at + size));
}

async function readAll(bytes: Uint8Array, chunk = 700, limit = 1e6): Promise<Record<string, string>> {
  const found: Record<string, string> = {};
  for await (const member of readTar(inChunks(bytes, chunk), limit)) {
    const parts: Uint8Array[] = [];
    for await (const part of member.content) parts.push(part);
    found[member.name] = Buffer.concat(parts).toString('latin1');
  }
  return found;
}

describe('readTar', () => {
  it('gives back every file, whatever the chunks of the stream', async () => {
    const member = fc.record({ name: fc.stringMatching(/^[a-z]{1,8}$/), content: fc.string({ maxLength: 1500, unit: 'binary-ascii' }) });
    const members = fc.uniqueArray(member, { maxLength: 5, selector: ({ name }) => name });
    await fc.assert(
      fc.asyncProperty(members, fc.integer({ min: 1, max: 2000 }), async (files, chunk) => {
        expect(await readAll(tar(files), chunk)).toEqual(Object.fromEntries(files.map(({ name, content }) => [name, content])));
      }),
      { numRuns: 30 },
    );
  });

  it('passes over folders, extensions and what the caller does not read', async () => {
    const archive = tar([
      { name: 'd/', type: '5', content: '' },
      { name: 'pax', type: 'x', content: '30 mtime=1.5\n' },
      { name: 'd/a', content: 'a'.repeat(1300) },
      { name: 'd/b', content: 'b' },
    ]);
    const names: string[] = [];
    for await (const member of readTar(inChunks(archive, 100), 1e6)) {
      names.push(member.name);
      for await (const part of member.content) if (part.length > 0) break;
    }
    expect(names).toEqual(['d/a', 'd/b']);
  });

  it.each([
    ['a name that climbs', tar([{ name: 'x/../../y', content: 'x' }]), /LETHE_ARCHIVE_UNSAFE.*x\/\.\.\/\.\.\/y/],
    ['an absolute name', tar([{ name: '/etc/x', content: 'x' }]), /LETHE_ARCHIVE_UNSAFE/],
    ['a symbolic link', tar([{ name: 'x', type: '2', content: '' }]), /LETHE_ARCHIVE_UNSAFE.*type "2"/],
    ['a wrong header sum', tar([{ name: 'x', content: 'x' }]).fill(0x41, 3, 5), /LETHE_ARCHIVE_DAMAGED.*header sum/],
    ['a size that is no number', tarHeader('x', 0, '0', '000000-0012'), /LETHE_ARCHIVE_DAMAGED.*octal size/],
    ['more content than allowed', tar([{ name: 'x', content: 'x'.repeat(2000) }]), /LETHE_ARCHIVE_DAMAGED.*at most 1000/],
    ['a cut file', tar([{ name: 'x', content: 'x'.repeat(900) }]).subarray(0, 1000), /LETHE_ARCHIVE_DAMAGED.*end of the stream/],
    ['a missing end', tar([{ name: 'x', content: 'x' }]).subarray(0, 1024), /LETHE_ARCHIVE_DAMAGED.*end-of-archive/],
  ])('refuses %s', async (_name, archive, message) => {
    await expect(readAll(archive, 100, 1000)).rejects.toThrow(message);
  });
});
