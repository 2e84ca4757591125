import fs from 'node:fs';
import path from 'node:path';
import { meaningOfArtefacts } from '../../../src/store/folders/identity.js';
import { decodeJson, encodeJson } from '../../../src/store/disk/json.js';
import { layout, manifestPath } from '../../../src/store/folders/layout.js';
import { planHash } from '../../../src/store/folders/planIdentity.js';
import { openRun } from '../../../src/store/folders/run.js';
import { repairRun, verifyRun } from '../../../src/store/folders/verify.js';
import { samplePlan } from '../../helpers/plan.js';
import { temporaryFolder } from '../../helpers/temporary.js';

const folder = temporaryFolder();
const plan = samplePlan();
let counter = 0;
const newRoot = (): string => path.join(folder, `run-${counter++}`);
const bytesOf = (text: string): Uint8Array => new TextEncoder().encode(text);

async function smallRun(root: string) {
  const run = await openRun(root, { plan, identity: { dataset: 'abc' } });
  await run.publish([
    { path: layout.subsetOutputs(1003), content: bytesOf('outputs of models 20 to 39'), rows: 20, firstRow: 20 },
    { path: layout.oracles('random-10', 'scored', 0), content: bytesOf('oracles') },
  ]);
  await run.publish([{ path: layout.scores('random-10'), content: new Uint8Array(0) }]);
  return run;
}

test('artefacts are done, readable and described by their manifests; plan.json comes first', async () => {
  const root = newRoot();
  const run = await smallRun(root);
  const shard = 'outputs/01/shard-01003.arrow';
  expect(await run.isDone(shard)).toBe(true);
  expect(await (await openRun(root)).read(shard)).toEqual(bytesOf('outputs of models 20 to 39'));
  expect(JSON.parse(fs.readFileSync(path.join(root, manifestPath(shard)), 'utf8'))).toMatchObject({
    bytes: 26,
    rows: 20,
    firstRow: 20,
    planHash: planHash(plan),
    sha256: await sha(root, shard),
  });
  expect((await openRun(root)).plan).toEqual(plan);
  expect(await run.isDone(layout.masks)).toBe(false);
  await expect(run.read(layout.masks)).rejects.toMatchObject({ code: 'LETHE_ARTEFACT_MISSING', exitCode: 3 });
  for (const wrong of ['../x', 'report/../../x', '/etc/x', 'outputs/x', 'report/A', 'report/a\nb', 'manifest/x.json']) {
    await expect(run.publish([{ path: wrong, content: new Uint8Array(1) }])).rejects.toMatchObject({ code: 'LETHE_NAME_INVALID' });
  }
});

async function sha(root: string, file: string): Promise<string> {
  const digest = await crypto.subtle.digest('SHA-256', fs.readFileSync(path.join(root, file)));
  return Buffer.from(digest).toString('hex');
}

test('every flipped byte and every cut of every file is found, redone by repair, and nothing else is touched', async () => {
  const root = newRoot();
  await smallRun(root);
  const files = fs
    .readdirSync(root, { recursive: true, encoding: 'utf8' })
    .filter((file) => fs.statSync(path.join(root, file)).isFile() && file !== layout.plan && file !== manifestPath(layout.plan));
  expect(files).toHaveLength(8);
  const run = await openRun(root);
  for (const file of files) {
    const artefact = file.startsWith('manifest/') ? file.slice(9, -5) : file;
    const original = fs.readFileSync(path.join(root, file));
    const damages = [Buffer.concat([original, Buffer.of(32)])];
    for (let at = 0; at < original.length; at++) {
      const flipped = Buffer.from(original);
      flipped[at]! ^= 1 << (at % 8);
      damages.push(flipped);
      if (at % 7 === 0) damages.push(original.subarray(0, at));
    }
    for (const [index, damage] of damages.entries()) {
      fs.writeFileSync(path.join(root, file), damage);
      await expect(run.read(artefact)).rejects.toMatchObject({ exitCode: 3 });
      if (index % 23 === 0) expect((await verifyRun(run)).damaged.map((item) => item.path)).toEqual([artefact]);
    }
    expect(await run.isDone(artefact)).toBe(false);
    fs.writeFileSync(path.join(root, file), original);
    expect(await run.isDone(artefact)).toBe(true);
  }
  const shard = layout.subsetOutputs(1003);
  fs.truncateSync(path.join(root, shard), 3);
  fs.writeFileSync(path.join(root, 'notes.txt'), 'mine');
  fs.rmSync(path.join(root, layout.scores('random-10')));
  const health = await verifyRun(run, [layout.masks]);
  expect(health).toMatchObject({ missing: [layout.scores('random-10'), layout.masks], foreign: ['notes.txt'] });
  await repairRun(run, health);
  expect(await verifyRun(run)).toMatchObject({ checked: 3, damaged: [], missing: [], foreign: ['notes.txt'] });
  // the page stands for the whole report: a damaged figure takes the page along
  const [figure, page] = [layout.report('figures/lds.csv'), layout.report('index.html')];
  await run.publish([figure, page].map((file) => ({ path: file, content: bytesOf(file) })));
  fs.truncateSync(path.join(root, figure), 1);
  expect(await repairRun(run, await verifyRun(run))).toEqual([figure, page]);
  expect(await run.isDone(page)).toBe(false);
});

