/** How a command starts and how it is stopped: what is loaded, with how many open files, and what signals do before, at and after that. */
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { writeNpy } from '../../src/store/formats/npy.js';
import { compiled } from '../helpers/compiled.js';
import { lethe, startLethe } from '../helpers/lethe.js';
import { temporaryFolder } from '../helpers/temporary.js';

const folder = temporaryFolder();
const at = (name: string): string => path.join(folder, name);

/** What takes longer to load than a command that is called a thousand times may take. */
const heavy = /apache-arrow|\/zod\/|\/yaml\/|onnxruntime|ml-matrix|vega|cli-progress/;

/** Modules instead of milliseconds, which depend on the machine. */
async function expectLoaded(args: string[], most: number, never: RegExp): Promise<void> {
  const coverage = fs.mkdtempSync(at('loaded-'));
  expect((await lethe(args, { NODE_V8_COVERAGE: coverage })).code).toBe(0);
  const loaded = fs.readdirSync(coverage).flatMap((name) => {
    const { result } = JSON.parse(fs.readFileSync(path.join(coverage, name), 'utf8')) as { result: { url: string }[] };
    return result.map(({ url }) => url).filter((url) => url.startsWith('file:'));
  });
  expect(loaded.length).toBeGreaterThan(5);
  expect(loaded.length).toBeLessThan(most);
  expect(loaded.filter((url) => never.test(url))).toEqual([]);
}

describe('a command', () => {
  it.each([
    { args: ['--version'], most: 45, never: heavy },
    { args: ['--help'], most: 45, never: heavy },
    { args: ['fit', '--help'], most: 260, never: /\/zod\/|\/yaml\/|onnxruntime|ml-matrix|vega/ },
    { args: ['study', 'ridge', '--help'], most: 90, never: /apache-arrow|\/zod\/|\/yaml\/|onnxruntime|vega/ },
  ])('loads what it needs only: $args', async ({ args, most, never }) => {
    await expectLoaded(args, most, never);
  });

  it('compares small files without what it does not read', async () => {
    for (const name of ['o', 'u'])
      await writeNpy(
        at(`${name}.npy`),
        [3, 4],
        Float32Array.from({ length: 12 }, (_, i) => i % 5),
      );
    const args = ['evaluate', 'klom', '--oracle', at('o.npy'), '--unlearned', at('u.npy')];
    await expectLoaded(args, 90, heavy);
  });

  it('starts where few files may be open', () => {
    const main = path.join(compiled(), 'cli', 'main.js');
    for (const verb of ['run', 'report', 'unlearn', 'bench']) {
      const shell = `ulimit -n 128 && exec "$1" "$2" ${verb} --help`;
      const { status, stderr } = spawnSync('sh', ['-c', shell, 'sh', process.execPath, main], { encoding: 'utf8' });
      expect({ verb, status, stderr }).toEqual({ verb, status: 0, stderr: '' });
    }
  });

  it('lists every verb with a summary, and knows those that are not loaded', async () => {
    const { stdout } = await lethe(['--help']);
    for (const verb of ['quickstart', 'status', 'fit', 'doctor']) expect(stdout).toMatch(new RegExp(`^  ${verb} +\\w+`, 'm'));
    expect(stdout).not.toContain('worker');
    expect((await lethe(['help', 'fit'])).stdout).toContain('--lambda-min-ratio');
    expect((await lethe(['ft'])).stderr).toMatch(/LETHE_VERB_UNKNOWN: unknown command 'ft' .*Did you mean fit/);
  });

  it('says that nothing can hold what it prints', () => {
    const main = path.join(compiled(), 'cli', 'main.js');
    const { status, stderr } = spawnSync('sh', ['-c', 'exec "$0" "$1" doctor > /dev/full', process.execPath, main], { encoding: 'utf8' });
    expect(status).toBe(4);
    expect(stderr).toMatch(/^\S*error\S* LETHE_STDOUT_UNWRITABLE: .*ENOSPC.*\n$/);
  });
});

const plan = {
  version: 1,
  name: 'long',
  data: { name: 'synthetic' },
  net: { name: 'smallcnn' },
  recipe: { epochs: 2000, batchSize: 16, schedule: { kind: 'constant', learningRate: 0.1 } },
  subsetModels: { count: 50, modelsPerShard: 50 },
  originals: { count: 1 },
  oracles: { scored: 1, matched: 1 },
  tuning: { numModels: 1 },
  methods: [{ method: 'do-nothing' }],
  forgetSets: [{ name: 'a', kind: 'random', size: 5, seed: 1 }],
};
const planFile = at('long.json');
fs.writeFileSync(planFile, JSON.stringify(plan));
let runs = 0;

