/** The whole method through the command line: kills and resumes, executors, damage, refusals, real data. */
import { createHash } from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';
import { exportNpy } from '../src/commands/exportRun.js';
import { divergences } from '../src/evaluate/klom.js';
import { summarise } from '../src/evaluate/percentile.js';
import { decodeJson } from '../src/store/disk/json.js';
import { readNpy } from '../src/store/formats/npy.js';
import type { ForgetSetScores, LdsScores, UnbiasedScores } from '../src/types.js';
import { nativeAddon } from '../src/native/addon.js';
import { Purpose, Random } from '../src/native/random.js';
import { lethe, startLethe } from './helpers/lethe.js';
import { cifar10SmallDirectory, itWithData } from './helpers/realData.js';
import { temporaryFolder } from './helpers/temporary.js';

const folder = temporaryFolder();

const tinyPlan = {
  name: 'tiny',
  data: { name: 'synthetic', trainPerClass: 12, validationPerClass: 6 },
  net: { name: 'smallcnn', width: 1 },
  recipe: { epochs: 6, batchSize: 8, schedule: { kind: 'triangle', learningRate: 0.1, peakEpoch: 2 } },
  subsetModels: { count: 40, modelsPerShard: 10 },
  originals: { count: 8 },
  oracles: { scored: 8, matched: 6 },
  lds: { numModels: [20], ceiling: true },
  forgetSets: [
    { name: 'random-5', kind: 'random', size: 5, seed: 0 },
    { name: 'pc1-4', kind: 'principalComponent', component: 1, top: 2, bottom: 2 },
  ],
  methods: [
    { method: 'do-nothing' },
    { method: 'full-retrain' },
    { method: 'partial-retrain', grid: { epochs: [2], schedule: ['cut', 'compressed'] } },
    { method: 'gradient-ascent', grid: { learningRate: [0.001, 0.01], epochs: [1, 2] } },
    { method: 'gradient-descent', grid: { learningRate: [0.01], epochs: [1] } },
    { method: 'scrub', grid: { learningRate: [0.01], maximizationEpochs: [1], epochs: [2] } },
    { method: 'oracle-matching', grid: { learningRate: [0.001], epochs: [2] } },
    { method: 'dm-direct' },
    { method: 'dmm', grid: { learningRate: [0.001], epochs: [2] } },
  ],
  tuning: { numModels: 10 },
};
const planFile = path.join(folder, 'tiny.json');
fs.writeFileSync(planFile, JSON.stringify(tinyPlan));

/** sha256 of everything that is a result; times and hosts are in provenance.json. */
function fingerprint(run: string): Record<string, string> {
  const files = fs.readdirSync(run, { recursive: true, encoding: 'utf8' }).filter((file) => fs.statSync(path.join(run, file)).isFile());
  const results = files.filter((file) => file !== 'provenance.json').sort();
  return Object.fromEntries(
    results.map((file) => [
      file,
      createHash('sha256')
        .update(fs.readFileSync(path.join(run, file)))
        .digest('hex'),
    ]),
  );
}

const reference = path.join(folder, 'reference');
let clean: Record<string, string>;
let seconds: number;

beforeAll(async () => {
  const started = Date.now();
  const { code, stderr } = await lethe(['run', planFile, '--out', reference]);
  seconds = (Date.now() - started) / 1000;
  expect({ code, stderr: code === 0 ? '' : stderr }).toEqual({ code: 0, stderr: '' });
  clean = fingerprint(reference);
}, 120000);

