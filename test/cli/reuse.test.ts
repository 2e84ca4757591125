/** A changed plan that takes over what it can from an earlier run ends with the bytes of a run that takes over nothing. */
import { createHash } from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';
import { openReuse } from '../../src/commands/reuse.js';
import { openSession, planSession, viewRun } from '../../src/commands/session.js';
import { runStages } from '../../src/jobs/execute.js';
import { loadPlan } from '../../src/jobs/plan.js';
import { takeOver } from '../../src/jobs/reuse.js';
import { meaningOfArtefacts } from '../../src/store/folders/identity.js';
import { decodeJson, encodeJson } from '../../src/store/disk/json.js';
import { layout } from '../../src/store/folders/layout.js';
import { writeNpy } from '../../src/store/formats/npy.js';
import { lethe } from '../helpers/lethe.js';
import { tinyPlan } from '../helpers/plan.js';
import { temporaryFolder } from '../helpers/temporary.js';

const folder = temporaryFolder();
const at = (name: string): string => path.join(folder, name);
const methods = [
  { method: 'do-nothing' },
  { method: 'partial-retrain', grid: { epochs: [1] } },
  { method: 'gradient-ascent', grid: { learningRate: [0.001, 0.01], epochs: [1] } },
  { method: 'oracle-matching', grid: { learningRate: [0.001], epochs: [1] } },
  { method: 'dm-direct' },
  { method: 'dmm', grid: { learningRate: [0.001, 0.01], epochs: [1, 2] } },
];
const plan = {
  ...tinyPlan,
  forgetSets: [
    ...tinyPlan.forgetSets,
    { name: 'pc1', kind: 'principalComponent', component: 1, top: 2, bottom: 1 },
    { name: 'listed', kind: 'file', path: at('listed.npy') },
  ],
  methods,
  tuning: { numModels: 10 },
};

async function run(name: string, content: object, reuse?: string): Promise<{ files: Record<string, string>; reused: number }> {
  fs.writeFileSync(at(`${name}.json`), JSON.stringify({ name: 'tiny', ...content }));
  const session = await planSession(await loadPlan(at(`${name}.json`)), { engine: 'native' }, { threads: 0 });
  const earlier = reuse === undefined ? undefined : await openReuse(reuse, session);
  const context = await openSession(at(name), session);
  const reused = earlier ? await takeOver(context.run, earlier.run, await earlier.reusable(context.run)) : 0;
  const { failed, tasksSkipped } = await runStages(session.stages, context, { executor: 'inline', workers: 1 });
  expect([failed, tasksSkipped]).toEqual([[], reused]);
  return { files: hashes(at(name)), reused };
}

function hashes(root: string): Record<string, string> {
  const names = fs.readdirSync(root, { recursive: true, encoding: 'utf8' }).filter((file) => fs.statSync(path.join(root, file)).isFile());
  const sum = (file: string): string =>
    createHash('sha256')
      .update(fs.readFileSync(path.join(root, file)))
      .digest('hex');
  return Object.fromEntries(names.sort().map((file) => [file, sum(file)]));
}

let before: Record<string, string>;

beforeAll(async () => {
  await writeNpy(at('listed.npy'), [2], Int32Array.of(3, 8));
  before = (await run('old', plan)).files;
}, 120000);

/** What changes, and how many of the tasks need not run: all but choices, scores and report where nothing changes. */
const changes: [string, object, number][] = [
  ['nothing but the name', { name: 'other' }, 53],
  ['a grid', { methods: [...methods.slice(0, 5), { method: 'dmm', grid: { learningRate: [0.01, 0.1], epochs: [1, 2] } }] }, 47],
  ['no partial retraining', { methods: methods.filter(({ method }) => method !== 'partial-retrain') }, 50],
  ['the tuning', { tuning: { numModels: 12 } }, 35],
  ['the fit', { fit: { gapTolerance: 1e-3 } }, 22],
  ['the LDS curve', { lds: { numModels: [15] } }, 51],
  ['more subset models', { subsetModels: { ...plan.subsetModels, count: 34 } }, 20],
  ['other shards', { subsetModels: { ...plan.subsetModels, modelsPerShard: 12 } }, 50],
  ['more originals', { originals: { count: 5 } }, 37],
  ['fewer matched oracles', { oracles: { ...plan.oracles, matched: 1 } }, 41],
  ['the order of the forget sets', { forgetSets: plan.forgetSets.toReversed() }, 43],
  ['the recipe', { recipe: { ...plan.recipe, epochs: 3 } }, 3],
  ['the network', { net: { name: 'smallcnn', width: 1 } }, 3],
  ['the seed', { seed: 5 }, 2],
];

it.each(changes)('%s: the bytes of a run that made everything', async (what, change, expected) => {
  const changed = { ...plan, ...change };
  const fresh = await run(`fresh ${what}`, changed);
  const { files, reused } = await run(`reused ${what}`, changed, at('old'));
  expect(reused).toBe(expected);
  expect(files).toEqual(fresh.files);
  expect(hashes(at('old'))).toEqual(before);
});

it('damaged artefacts and other index files at the same path are made anew', async () => {
  fs.cpSync(at('old'), at('damaged'), { recursive: true });
  const victim = path.join(at('damaged'), 'outputs', '00', 'shard-00001.arrow');
  const bytes = fs.readFileSync(victim);
  bytes[bytes.length >> 1]! ^= 4;
  fs.writeFileSync(victim, bytes);
  const { files, reused } = await run('from damaged', plan, at('damaged'));
  expect(reused).toBe(52);
  expect(files).toEqual(before);
  await writeNpy(at('listed.npy'), [2], Int32Array.of(3, 9));
  const other = await run('other list', plan, at('old'));
  expect(other.reused).toBe(53 - 13);
  expect(other.files).toEqual((await run('fresh other list', plan)).files);
});

