/** Arrays out of a run and through the verbs for arrays: the same targets, margins and scores as inside the run. */
import fs from 'node:fs';
import path from 'node:path';
import { exportNpy, loadPlan, marginsOfFiles, runPlan, simulateFiles } from '../../src/index.js';
import { layout } from '../../src/store/folders/layout.js';
import { readNpy, writeNpy } from '../../src/store/formats/npy.js';
import { lethe } from '../helpers/lethe.js';
import { tinyPlan } from '../helpers/plan.js';
import { temporaryFolder } from '../helpers/temporary.js';

const folder = temporaryFolder();
const at = (...parts: string[]): string => path.join(folder, ...parts);
const plan = { ...tinyPlan, originals: { count: 4 }, oracles: { scored: 4, matched: 4 }, tuning: { numModels: 0 } };
const numTrain = 30;
let forgetSet: string;
let report: Awaited<ReturnType<typeof runPlan>>['report'];

beforeAll(async () => {
  fs.writeFileSync(at('plan.json'), JSON.stringify({ ...plan, methods: [{ method: 'dm-direct', grid: { scale: [0.8] } }] }));
  ({ report } = await runPlan(await loadPlan(at('plan.json')), { out: at('run') }));
  await exportNpy(at('run'), at('arrays'), { parts: ['originals', 'oracles', 'unlearned'] });
  forgetSet = at('run', layout.forgetSet('random-4'));
}, 60000);

const files = () => ({ datamodels: at('run', layout.logitDatamodels(0)), logits: at('arrays', 'originals', 'logits.npy'), forgetSet });
const folderOf = (start: string): string => fs.readdirSync(at('arrays')).find((name) => name.startsWith(start))!;

it('simulate and margins give the outputs of DM-Direct, and klom its scores', async () => {
  const sizes = await simulateFiles({ ...files(), out: at('targets') }, { scale: 0.8, retainMultiplier: 2, seed: 7 });
  expect(sizes).toEqual({ numModels: 4, numPoints: 40, numClasses: 5, numTrain, numForget: 4, numFineTune: 12 });
  const labels = at('arrays', 'labels.npy');
  await marginsOfFiles({ logits: at('targets', 'targets.npy'), labels, out: at('margins.npy') });
  const unlearned = at('arrays', folderOf('unlearned'), 'margins.npy');
  expect((await readNpy(at('margins.npy'))).data).toEqual((await readNpy(unlearned)).data);

  const oracles = at('arrays', folderOf('oracles-random-4-scored'), 'margins.npy');
  const args = ['--oracle', oracles, '--unlearned', at('margins.npy'), '--forget-set', forgetSet, '--train-points', String(numTrain)];
  const { stdout, code } = await lethe(['evaluate', 'klom', ...args, '--json']);
  expect(code).toBe(0);
  const { splits } = JSON.parse(stdout) as { splits: Record<string, { mean: number; p95: number }> };
  const score = report.scores.find(({ method }) => method === 'dm-direct')!;
  for (const split of ['forget', 'retain', 'validation'] as const) {
    expect(splits[split]!.mean).toBeCloseTo(score.splits[split].mean, 12);
    expect(splits[split]!.p95).toBeCloseTo(score.splits[split].p95, 12);
  }
  expect((await lethe(['evaluate', 'klom', ...args])).stdout).toMatch(
    /over forget points: mean .*\nover retain points: .*\nover validation points: /,
  );
});

it('each model has a retain sample of its own, forget points first', async () => {
  const { shape, data } = await readNpy(at('targets', 'fine-tune.npy'));
  expect(shape).toEqual([4, 12]);
  const rows = [0, 1, 2, 3].map((model) => [...(data as Int32Array).subarray(model * 12, (model + 1) * 12)]);
  const forget = [...((await readNpy(forgetSet)).data as Int32Array)];
  for (const row of rows) {
    expect(row.slice(0, 4)).toEqual(forget);
    expect(new Set(row).size).toBe(12);
    expect(row.every((index) => index >= 0 && index < numTrain)).toBe(true);
  }
  expect(rows[0]).not.toEqual(rows[1]);
});

it('what does not fit is refused', async () => {
  const wrong = at('wrong.npy');
  await writeNpy(wrong, [3, 5], new Float32Array(15));
  await expect(simulateFiles({ ...files(), logits: wrong, out: at('x') })).rejects.toThrow('LETHE_SHAPE_MISMATCH');
  await writeNpy(wrong, [2], Int32Array.of(1, 1));
  await expect(simulateFiles({ ...files(), forgetSet: wrong, out: at('x') })).rejects.toThrow('LETHE_FORGET_SET_INVALID');
  await expect(marginsOfFiles({ logits: at('margins.npy'), labels: wrong, out: at('y.npy') })).rejects.toThrow('LETHE_SHAPE_MISMATCH');
  expect(fs.existsSync(at('x'))).toBe(false);
  const klom = ['evaluate', 'klom', '--oracle', at('margins.npy'), '--unlearned', at('margins.npy')];
  expect((await lethe([...klom, '--forget-set', forgetSet])).stderr).toMatch(/LETHE_OPTION_INVALID: .*--train-points COUNT/);
});
