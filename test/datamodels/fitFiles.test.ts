import fs from 'node:fs';
import path from 'node:path';
import { unpackMasks } from '../../src/data/masks.js';
import { defaultFitOptions, fitDatamodels, fitFiles } from '../../src/index.js';
import { encodeDatamodels } from '../../src/store/contents/datamodels.js';
import { writeNpy } from '../../src/store/formats/npy.js';
import { temporaryFolder } from '../helpers/temporary.js';
import { randomProblem } from './problem.js';

const folder = temporaryFolder();
const at = (name: string): string => path.join(folder, name);

test('files are fitted to the bytes of a fit in memory, an abort is resumed, and nothing is printed', async () => {
  const { masks, outputs } = randomProblem(60, 30, 23, 3);
  await writeNpy(at('masks.npy'), [60, 30], unpackMasks(masks));
  await writeNpy(at('outputs.npy'), [60, 23], outputs);
  const files = { masks: at('masks.npy'), outputs: at('outputs.npy'), out: at('fits') };
  const controller = new AbortController();
  const stopped = fitFiles(files, defaultFitOptions, {
    targetsPerBlock: 5,
    signal: controller.signal,
    onProgress: ({ done }) => {
      if (done > 10) controller.abort();
    },
  });
  await expect(stopped).rejects.toMatchObject({ code: 'LETHE_TASK_ABORTED' });
  const [seen, notes]: [number[], string[]] = [[], []];
  const onProgress = ({ done, total }: { done: number; total: number }): unknown => seen.push(done, total);
  const fitted = await fitFiles(files, defaultFitOptions, { onProgress, note: (line) => notes.push(line) });
  expect(fitted).toMatchObject({ numTargets: 23, foundFinished: false, datamodels: at('fits/datamodels.arrow') });
  const { resumedTargets } = fitted;
  expect([10, 15]).toContain(resumedTargets); // the block at work may end before it is told
  expect(seen.slice(0, 2)).toEqual([resumedTargets, 23]);
  expect(seen.at(-2)).toBe(23);
  expect(notes[0]).toBe(`fit: resuming, ${resumedTargets} of 23 targets are finished in ${resumedTargets / 5} blocks`);
  const whole = await fitDatamodels({ masks, outputs, numTargets: 23 });
  expect(fs.readFileSync(fitted.datamodels)).toEqual(Buffer.from(encodeDatamodels(whole)));
  expect(await fitFiles(files)).toMatchObject({ foundFinished: true, resumedTargets: 23 });
});