/** A run that would take long; `begun` when its folder says that it has. */
function startRun(more: string[] = [], environment: Record<string, string> = {}) {
  const root = at(`run-${runs++}`);
  const started = startLethe(['run', planFile, '--out', root, '--threads', '1', ...more], environment);
  const until = async (holds: () => boolean): Promise<void> => {
    while (!holds() && started.child.exitCode === null) await wait(20);
  };
  const begun = until(() => fs.existsSync(path.join(root, 'provenance.json')));
  return { ...started, root, begun, until };
}

/** The last session knows that it was interrupted: the stop was a graceful one. */
function outcomeOf(root: string): unknown {
  const { sessions } = JSON.parse(fs.readFileSync(path.join(root, 'provenance.json'), 'utf8')) as { sessions: { outcome?: string }[] };
  return sessions.at(-1)!.outcome;
}

function stops(stderr: string): number {
  return stderr.match(/^stopping/gm)?.length ?? 0;
}

it('a run with few originals to tune on says that they rank settings by noise; its status loads little', async () => {
  const { child, result, root, begun } = startRun();
  await begun;
  child.kill('SIGTERM');
  expect((await result).stderr).toContain('tuning.numModels 1: fewer than 10 originals rank settings by noise; 24 are the default');
  await expectLoaded(['status', root], 185, heavy);
});

describe('signals', () => {
  it.each(['SIGTERM', 'SIGINT', 'SIGHUP', 'SIGUSR1', 'SIGUSR2', 'SIGXCPU'] as const)('%s, twice at once, stops a run', async (signal) => {
    const { child, result, root, begun } = startRun();
    await begun;
    child.kill(signal);
    child.kill(signal);
    const { code, stderr } = await result;
    expect({ code, stops: stops(stderr), outcome: outcomeOf(root) }).toEqual({ code: 75, stops: 1, outcome: 'interrupted' });
  });

  // sent by the process to itself: when Node is up, but nothing of Lethe is loaded; while it loads; later
  it.each([undefined, 5, 40, 150, 400])('SIGUSR1 after %s ms stops a run that is starting', async (ms) => {
    const script = at(`early-${String(ms)}.cjs`);
    const send = `process.kill(process.pid, 'SIGUSR1')`;
    fs.writeFileSync(script, ms === undefined ? send : `setTimeout(() => ${send}, ${ms}).unref()`);
    const { result } = startRun([], { NODE_OPTIONS: `--require ${script}` });
    const { code, stderr } = await result;
    expect({ code, stops: stops(stderr) }).toEqual({ code: 75, stops: 1 });
  });

  it.each(['SIGUSR1', 'SIGTERM'] as const)('%s to a worker stops the run', async (signal) => {
    const { child, result, root, until } = startRun(['--executor', 'process', '--workers', '1']);
    const workers = (): number[] =>
      fs
        .readFileSync(`/proc/${child.pid!}/task/${child.pid!}/children`, 'utf8')
        .split(' ')
        .map(Number)
        .filter((pid) => pid > 0 && fs.readFileSync(`/proc/${pid}/cmdline`, 'latin1').includes('\0worker\0'));
    const found = (): boolean => {
      try {
        return workers().length > 0;
      } catch {
        return false; // it went while it was looked at
      }
    };
    await until(found);
    process.kill(workers()[0]!, signal);
    const { code, stderr } = await result;
    expect({ code, stops: stops(stderr), outcome: outcomeOf(root) }).toEqual({ code: 75, stops: 1, outcome: 'interrupted' });
  });

  it.each<Record<string, string>>([{ _: '/usr/bin/nohup' }, { LETHE_SIGIGN: '0000000000000001' }])(
    'one that is to be ignored is ignored: %j',
    async (environment) => {
      const { child, result, root, begun } = startRun([], environment);
      await begun;
      child.kill('SIGHUP');
      await wait(700);
      expect(child.exitCode).toBeNull();
      child.kill('SIGTERM');
      const { code, stderr } = await result;
      expect({ code, stops: stops(stderr), outcome: outcomeOf(root) }).toEqual({ code: 75, stops: 1, outcome: 'interrupted' });
    },
  );
});
