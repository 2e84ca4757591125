import fs from 'node:fs';
import path from 'node:path';
import { estimateStages, statusOf } from '../../src/jobs/estimate.js';
import { runStages } from '../../src/jobs/execute.js';
import { layout } from '../../src/store/folders/layout.js';
import { temporaryFolder } from '../helpers/temporary.js';
import { toyContext, toyStages } from '../helpers/toyJob.js';

const folder = temporaryFolder();

test('the estimate of files and bytes is what a run leaves behind', async () => {
  const context = await toyContext(path.join(folder, 'whole'));
  const own = files(context.run.root);
  const stages = toyStages();
  const estimates = estimateStages(stages);
  expect(estimates.map(({ stage, tasks, models, cost }) => [stage, tasks, models, cost])).toEqual([
    ['first', 4, 4, 400],
    ['second', 3, 6, 300],
    ['last', 1, 1, 100],
  ]);
  await runStages(stages, context, { executor: 'inline', workers: 1 });
  const made = files(context.run.root).filter((file) => !own.includes(file));
  expect(estimates.reduce((sum, { files }) => sum + files, 0)).toBe(made.length);
  const contents = made.filter((file) => !path.relative(context.run.root, file).startsWith('manifest'));
  expect(estimates.reduce((sum, { bytes }) => sum + bytes, 0)).toBe(contents.reduce((sum, file) => sum + fs.statSync(file).size, 0));
  expect(estimateStages([{ name: 'none', tasks: [] }])).toEqual([{ stage: 'none', tasks: 0, models: 0, files: 0, bytes: 0, cost: 0 }]);
});

function files(root: string): string[] {
  const names = fs.readdirSync(root, { recursive: true, encoding: 'utf8' }).map((name) => path.join(root, name));
  return names.filter((name) => fs.statSync(name).isFile());
}

test('the status counts tasks whose every artefact is whole', async () => {
  const root = path.join(folder, 'status');
  const stages = toyStages('throw:second-1');
  const states = async (): Promise<number[][]> => {
    const { run } = await toyContext(root);
    return (await statusOf(run, stages)).map(({ tasksDone, tasks, costDone, cost }) => [tasksDone, tasks, costDone, cost]);
  };
  expect((await states()).map(([done]) => done)).toEqual([0, 0, 0]);
  await runStages(stages, await toyContext(root), { executor: 'inline', workers: 1 });
  const [first, second, last] = [
    [4, 4, 400, 400],
    [2, 3, 200, 300],
    [0, 1, 0, 100],
  ];
  expect(await states()).toEqual([first, second, last]);
  fs.truncateSync(path.join(root, layout.oracles('toy', 'matched', 0)), 5);
  expect(await states()).toEqual([first, [1, 3, 100, 300], last]);
});
