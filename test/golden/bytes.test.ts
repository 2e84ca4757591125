/**
 * Golden bytes: a change of a kernel or a rule that changes results must raise meaningOfArtefacts, or old runs would be resumed with other
 * numbers. Portable kernels, one compiler: others may round differently.
 */
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';
import { meaningOfArtefacts } from '../../src/store/folders/identity.js';
import { lethe } from '../helpers/lethe.js';
import { tinyPlan } from '../helpers/plan.js';
import { temporaryFolder } from '../helpers/temporary.js';

interface Golden {
  meaning: number;
  /** First line of g++ --version. */
  compiler: string;
  /** sha256 over the files of a part of the run folder, in the order of their names. */
  parts: Record<string, string>;
}

const folder = temporaryFolder();
const goldenFile = new URL('bytes.json', import.meta.url).pathname;
const plan = {
  ...tinyPlan,
  name: 'golden',
  net: { name: 'resnet9', width: 16 },
  originals: { count: 2 },
  attributors: [
    { estimator: 'lasso' },
    { name: 'holdout', estimator: 'lasso', select: 'holdout', standardise: true },
    { name: 'kfold', estimator: 'lasso', select: 'kfold', folds: 3 },
    { name: 'given', estimator: 'lasso', lambda: 0.01, relaxation: 0.5 },
    { estimator: 'marginal', select: 'kfold' },
    { estimator: 'covariance' },
  ],
  methods: [
    { method: 'scrub', grid: { learningRate: [0.01], maximizationEpochs: [1], epochs: [1] } },
    { method: 'dm-direct' },
    { method: 'dmm', grid: { learningRate: [0.001], epochs: [1] } },
  ],
};

function parts(run: string): Record<string, string> {
  const names = ['outputs', 'originals', 'datamodels', 'unlearned', 'scores', 'scores/unbiased'];
  return Object.fromEntries(
    names.map((name) => {
      const hash = createHash('sha256');
      const files = fs.readdirSync(path.join(run, name), { recursive: true, encoding: 'utf8' }).sort();
      const own = files.filter((file) => !names.some((other) => other.startsWith(`${name}/`) && `${name}/${file}`.startsWith(other)));
      for (const file of own.map((each) => path.join(run, name, each))) if (fs.statSync(file).isFile()) hash.update(fs.readFileSync(file));
      return [name, hash.digest('hex')];
    }),
  );
}

const compiler = spawnSync('g++', ['--version'], { encoding: 'utf8' }).stdout.split('\n')[0] ?? '';
const golden = JSON.parse(fs.readFileSync(goldenFile, 'utf8')) as Golden;
const itWithCompiler = process.env['LETHE_GOLDEN'] === 'write' || compiler === golden.compiler ? it : it.skip;

itWithCompiler('gives the bytes that this meaning of artefacts has', async () => {
  fs.writeFileSync(path.join(folder, 'golden.json'), JSON.stringify(plan));
  const run = path.join(folder, 'run');
  const { code, stderr } = await lethe(['run', path.join(folder, 'golden.json'), '--out', run], { LETHE_ISA: 'portable' });
  expect({ code, stderr: code === 0 ? '' : stderr }).toEqual({ code: 0, stderr: '' });
  const found: Golden = { meaning: meaningOfArtefacts, compiler, parts: parts(run) };
  if (process.env['LETHE_GOLDEN'] === 'write') fs.writeFileSync(goldenFile, JSON.stringify(found, null, 2) + '\n');
  else if (golden.meaning === meaningOfArtefacts) expect(found.parts).toEqual(golden.parts);
  // a new meaning brings new bytes: LETHE_GOLDEN=write npm test -- test/golden
  else expect(`golden bytes of meaning ${golden.meaning}`).toBe(`golden bytes of meaning ${meaningOfArtefacts}`);
});