it('scores every setting without the bias of a histogram too', async () => {
  const place = 'scores/unbiased/random-5.json';
  const { scores, floor } = decodeJson(fs.readFileSync(path.join(reference, place)), place) as UnbiasedScores;
  const klom = decodeJson(fs.readFileSync(path.join(reference, 'scores/random-5.json')), place) as ForgetSetScores;
  expect(scores.map(({ method, setting }) => [method, setting])).toEqual(klom.scores.map(({ method, setting }) => [method, setting]));
  // the estimate of files is that of the run
  const nothing = scores.find(({ method }) => method === 'do-nothing')!;
  const arrays = path.join(folder, 'unbiased-arrays');
  await exportNpy(reference, arrays, { parts: ['originals', 'oracles'] });
  const margins = async (part: string) => {
    const { shape, data } = await readNpy(path.join(arrays, part, 'margins.npy'));
    return { count: 6, margins: (data as Float32Array).subarray(0, 6 * shape[1]!), numPoints: shape[1]! };
  };
  const [oracles, originals] = [await margins('oracles-random-5-scored'), await margins('originals')];
  const { gaussian } = await divergences({
    oracleMargins: oracles.margins,
    unlearnedMargins: originals.margins,
    numOracles: oracles.count,
    numUnlearned: originals.count,
    numPoints: oracles.numPoints,
  });
  const forget = (await readNpy(path.join(reference, 'forget-sets/random-5.npy'))).data as Int32Array;
  expect(nothing.gaussian.forget.mean).toBeCloseTo(summarise(gaussian, forget).mean, 12);
  expect(floor.gaussian.retain.mean).toBeLessThan(nothing.gaussian.forget.mean);
  expect(fs.readFileSync(path.join(reference, 'report/index.html'), 'utf8')).toContain('Without a histogram');
});

it('says what LDS a perfect prediction would have', () => {
  const { lds, ceilings } = JSON.parse(fs.readFileSync(path.join(reference, 'scores/lds.json'), 'utf8')) as LdsScores;
  expect(ceilings?.map(({ points, numMasks }) => [points, numMasks])).toEqual([
    ['train', 4],
    ['validation', 4],
  ]);
  expect(lds.map(({ numModels }) => numModels)).toContain(36);
  const page = fs.readFileSync(path.join(reference, 'report/index.html'), 'utf8');
  expect(page).toContain('from 4 masks trained twice');
});

it('gives every method a score on every forget set, and a page', async () => {
  const { stdout, code } = await lethe(['run', planFile, '--out', reference, '--json']);
  expect(code).toBe(0);
  const document = JSON.parse(stdout) as {
    tasksRun: number;
    scores: { method: string; variant?: string; forgetSet: string; best: boolean; numUnlearned: number; numOracles: number }[];
  };
  expect(document.tasksRun).toBe(0);
  for (const forgetSet of ['random-5', 'pc1-4']) {
    const best = document.scores.filter((score) => score.forgetSet === forgetSet && score.best);
    const rows = best.map(({ method, variant = '' }) => `${method} ${variant}`.trim());
    expect(rows.sort()).toEqual([...tinyPlan.methods.map(({ method }) => method), 'partial-retrain compressed'].sort());
    // one N for all: the fewest of originals, scored and matched oracles
    for (const { numUnlearned, numOracles } of best) expect([numUnlearned, numOracles]).toEqual([6, 6]);
  }
  expect(fs.readFileSync(path.join(reference, 'report', 'index.html'), 'utf8')).toContain('</html>');
});

it('kill -9 at 20 random moments, then the same command: the same bytes', async () => {
  const run = path.join(folder, 'killed');
  const random = new Random(5, Purpose.synthetic, 0);
  let kills = 0;
  while (kills < 20) {
    // node needs about 0.3 s to start; kills land anywhere behind that, some in the middle of a publication
    const { child, result } = startLethe(['run', planFile, '--out', run, '--executor', kills % 4 === 3 ? 'process' : 'inline']);
    const timer = setTimeout(() => child.kill('SIGKILL'), 300 + random.uniform() * Math.min(1500, seconds * 400));
    const { signal } = await result;
    clearTimeout(timer);
    if (signal !== 'SIGKILL') fs.rmSync(run, { recursive: true, force: true });
    else kills++;
  }
  const { code } = await lethe(['run', planFile, '--out', run]);
  expect(code).toBe(0);
  expect(fingerprint(run)).toEqual(clean);
}, 180000);

it('worker processes and one thread give the same bytes', async () => {
  const run = path.join(folder, 'processes');
  const { code, stderr } = await lethe(['run', planFile, '--out', run, '--executor', 'process', '--workers', '2', '--threads', '2']);
  expect({ code, stderr: code === 0 ? '' : stderr }).toEqual({ code: 0, stderr: '' });
  expect(fingerprint(run)).toEqual(clean);
}, 120000);

