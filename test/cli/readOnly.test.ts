/** Verbs that only read a run folder work where its data set and its processor are not. */
import fs from 'node:fs';
import path from 'node:path';
import { syntheticDataset } from '../../src/data/synthetic.js';
import { writeNpy } from '../../src/store/formats/npy.js';
import { lethe } from '../helpers/lethe.js';
import { tinyPlan } from '../helpers/plan.js';
import { temporaryFolder } from '../helpers/temporary.js';

const folder = temporaryFolder();
const at = (...parts: string[]): string => path.join(folder, ...parts);
const run = at('run');
const page = at('run', 'report', 'index.html');

beforeAll(async () => {
  const { dataset } = syntheticDataset({ trainPerClass: 6, validationPerClass: 2 });
  const { numTrain, numValidation, height, width, channels, pixels, labels } = dataset;
  const trainPixels = numTrain * height * width * channels;
  fs.mkdirSync(at('data'));
  await writeNpy(at('data', 'train_images.npy'), [numTrain, height, width, channels], pixels.slice(0, trainPixels));
  await writeNpy(at('data', 'validation_images.npy'), [numValidation, height, width, channels], pixels.slice(trainPixels));
  await writeNpy(at('data', 'train_labels.npy'), [numTrain], labels.slice(0, numTrain));
  await writeNpy(at('data', 'validation_labels.npy'), [numValidation], labels.slice(numTrain));
  const plan = { ...tinyPlan, data: { name: 'npy' }, methods: [{ method: 'do-nothing' }, { method: 'dm-direct' }] };
  fs.writeFileSync(at('plan.json'), JSON.stringify(plan));
  const { code, stderr } = await lethe(['run', at('plan.json'), '--out', run, '--data', at('data')]);
  expect({ code, stderr: code === 0 ? '' : stderr }).toEqual({ code: 0, stderr: '' });
  fs.renameSync(at('data'), at('moved'));
}, 120000);

it('status, report and export need neither the data nor the instruction set of the run', async () => {
  const before = fs.readFileSync(page);
  for (const isa of ['', 'portable']) {
    const elsewhere = isa === '' ? {} : { LETHE_ISA: isa };
    const status = await lethe(['status', run, '--json'], elsewhere);
    expect(JSON.parse(status.stdout)).toMatchObject({ document: 'lethe.status', tasksDone: 23, tasks: 23 });
    const verbs = [
      ['report', run],
      ['export', 'csv', '--run', run, '--out', at('csv')],
      ['export', 'npy', '--run', run, '--out', at('npy'), '--part', 'masks', 'datamodels'],
      ['export', 'safetensors', '--run', run, '--model', '1', '--out', at('original.safetensors')],
      ['export', 'onnx', '--run', run, '--model', '1', '--out', at('original.onnx')],
    ];
    for (const args of verbs) expect(await lethe(args, elsewhere)).toMatchObject({ code: 0 });
    expect(fs.readFileSync(page)).toEqual(before);
  }
  expect(fs.readFileSync(at('csv', 'datamodels.csv'), 'utf8').split('\n')).toHaveLength(40 * 5 + 2);
  expect((await lethe(['verify', run])).code).toBe(0);
}, 120000);

it('a run goes on with its own copy of its plan; given its folder, lethe run says so', async () => {
  const { code, stderr } = await lethe(['run', run, '--data', at('moved')]);
  expect(code).toBe(2);
  const [, file, out] = /LETHE_PLAN_INVALID.*is a folder.*lethe run (\S+) --out (\S+)/.exec(stderr)!;
  const state = (): string[] =>
    ['', ...fs.readdirSync(run, { recursive: true, encoding: 'utf8' })]
      .sort()
      .map((name) => `${name} ${fs.statSync(path.join(run, name)).mtimeMs}`);
  const before = state();
  const again = await lethe(['run', file!, '--out', out!, '--data', at('moved')]);
  // nothing is written: the folder may be one that one can only read
  expect(state()).toEqual(before);
  expect(again.stdout).toContain('KLOM on random-4');
  expect(again.stderr).toContain('all 23 tasks are finished');
  expect(again.code).toBe(0);
}, 120000);

it('verbs that read ask for the data of a run of an earlier version and write nothing; lethe run keeps the facts', async () => {
  fs.rmSync(at('run', 'facts.json'));
  fs.rmSync(at('run', 'manifest', 'facts.json.json'));
  const without = await lethe(['status', run]);
  expect(without).toMatchObject({ code: 2, stdout: '' });
  expect(without.stderr).toMatch(/does not say what its data were.*\n.*LETHE_DATA_DIRECTORY.*--data/);
  const left = '.masks.arrow.elsewhere-6-0123456789ab.tmp'; // of a process killed long ago
  fs.writeFileSync(at('run', left), '');
  fs.utimesSync(at('run', left), 0, 0);
  const names = fs.readdirSync(run, { recursive: true });
  expect((await lethe(['status', run, '--data', at('moved')])).code).toBe(0);
  expect(fs.readdirSync(run, { recursive: true })).toEqual(names);
  expect((await lethe(['run', at('run', 'plan.json'), '--out', run, '--data', at('moved')])).code).toBe(0);
  expect(fs.existsSync(at('run', left))).toBe(false);
  expect((await lethe(['status', run])).code).toBe(0);
}, 120000);

it('a verb prints one document, also when it ends with an error', async () => {
  fs.cpSync(run, at('damaged'), { recursive: true });
  fs.truncateSync(at('damaged', 'masks.arrow'), 100);
  const damaged = await lethe(['verify', at('damaged'), '--json']);
  expect(damaged.code).toBe(3);
  expect(JSON.parse(damaged.stdout)).toMatchObject({ document: 'lethe.verify', damaged: [{ path: 'masks.arrow' }] });
  expect(damaged.stderr).toMatch(/LETHE_RUN_DAMAGED/);
  const absent = await lethe(['status', at('nowhere'), '--json']);
  expect(JSON.parse(absent.stdout)).toMatchObject({
    document: 'lethe.error',
    code: 'LETHE_RUN_MISSING',
    expected: 'a file plan.json in it',
    action: expect.stringContaining('lethe run PLAN') as string,
    exitCode: 2,
  });
});