test('damage of plan.json and its manifest is found; the original plan restores them', async () => {
  const root = newRoot();
  await smallRun(root);
  for (const file of [layout.plan, manifestPath(layout.plan)]) {
    const original = fs.readFileSync(path.join(root, file));
    for (let at = 0; at < original.length; at += 41) {
      const flipped = Buffer.from(original);
      flipped[at]! ^= 1 << (at % 8);
      fs.writeFileSync(path.join(root, file), at % 2 === 0 ? flipped : original.subarray(0, at));
      await expect(openRun(root)).rejects.toMatchObject({ code: 'LETHE_PLAN_DAMAGED', exitCode: 3 });
      await openRun(root, { plan });
      expect(fs.readFileSync(path.join(root, file))).toEqual(original);
    }
  }
  fs.rmSync(path.join(root, layout.plan));
  await expect(openRun(root, { plan: { ...plan, seed: 8 } })).rejects.toMatchObject({ code: 'LETHE_RUN_FOREIGN' });
  expect((await openRun(root, { plan })).plan).toEqual(plan);
  fs.rmSync(path.join(root, manifestPath(layout.plan)));
  expect((await openRun(root)).plan).toEqual(plan);
});

/** Every leaf of a plan, changed. */
function* changedPlans(value: object, root: object): Generator<{ place: string }> {
  for (const [key, item] of Object.entries(value) as [string, unknown][]) {
    if (typeof item === 'object' && item !== null) {
      yield* changedPlans(item, root);
      continue;
    }
    const change = typeof item === 'number' ? item + 1 : typeof item === 'boolean' ? !item : `${String(item)}x`;
    (value as Record<string, unknown>)[key] = change;
    yield { place: `${key}: ${JSON.stringify(item)} -> ${JSON.stringify(change)}` };
    (value as Record<string, unknown>)[key] = item;
  }
}

test('another plan or identity is refused and every difference shown', async () => {
  const root = newRoot();
  await smallRun(root);
  const edited = samplePlan();
  let edits = 0;
  for (const { place } of changedPlans(edited, edited)) {
    edits += 1;
    await expect(openRun(root, { plan: edited })).rejects.toMatchObject({
      code: 'LETHE_PLAN_CHANGED',
      exitCode: 2,
      message: expect.stringContaining(place) as string,
    });
  }
  expect(edits).toBeGreaterThan(35);
  await expect(openRun(root, { plan: { ...plan, forgetSets: [] } })).rejects.toThrow(/forgetSets\[0\]\.name: "random-10" -> absent/);
  await expect(openRun(root, { plan, identity: { dataset: 'abd' } })).rejects.toThrow(/dataset: "abc" -> "abd"/);
  await openRun(root, { plan: samplePlan(), identity: { dataset: 'abc' } });
});

test('a run whose artefacts mean something else to this version is not resumed, but read; without a number they mean 1', async () => {
  const identity = { dataset: 'abc' };
  const stored = async (content: object): Promise<string> => {
    const root = newRoot();
    const run = await smallRun(root);
    expect(decodeJson(await run.read(layout.identity), layout.identity)).toEqual({ ...identity, meaningOfArtefacts });
    await run.publish([{ path: layout.identity, content: encodeJson(content) }]);
    return root;
  };
  const root = await stored({ ...identity, meaningOfArtefacts: meaningOfArtefacts + 1 });
  const before = fs.readFileSync(path.join(root, layout.identity));
  await expect(openRun(root, { plan, identity })).rejects.toMatchObject({
    code: 'LETHE_RUN_VERSION',
    exitCode: 2,
    expected: expect.stringContaining(`meaning ${meaningOfArtefacts},`) as string,
    received: `meaning ${meaningOfArtefacts + 1}`,
    action: expect.stringContaining('another folder') as string,
  });
  expect(fs.readFileSync(path.join(root, layout.identity))).toEqual(before);
  expect(await (await openRun(root)).read(layout.oracles('random-10', 'scored', 0))).toEqual(bytesOf('oracles'));
  const [unnumbered, first] = [await stored(identity), await stored({ ...identity, meaningOfArtefacts: 1 })];
  const outcomes = await Promise.allSettled([unnumbered, first].map((old) => openRun(old, { plan, identity })));
  const expected = (meaningOfArtefacts as number) === 1 ? 'fulfilled' : 'rejected';
  expect(outcomes.map(({ status }) => status)).toEqual([expected, expected]);
});