it('SIGTERM ends with 75 and the same command resumes', async () => {
  const run = path.join(folder, 'stopped');
  const { child, result } = startLethe(['run', planFile, '--out', run]);
  child.stderr!.once('data', () => setTimeout(() => child.kill('SIGTERM'), 100));
  expect((await result).code).toBe(75);
  expect((await lethe(['run', planFile, '--out', run])).code).toBe(0);
  expect(fingerprint(run)).toEqual(clean);
}, 120000);

it('finds a flipped bit, and only that shard is made anew', async () => {
  const run = path.join(folder, 'damaged');
  fs.cpSync(reference, run, { recursive: true });
  const victim = path.join(run, 'outputs', '00', 'shard-00002.arrow');
  const bytes = fs.readFileSync(victim);
  bytes[bytes.length >> 1]! ^= 4;
  fs.writeFileSync(victim, bytes);
  const { code, stdout } = await lethe(['verify', run]);
  expect(code).toBe(3);
  expect(stdout).toContain('damaged outputs/00/shard-00002.arrow');
  const again = await lethe(['run', planFile, '--out', run, '--json']);
  const { tasksRun, tasksSkipped } = JSON.parse(again.stdout) as { tasksRun: number; tasksSkipped: number };
  expect(tasksRun).toBe(1);
  expect(again.stderr).toContain(`resuming, ${tasksSkipped} of ${tasksSkipped + 1} tasks are finished`);
  expect(fingerprint(run)).toEqual(clean);
  expect((await lethe(['verify', run])).code).toBe(0);
});

it('refuses another plan in the same folder and shows the difference', async () => {
  const changed = path.join(folder, 'changed.json');
  fs.writeFileSync(changed, JSON.stringify({ ...tinyPlan, recipe: { ...tinyPlan.recipe, epochs: 7 } }));
  const { code, stderr } = await lethe(['run', changed, '--out', reference]);
  expect(code).toBe(2);
  expect(stderr).toContain('LETHE_PLAN_CHANGED');
  expect(stderr).toContain('recipe.epochs: 6 -> 7');
  expect(fingerprint(reference)).toEqual(clean);
});

it('finds out that a forget set is impossible before anything is trained', async () => {
  const out = path.join(folder, 'impossible');
  const attempts = [
    { name: 'all', kind: 'random', size: 1000 },
    { name: 'lost', kind: 'file', path: path.join(folder, 'no-such-indices.npy') },
    { name: 'wide', kind: 'principalComponent', component: 1, top: 600, bottom: 600 },
  ];
  const codes = ['LETHE_FORGET_SET_INVALID', 'LETHE_FILE_MISSING', 'LETHE_FORGET_SET_INVALID'];
  for (const [i, forgetSet] of attempts.entries()) {
    const wrong = path.join(folder, 'impossible.json');
    fs.writeFileSync(wrong, JSON.stringify({ ...tinyPlan, forgetSets: [forgetSet] }));
    for (const more of [[], ['--dry-run']]) {
      const { code, stderr } = await lethe(['run', wrong, '--out', out, ...more]);
      expect({ code, found: stderr.includes(codes[i]!) }).toEqual({ code: 2, found: true });
    }
  }
  expect(fs.existsSync(out)).toBe(false);
}, 120000);

it('a device that is not here ends the run before anything is written', async () => {
  const out = path.join(folder, 'gpu');
  const { code, stderr } = await lethe(['run', planFile, '--out', out, '--device', 'cuda']);
  const here = nativeAddon().systemInfo().cuda.devices.length > 0;
  expect({ code, folder: fs.existsSync(out) }).toEqual(here ? { code: 0, folder: true } : { code: 4, folder: false });
  expect(stderr.includes('LETHE_GPU_UNAVAILABLE')).toBe(!here);
}, 120000);

it('--dry-run writes nothing', async () => {
  const out = path.join(folder, 'nothing');
  const { code, stdout } = await lethe(['run', planFile, '--out', out, '--dry-run', '--json']);
  expect(code).toBe(0);
  const document = JSON.parse(stdout) as { models: number; files: number; seconds: number };
  expect(document.models).toBeGreaterThan(40);
  expect(document.seconds).toBeGreaterThan(0);
  expect(fs.existsSync(out)).toBe(false);
});

