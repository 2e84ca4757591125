import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { resolveForgetSet } from '../../../src/data/forgetSets.js';
import { hashFile, openForReading, readText, readWhole } from '../../../src/store/disk/files.js';
import { readNpy } from '../../../src/store/formats/npy.js';
import { temporaryFolder } from '../../helpers/temporary.js';

const folder = temporaryFolder();
const pipe = path.join(folder, 'pipe');

beforeAll(() => {
  execFileSync('mkfifo', [pipe]);
});

it.each([
  ['a pipe', () => pipe, 'a pipe (FIFO)'],
  ['a device without end', () => '/dev/zero', 'a device'],
  ['a folder', () => folder, 'a folder'],
])('%s is no input, and nothing waits for it', async (_name, file, received) => {
  const refused = { code: 'LETHE_FILE_UNREADABLE', exitCode: 4, received };
  const index = { name: 'a', kind: 'file', path: file() } as const;
  for (const read of [openForReading, readWhole, hashFile, readNpy]) await expect(read(file())).rejects.toMatchObject(refused);
  await expect(resolveForgetSet(index, { numTrain: 10 })).rejects.toMatchObject(refused);
});

it('texts have a size above which they are not read', async () => {
  const file = path.join(folder, 'large.txt');
  fs.writeFileSync(file, 'twelve bytes');
  expect(await readText(file, 12)).toBe('twelve bytes');
  await expect(readText(file, 11)).rejects.toMatchObject({ code: 'LETHE_FILE_TOO_LARGE' });
  expect(await readText(path.join(folder, 'none'), 11)).toBeUndefined();
});