it('forget sets that the new run has resolved already hold, whatever their files say later', async () => {
  await writeNpy(at('listed.npy'), [2], Int32Array.of(2, 5));
  const fresh = await run('fresh resolved', plan);
  const session = await planSession(await loadPlan(at('fresh resolved.json')), { engine: 'native' }, { threads: 0 });
  const context = await openSession(at('resolved'), session);
  const first = session.stages.filter(({ tasks }) => tasks.some(({ artefacts }) => artefacts[0]!.startsWith('forget-sets')));
  await runStages(first, context, { executor: 'inline', workers: 1 });
  await writeNpy(at('listed.npy'), [2], Int32Array.of(3, 8)); // as 'old' knew it
  const reuse = await openReuse(at('old'), session);
  await takeOver(context.run, reuse.run, await reuse.reusable(context.run));
  fs.rmSync(at('listed.npy'));
  expect((await reuse.reusable(context.run)).length).toBe(53 - 13);
  await runStages(session.stages, context, { executor: 'inline', workers: 1 });
  expect(hashes(at('resolved'))).toEqual(fresh.files);
  await writeNpy(at('listed.npy'), [2], Int32Array.of(3, 8));
});

it('an interrupt is looked at before each artefact, progress said of each; what was taken over is kept', async () => {
  const session = await planSession(await loadPlan(at('old.json')), { engine: 'native' }, { threads: 0 });
  const { run: earlier, reusable } = await openReuse(at('old'), session);
  const { run: into } = await openSession(at('interrupted'), session);
  const interruptAt = (last: number): { seen: number[]; signal: AbortSignal; onProgress: (done: number) => void } => {
    const [seen, controller] = [[] as number[], new AbortController()];
    const onProgress = (done: number): void => {
      seen.push(done);
      if (done === last) controller.abort();
    };
    return { seen, signal: controller.signal, onProgress };
  };
  const looking = interruptAt(3);
  await expect(reusable(into, looking)).rejects.toMatchObject({ code: 'LETHE_RUN_INTERRUPTED', exitCode: 75 });
  expect(looking.seen).toEqual([0, 1, 2, 3]);
  const all = await reusable(into);
  const taking = interruptAt(2);
  await expect(takeOver(into, earlier, all, taking)).rejects.toMatchObject({ code: 'LETHE_RUN_INTERRUPTED', exitCode: 75 });
  expect(taking.seen).toEqual([0, 1, 2]);
  const taken = await Promise.all(all.map(({ task }) => into.isDone(task.artefacts[0]!)));
  expect(taken).toEqual(all.map((_, index) => index < 3));
  expect(await takeOver(into, earlier, all)).toBe(all.length - 3);
});

it('nothing is taken over from a run whose artefacts mean something else to this version; it can be read', async () => {
  fs.cpSync(at('old'), at('other version'), { recursive: true });
  const { run: other } = await viewRun(at('other version'));
  const stored = decodeJson(await other.read(layout.identity), layout.identity) as object;
  await other.publish([{ path: layout.identity, content: encodeJson({ ...stored, meaningOfArtefacts: meaningOfArtefacts + 1 }) }]);
  const args = ['run', at('old.json'), '--out', at('from other version'), '--reuse', at('other version')];
  const refused = await lethe(args);
  expect(refused).toMatchObject({ code: 2, stdout: '' });
  expect(refused.stderr).toMatch(/LETHE_RUN_VERSION/);
  expect(fs.existsSync(at('from other version'))).toBe(false);
  expect((await lethe(['run', at('old.json'), '--out', at('other version')])).stderr).toMatch(/LETHE_RUN_VERSION/);
  for (const args of [['status'], ['report'], ['export', 'csv', '--out', at('csv'), '--run']])
    expect(await lethe([...args, at('other version')])).toMatchObject({ code: 0 });
});

it('lethe run --reuse: counted, estimated, refused for another engine', async () => {
  fs.writeFileSync(at('changed.json'), JSON.stringify({ ...plan, forgetSets: plan.forgetSets.slice(0, 2), tuning: { numModels: 12 } }));
  const args = ['run', at('changed.json'), '--out', at('by verb'), '--reuse', at('old'), '--json'];
  const dry = JSON.parse((await lethe([...args, '--dry-run'])).stdout) as { tasksReused: number; tasks: number };
  expect(fs.existsSync(at('by verb'))).toBe(false);
  const { stdout, stderr, code } = await lethe(args);
  expect(code).toBe(0);
  expect(stderr).toMatch(/tasks taken over from .*old/);
  const document = JSON.parse(stdout) as { tasksReused: number; tasksRun: number };
  expect(document).toMatchObject({ tasksReused: dry.tasksReused, tasksRun: dry.tasks });
  expect(fs.statSync(path.join(at('by verb'), 'masks.arrow')).nlink).toBeGreaterThan(1); // no second copy
  expect((await lethe(['verify', at('by verb')])).code).toBe(0);
  const other = await lethe([...args, '--engine', 'ort', '--out', at('never')]);
  expect(other.code).toBe(2);
  expect(other.stderr).toMatch(/LETHE_REUSE_FOREIGN.*\n.*engine: "native (fp32|bf16)/);
  expect(fs.existsSync(at('never'))).toBe(false);
});
