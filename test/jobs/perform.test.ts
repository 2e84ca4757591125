import path from 'node:path';
import { runStages } from '../../src/jobs/execute.js';
import { performTask } from '../../src/jobs/perform.js';
import type { Task, TaskContext } from '../../src/jobs/task.js';
import { layout } from '../../src/store/folders/layout.js';
import { openRun } from '../../src/store/folders/run.js';
import { samplePlan } from '../helpers/plan.js';
import { temporaryFolder } from '../helpers/temporary.js';

const folder = temporaryFolder();
let produced: string[] = [];

beforeEach(() => {
  produced = [];
});

async function newContext(name: string): Promise<TaskContext> {
  // tasks of this file look at nothing else
  return { run: await openRun(path.join(folder, name), { plan: samplePlan() }) } as unknown as TaskContext;
}

function task(shard: number, change: Partial<Task> = {}): Task {
  const artefact = layout.originals(shard);
  return {
    id: artefact,
    label: `originals ${shard}`,
    artefacts: [artefact],
    cost: 1,
    models: 1,
    bytes: 100,
    produce() {
      produced.push(artefact);
      return Promise.resolve([{ path: artefact, content: new Uint8Array(100).fill(shard) }]);
    },
    ...change,
  };
}

test('the free space is asked for before the work, and a full disk stops the run at once', async () => {
  const context = await newContext('full');
  const stages = [{ name: 'originals', tasks: [task(0), task(1, { bytes: 2 ** 60 }), task(2)] }];
  const run = runStages(stages, context, { executor: 'inline', workers: 1 });
  await expect(run).rejects.toMatchObject({ code: 'LETHE_DISK_FULL', exitCode: 4 });
  await expect(run).rejects.toThrow(/no room for originals 1; expected [\d.]+ \wiB free; received [\d.]+ \wiB free/);
  expect(produced).toEqual([layout.originals(0)]);
});

test('work that another command finished meanwhile is not done again', async () => {
  const [context, other] = [await newContext('shared'), await newContext('shared')];
  const late = task(1);
  const first = task(0, {
    async produce() {
      await performTask(late, other);
      return [{ path: layout.originals(0), content: new Uint8Array(1) }];
    },
  });
  const outcome = await runStages([{ name: 'originals', tasks: [first, late] }], context, { executor: 'inline', workers: 1 });
  expect(outcome.failed).toEqual([]);
  expect(produced).toEqual([layout.originals(1)]);
});

test('a task that does not make what it announced fails, its neighbours go on', async () => {
  const context = await newContext('announced');
  const liar = task(0, { produce: () => Promise.resolve([{ path: layout.masks, content: new Uint8Array(1) }]) });
  const { failed, tasksRun } = await runStages([{ name: 'a', tasks: [liar, task(1)] }], context, { executor: 'inline', workers: 1 });
  expect(failed.map(({ task: id, code }) => [id, code])).toEqual([[layout.originals(0), 'LETHE_TASK_ARTEFACTS']]);
  expect(tasksRun).toBe(1);
  expect(await context.run.isDone(layout.masks)).toBe(false);
});
