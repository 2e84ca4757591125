/**
 * A job without training: stages of tasks that sleep and write bytes made from hashes. Under Node itself (see compiled.ts) a program:
 * `toyJob.js run <folder> <executor> [fault]` and `toyJob.js worker <folder> [fault]`.
 */
import { createHash } from 'node:crypto';
import fs from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { LetheError } from '../../src/errors.js';
import { runStages } from '../../src/jobs/execute.js';
import type { ExecutorName } from '../../src/jobs/executor.js';
import type { Artefact, Stage, Task, TaskContext } from '../../src/jobs/task.js';
import { serveWorker } from '../../src/jobs/worker.js';
import { layout } from '../../src/store/folders/layout.js';
import { openRun } from '../../src/store/folders/run.js';
import { samplePlan } from './plan.js';

/** "throw:<task>", "die:<task>" (each time) or "die-once:<task>". */
export type Fault = `${'throw' | 'die' | 'die-once'}:${string}`;

const chunks = 8;
const chunkBytes = 4096;

/** Four tasks from nothing, three with two artefacts from those, one from all. */
export function toyStages(fault?: Fault): Stage[] {
  const firsts = [0, 1, 2, 3].map((i) => layout.originals(i));
  const seconds = [0, 1, 2].map((i) => [layout.oracles('toy', 'scored', i), layout.oracles('toy', 'matched', i)]);
  return [
    { name: 'first', tasks: firsts.map((file, i) => toyTask(`first-${i}`, [], [file], fault)) },
    { name: 'second', tasks: seconds.map((files, i) => toyTask(`second-${i}`, firsts.slice(i, i + 2), files, fault)) },
    { name: 'last', tasks: [toyTask('last', [...firsts, ...seconds.flat()], [layout.scores('toy')], fault)] },
  ];
}

function toyTask(id: string, inputs: string[], artefacts: string[], fault: Fault | undefined): Task {
  const bytes = artefacts.length * chunks * chunkBytes;
  return {
    id,
    label: `toy ${id}`,
    artefacts,
    cost: 100,
    models: artefacts.length,
    bytes,
    async produce({ run, onProgress }): Promise<Artefact[]> {
      const hash = createHash('sha256').update(id);
      for (const input of inputs) hash.update(await run.read(input));
      const seed = hash.digest('hex');
      onProgress?.({ done: 1, total: 2 });
      await sleep(10);
      suffer(id, fault, run.root);
      return artefacts.map((path, index) => ({ path, rows: 1, firstRow: index, content: slowly(seed + path) }));
    },
  };
}

/** Content that takes its time, so that a kill finds half-written files. */
async function* slowly(seed: string): AsyncGenerator<Uint8Array> {
  for (let chunk = 0; chunk < chunks; chunk++) {
    await sleep(1);
    yield Buffer.alloc(chunkBytes, createHash('sha256').update(`${seed} ${chunk}`).digest());
  }
}

function suffer(id: string, fault: Fault | undefined, root: string): void {
  if (!fault?.endsWith(`:${id}`)) return;
  if (fault.startsWith('throw')) throw new LetheError('LETHE_TOY_BROKEN', `${id} is broken`);
  const scar = `${root}.scar`;
  if (fault.startsWith('die-once') && fs.existsSync(scar)) return;
  fs.writeFileSync(scar, '');
  process.kill(process.pid, 'SIGKILL');
}

export async function toyContext(root: string): Promise<TaskContext> {
  const plan = samplePlan();
  // the toy needs no data and no engine
  return { plan, run: await openRun(root, { plan, identity: { toy: '1' } }) } as unknown as TaskContext;
}

/** How `program`, the translation of this file, is started as a worker. */
export function toyWorker(program: string, root: string, fault?: Fault): { command: string; args: string[] } {
  return { command: process.execPath, args: [program, 'worker', root, ...(fault ? [fault] : [])] };
}

async function main(program: string, [verb, root, ...rest]: string[]): Promise<void> {
  // tests kill from here on: the start of Node is not what they are after
  fs.writeSync(1, 'begin\n');
  const context = await toyContext(root!);
  if (verb === 'worker') {
    await serveWorker(toyStages(rest[0] as Fault | undefined), context);
    return;
  }
  const controller = new AbortController();
  process.once('SIGTERM', () => {
    controller.abort();
  });
  const fault = rest[1] as Fault | undefined;
  const outcome = await runStages(toyStages(fault), context, {
    executor: rest[0] as ExecutorName,
    workers: 2,
    workerCommand: toyWorker(program, root!, fault),
    signal: controller.signal,
    onProgress: ({ tasksDone }) => {
      fs.writeSync(1, `done ${tasksDone}\n`);
    },
  });
  fs.writeSync(1, `outcome ${JSON.stringify(outcome)}\n`);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  try {
    await main(process.argv[1], process.argv.slice(2));
  } catch (error) {
    fs.writeSync(1, `${error instanceof LetheError ? error.message : String(error)}\n`);
    process.exitCode = error instanceof LetheError ? error.exitCode : 99;
  }
}
