import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';
import { runStages } from '../../src/jobs/execute.js';
import { executorNames, type ExecutorName } from '../../src/jobs/executor.js';
import type { Stage } from '../../src/jobs/task.js';
import { layout } from '../../src/store/folders/layout.js';
import { verifyRun } from '../../src/store/folders/verify.js';
import { compiledHelper } from '../helpers/compiled.js';
import { temporaryFolder } from '../helpers/temporary.js';
import { type Fault, toyContext, toyStages, toyWorker } from '../helpers/toyJob.js';

const folder = temporaryFolder();
const program = compiledHelper('toyJob');
const tasks = toyStages().flatMap((stage) => stage.tasks);
let counter = 0;
const newRoot = (): string => path.join(folder, `run-${counter++}`);

/** What a child process is told while it runs. */
interface Child {
  group: number;
  output(): string;
  signal(name: NodeJS.Signals): void;
}

interface Ended {
  code: number | null;
  output: string;
  milliseconds: number;
}

/** Runs the toy job in a process group of its own; `onOutput` may kill it. */
async function run(root: string, executor: ExecutorName, onOutput?: (child: Child) => void): Promise<Ended> {
  const child = spawn(process.execPath, [program, 'run', root, executor], { detached: true, stdio: ['ignore', 'pipe', 'inherit'] });
  let output = '';
  let begun = 0;
  child.stdout.on('data', (chunk: Buffer) => {
    begun ||= performance.now();
    output += chunk.toString();
    onOutput?.({ group: -child.pid!, output: () => output, signal: (name) => child.kill(name) });
  });
  const code = await new Promise<number | null>((resolve) => child.on('close', resolve));
  return { code, output, milliseconds: performance.now() - begun };
}

/** path -> sha256 of every file of the run, manifests included. */
function digests(root: string): Record<string, string> {
  const files = fs.readdirSync(root, { recursive: true, encoding: 'utf8' }).sort();
  const found = files.filter((file) => fs.statSync(path.join(root, file)).isFile());
  const digest = (file: string): string =>
    createHash('sha256')
      .update(fs.readFileSync(path.join(root, file)))
      .digest('hex');
  return Object.fromEntries(found.map((file) => [file, digest(file)]));
}

let undisturbed: Record<string, string> | undefined;
const duration = {} as Record<ExecutorName, number>;

beforeAll(async () => {
  for (const executor of executorNames) {
    const root = newRoot();
    const { code, milliseconds } = await run(root, executor);
    expect(code).toBe(0);
    duration[executor] = milliseconds;
    undisturbed ??= digests(root);
    expect(digests(root)).toEqual(undisturbed);
    expect(Object.keys(undisturbed)).toHaveLength(2 * (4 + 6 + 1 + 2));
  }
});

/** A small generator with a fixed seed, in [0, 1). */
function randoms(state: number): () => number {
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
}

test.each(executorNames)('%s: a run killed at any moment and started again ends with the same bytes', async (executor) => {
  const random = randoms(7);
  const kills = 20;
  let killed = 0;
  let root = newRoot();
  // a run that ends before its kill is compared and a new one begun; every other kill takes the workers along, as a power cut does
  for (let round = 0; killed < kills; round++) {
    expect(round).toBeLessThan(4 * kills);
    const delay = random() * duration[executor];
    let timer: NodeJS.Timeout | undefined;
    const { code } = await run(root, executor, ({ group }) => {
      timer ??= setTimeout(() => {
        killIfThere(round % 2 === 0 ? group : -group);
      }, delay);
    });
    clearTimeout(timer);
    if (code === null) killed += 1;
    else {
      expect(code).toBe(0);
      await expectUndisturbed(root);
      root = newRoot();
    }
  }
  expect((await run(root, executor)).code).toBe(0);
  await expectUndisturbed(root);
});

function killIfThere(target: number): void {
  try {
    process.kill(target, 'SIGKILL');
  } catch {
    // it has ended in time
  }
}

async function expectUndisturbed(root: string): Promise<void> {
  // workers of a killed run may still finish their task
  for (let wait = 0; wait < 100 && Object.keys(digests(root)).length > Object.keys(undisturbed!).length; wait++) {
    await new Promise((resolve) => setTimeout(resolve, 20));
    await toyContext(root);
  }
  expect(digests(root)).toEqual(undisturbed);
}

test('three runs at once on one folder end with the same bytes', async () => {
  const root = newRoot();
  const ended = await Promise.all([run(root, 'inline'), run(root, 'process'), run(root, 'inline')]);
  expect(ended.map(({ code, output }) => [code, output.includes('"failed":[]')])).toEqual(ended.map(() => [0, true]));
  expect(digests(root)).toEqual(undisturbed);
});