it('status tells what is done', async () => {
  const { stdout, code } = await lethe(['status', reference, '--json']);
  expect(code).toBe(0);
  const document = JSON.parse(stdout) as { tasksDone: number; tasks: number };
  expect(document.tasksDone).toBe(document.tasks);
});

it('a wrong command line is a usage error with a code that helps', async () => {
  const cases: [string[], RegExp][] = [
    [['runn', planFile], /LETHE_VERB_UNKNOWN.*Did you mean run\?/],
    [['run', planFile, '--executor', 'cloud'], /LETHE_OPTION_INVALID.*inline, process.*Run: lethe run --help/],
    [['fit', '--mask', 'M.npy', '--out', 'f'], /LETHE_OPTION_UNKNOWN.*--mask'. Did you mean --masks\?/],
    [['fit', '--masks', 'M.npy'], /LETHE_OPTION_MISSING.*--outputs <file>, --out <dir>/],
    [['run', planFile, '--out', ''], /LETHE_OPTION_INVALID: --out is empty/],
  ];
  for (const [args, expected] of cases) {
    const { code, stdout, stderr } = await lethe(args);
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' });
    expect(stderr).toMatch(expected);
  }
  const { stdout } = await lethe(['run', planFile, 'more', '--json']);
  expect(JSON.parse(stdout)).toMatchObject({ document: 'lethe.error', code: 'LETHE_ARGUMENT_UNEXPECTED' });
});

it('more threads than processors: a warning and the same bytes; an absurd number: an error', async () => {
  const out = path.join(folder, 'oversubscribed');
  const { code, stderr } = await lethe(['run', planFile, '--out', out, '--threads', '1000', '--workers', '3']);
  expect(code).toBe(0);
  expect(stderr).toMatch(/warning: --threads 1000, but this process may use \d+ processors?: it will not be faster/);
  expect(stderr).toMatch(/warning: --workers is of --executor process only/);
  expect(fingerprint(out)).toEqual(clean);
  const absurd = await lethe(['run', planFile, '--out', out, '--threads', '20000']);
  expect(absurd.code).toBe(2);
  expect(absurd.stderr).toMatch(/LETHE_OPTION_INVALID.*at most 1024; received "20000"/);
}, 120000);

itWithData(
  'real CIFAR-10: the original knows its forget points, the oracle does not, DM-Direct lies between or beyond',
  async () => {
    const plan = path.join(folder, 'real.json');
    const real = {
      ...tinyPlan,
      name: 'real',
      data: { name: 'cifar10', trainPerClass: 5, validationPerClass: 5 },
      net: { name: 'resnet9', width: 8 },
      recipe: { epochs: 20, batchSize: 5, schedule: { kind: 'triangle', learningRate: 0.05, peakEpoch: 5 } },
      subsetModels: { count: 80, modelsPerShard: 40 },
      originals: { count: 10 },
      oracles: { scored: 10, matched: 10 },
      forgetSets: [{ name: 'random-6', kind: 'random', size: 6, seed: 0 }],
      methods: tinyPlan.methods.filter(({ method }) => ['do-nothing', 'full-retrain', 'dm-direct'].includes(method)),
    };
    fs.writeFileSync(plan, JSON.stringify(real));
    const { code, stdout, stderr } = await lethe([
      'run',
      plan,
      '--out',
      path.join(folder, 'real'),
      '--data',
      cifar10SmallDirectory,
      '--json',
    ]);
    expect({ code, stderr: code === 0 ? '' : stderr }).toEqual({ code: 0, stderr: '' });
    const { scores } = JSON.parse(stdout) as {
      scores: { method: string; splits: { forget: { mean: number } }; accuracy: { forget: number } }[];
    };
    const of = (method: string): (typeof scores)[number] => scores.find((score) => score.method === method)!;
    expect(of('do-nothing').accuracy.forget).toBeGreaterThan(of('full-retrain').accuracy.forget + 0.1);
    expect(of('do-nothing').splits.forget.mean).toBeGreaterThan(of('full-retrain').splits.forget.mean);
    expect(of('dm-direct').splits.forget.mean).toBeLessThan(of('do-nothing').splits.forget.mean);
  },
  120000,
);