test('a folder that cannot be made is an error of the environment', async () => {
  const file = newRoot();
  fs.writeFileSync(file, '');
  await expect(openRun(path.join(file, 'run'), { plan })).rejects.toMatchObject({ code: 'LETHE_FILE_UNWRITABLE', exitCode: 4 });
});

test('folders that are no runs are refused', async () => {
  const root = newRoot();
  await expect(openRun(root)).rejects.toMatchObject({ code: 'LETHE_RUN_MISSING', exitCode: 2 });
  expect(fs.existsSync(root)).toBe(false);
  fs.mkdirSync(root);
  fs.writeFileSync(path.join(root, 'thesis.tex'), '');
  await expect(openRun(root, { plan })).rejects.toMatchObject({
    code: 'LETHE_RUN_FOREIGN',
    message: expect.stringContaining('thesis.tex') as string,
  });
});

test('what shells and file systems put into a folder is left alone', async () => {
  const root = newRoot();
  const theirs = ['log.txt', 'lost+found', '.nfs0000000001', 'slurm-7.out', 'nohup.out', 'run.log'];
  for (const name of theirs) fs.mkdirSync(path.join(root, name), { recursive: true });
  const run = await openRun(root, { plan });
  expect(await run.isDone(layout.plan)).toBe(true);
  expect(fs.readdirSync(root)).toEqual(expect.arrayContaining(theirs));
});

test('of two runs that begin at once in one folder, with other plans or other data, one is refused', async () => {
  const plans = newRoot();
  const ends = await Promise.allSettled([1, 2].map((seed) => openRun(plans, { plan: { ...plan, seed } })));
  const data = newRoot();
  ends.push(...(await Promise.allSettled(['a', 'b'].map((dataset) => openRun(data, { plan, identity: { dataset } })))));
  const codes = ends.map((end) => (end.status === 'rejected' ? (end.reason as { code: string }).code : 'opened'));
  expect([codes.slice(0, 2).sort(), codes.slice(2).sort()]).toEqual([
    ['LETHE_PLAN_CHANGED', 'opened'],
    ['LETHE_PLAN_CHANGED', 'opened'],
  ]);
});

test('an artefact of another plan, an artefact without manifest and an unfinished republication are not done', async () => {
  const [root, other] = [newRoot(), newRoot()];
  const run = await smallRun(root);
  const stranger = await openRun(other, { plan: { ...plan, seed: 8 } });
  const shard = layout.subsetOutputs(1003);
  await stranger.publish([{ path: shard, content: bytesOf('outputs of models 20 to 39') }]);
  fs.copyFileSync(path.join(other, manifestPath(shard)), path.join(root, manifestPath(shard)));
  expect(await run.isDone(shard)).toBe(false);
  await expect(run.read(shard)).rejects.toThrow(/LETHE_ARTEFACT_DAMAGED.*expected plan/);
  fs.rmSync(path.join(root, manifestPath(shard)));
  expect(await run.isDone(shard)).toBe(false);
  expect((await verifyRun(run)).damaged).toEqual([{ path: shard, reason: 'no readable manifest' }]);
});

/** A folder on another file system, where files cannot be linked. */
const otherDisk = '/dev/shm';
const hasOtherDisk = fs.existsSync(otherDisk) && fs.statSync(otherDisk).dev !== fs.statSync(folder).dev;

const disks: [string, () => string][] = [['one disk', newRoot]];
if (hasOtherDisk) disks.push(['two disks', () => fs.mkdtempSync(path.join(otherDisk, 'lethe-test-'))]);

test.each(disks)(
  'takes over artefacts of another plan on %s, under another path, and nothing that is damaged',
  async (_where, makeRoot) => {
    const before = newRoot();
    const old = await smallRun(before);
    const root = makeRoot();
    try {
      const run = await openRun(root, { plan: { ...plan, seed: 8 } });
      const [source, shard] = [layout.subsetOutputs(1003), layout.subsetOutputs(2)];
      expect(await run.adopt(shard, old, source)).toBe(true);
      expect(await (await openRun(root)).read(shard)).toEqual(bytesOf('outputs of models 20 to 39'));
      expect(await run.finished(shard)).toMatchObject({ rows: 20, firstRow: 20, planHash: run.planHash });
      expect(await run.adopt(layout.masks, old, layout.masks)).toBe(false);
      fs.rmSync(path.join(before, source)); // the other name stays
      fs.writeFileSync(path.join(before, source), 'outputs of models 20 to 38');
      expect(await run.adopt(layout.subsetOutputs(3), old, source)).toBe(false);
      expect(await verifyRun(run)).toMatchObject({ damaged: [], missing: [], foreign: [] });
      expect(await run.read(shard)).toEqual(bytesOf('outputs of models 20 to 39'));
    } finally {
      fs.rmSync(root, { recursive: true, force: true });
    }
  },
);