test.each(executorNames)('%s: an aborted run says so, and the same command resumes it', async (executor) => {
  const root = newRoot();
  let told = false;
  const { code, output } = await run(root, executor, (child) => {
    if (told || !child.output().includes('done 2')) return;
    told = true;
    child.signal('SIGTERM');
  });
  expect(code).toBe(75);
  expect(output).toMatch(/LETHE_RUN_INTERRUPTED.*the same command resumes/);
  const resumed = await run(root, executor);
  expect(resumed.code).toBe(0);
  const outcome = outcomeOf(resumed.output);
  expect(outcome.tasksSkipped).toBeGreaterThanOrEqual(2);
  expect(outcome.tasksRun).toBe(tasks.length - outcome.tasksSkipped);
  await expectUndisturbed(root);
});

function outcomeOf(output: string): { tasksRun: number; tasksSkipped: number } {
  return JSON.parse(/^outcome (.*)$/m.exec(output)![1]!) as { tasksRun: number; tasksSkipped: number };
}

/** In this process, with a fault in the tasks. */
async function runHere(root: string, executor: ExecutorName, fault?: Fault, workerCommand = toyWorker(program, root, fault)) {
  return runStages(toyStages(fault), await toyContext(root), { executor, workers: 2, workerCommand });
}

test.each(executorNames)('%s: a task that fails is reported, its neighbours are done, later stages wait', async (executor) => {
  const root = newRoot();
  const outcome = await runHere(root, executor, 'throw:second-0');
  const message = expect.stringContaining('second-0 is broken') as string;
  expect(outcome).toEqual({
    tasksRun: 6,
    tasksSkipped: 0,
    failed: [{ task: 'second-0', label: 'toy second-0', code: 'LETHE_TOY_BROKEN', message }],
  });
  const { run: folderOfRun } = await toyContext(root);
  expect(await folderOfRun.isDone(layout.oracles('toy', 'matched', 2))).toBe(true);
  expect(await folderOfRun.isDone(layout.scores('toy'))).toBe(false);
  expect(await verifyRun(folderOfRun)).toMatchObject({ damaged: [], missing: [], foreign: [] });
  expect(await runHere(root, executor)).toEqual({ tasksRun: 2, tasksSkipped: 6, failed: [] });
  expect(digests(root)).toEqual(undisturbed);
});

test('a killed worker is replaced and its task tried again', async () => {
  const root = newRoot();
  expect(await runHere(root, 'process', 'die-once:first-1')).toEqual({ tasksRun: tasks.length, tasksSkipped: 0, failed: [] });
  expect(fs.existsSync(`${root}.scar`)).toBe(true);
  expect(digests(root)).toEqual(undisturbed);
});

test('a task that kills its worker twice fails, the others are done', async () => {
  const outcome = await runHere(newRoot(), 'process', 'die:first-1');
  expect(outcome).toMatchObject({ tasksRun: 3, failed: [{ task: 'first-1', code: 'LETHE_WORKER_DIED' }] });
  expect(outcome.failed[0]!.message).toMatch(/SIGKILL.* when memory is short/);
});

const node = (script: string): { command: string; args: string[] } => ({ command: process.execPath, args: ['-e', script] });

test.each([
  ['is not there', { command: path.join(folder, 'no-such-program'), args: [] }, /cannot be started.*ENOENT/],
  ['ends at once', node('process.exit(3)'), /before they are ready.*code 3/],
])('a worker command that %s ends the run', async (_, command, message) => {
  const ended = runHere(newRoot(), 'process', undefined, command);
  await expect(ended).rejects.toMatchObject({ code: 'LETHE_WORKER_FAILED', exitCode: 4 });
  await expect(ended).rejects.toThrow(message);
});

test('workers that hang up when they should work fail their tasks, not the run', async () => {
  const outcome = await runHere(newRoot(), 'process', undefined, node("process.send({ kind: 'ready' }, () => process.exit())"));
  expect(outcome.failed.map(({ task, code }) => [task, code]).sort()).toEqual([0, 1, 2, 3].map((i) => [`first-${i}`, 'LETHE_WORKER_DIED']));
});

test('an order that finds its worker gone is given to the next one', async () => {
  const [{ tasks }] = toyStages() as [Stage];
  const brief = `process.on('message', ({ task }) => process.send({ kind: 'done', task }, () => process.exit())); process.send({ kind: 'ready' })`;
  const outcome = await runStages([{ name: 'first', tasks: tasks.slice(0, 2) }], await toyContext(newRoot()), {
    executor: 'process',
    workers: 1,
    workerCommand: node(brief),
    onProgress() {
      // until the worker that has just answered is gone for certain
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 500);
    },
  });
  expect(outcome).toEqual({ tasksRun: 2, tasksSkipped: 0, failed: [] });
});

test('the process executor needs a worker command', async () => {
  const context = await toyContext(newRoot());
  const ended = runStages(toyStages(), context, { executor: 'process', workers: 2 });
  await expect(ended).rejects.toMatchObject({ code: 'LETHE_EXECUTOR_INVALID', exitCode: 2 });
});
