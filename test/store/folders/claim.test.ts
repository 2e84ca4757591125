/** Results under names that somebody chose: of two, both stay whole. */
import fs from 'node:fs';
import path from 'node:path';
import { fillFolder, publishResult } from '../../../src/store/folders/claim.js';
import { FitFolder } from '../../../src/store/folders/fitFolder.js';
import { temporaryFolder } from '../../helpers/temporary.js';

const folder = temporaryFolder();
const at = (name: string): string => path.join(folder, name);

test('a file is written once: the same result is found, another one is refused', async () => {
  await publishResult(at('scores'), Buffer.from('one'));
  await publishResult(at('scores'), Buffer.from('one'));
  await expect(publishResult(at('scores'), Buffer.from('two'))).rejects.toMatchObject({ code: 'LETHE_OUT_TAKEN', exitCode: 2 });
  expect(fs.readFileSync(at('scores'), 'utf8')).toBe('one');
  expect(fs.readdirSync(folder)).toEqual(['scores']);
});

test('a folder is of one command, which may fill it again; a damaged claim is anybody’s', async () => {
  const fill = (seed: number): Promise<void> =>
    fillFolder(at('out'), { seed }, () => {
      fs.writeFileSync(at('out/result'), String(seed));
      return Promise.resolve();
    });
  const ends = await Promise.allSettled([1, 2, 3].map(fill));
  const first = ends.findIndex(({ status }) => status === 'fulfilled') + 1;
  expect(ends.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
  await fill(first);
  await expect(fill(first + 1)).rejects.toMatchObject({ code: 'LETHE_OUT_TAKEN', received: expect.stringContaining('seed: ') as string });
  expect(fs.readFileSync(at('out/result'), 'utf8')).toBe(String(first));
  fs.writeFileSync(at('out/command.json'), '');
  await fill(first + 1);
  await expect(fill(first)).rejects.toMatchObject({ code: 'LETHE_OUT_TAKEN' });
});

test('of two fits that begin at once in one folder the other one is refused, and a fit that fails leaves nothing', async () => {
  const folders = await Promise.all([1, 2].map((seed) => FitFolder.open(at('fit'), { seed })));
  const ended = Promise.allSettled(folders.map((fit) => fit.whileClaimed(() => new Promise((resolve) => setTimeout(resolve, 50)))));
  expect((await ended).map((end) => (end.status === 'rejected' ? (end.reason as { code: string }).code : 'fitted')).sort()).toEqual([
    'LETHE_FIT_CHANGED',
    'fitted',
  ]);
  const failing = await FitFolder.open(at('failing'), { seed: 1 });
  await expect(failing.whileClaimed(() => Promise.reject(new TypeError('no memory')))).rejects.toThrow(TypeError);
  expect(fs.existsSync(at('failing'))).toBe(false);
});
