/** Several attributors of a plan side by side, from the plan to the report, and scales from a calibrating forget set. */
import fs from 'node:fs';
import path from 'node:path';
import { nativeMargins } from '../../src/native/margins.js';
import { loadPlan, runPlan, unlearn, viewRun } from '../../src/index.js';
import { decodeFloats, decodeIndices } from '../../src/store/contents/npyArtefact.js';
import { readOutputs } from '../../src/store/contents/outputs.js';
import { decodeJson } from '../../src/store/disk/json.js';
import { layout } from '../../src/store/folders/layout.js';
import { verifyRun } from '../../src/store/folders/verify.js';
import { simulate } from '../../src/unlearn/index.js';
import { tinyPlan } from '../helpers/plan.js';
import { temporaryFolder } from '../helpers/temporary.js';

const folder = temporaryFolder();
const at = (...parts: string[]): string => path.join(folder, ...parts);

const several = {
  ...tinyPlan,
  attributors: [
    { name: 'lasso', lambdaRatio: 0.3 },
    { name: 'ridge' },
    { name: 'covariance' },
    { name: 'thick', estimator: 'ridge', lambdaRatio: 30 },
    { name: 'few', estimator: 'covariance', models: 12 },
    { name: 'both', estimator: 'ensemble', members: ['covariance', 'lasso'] },
    { name: 'on-top', estimator: 'ridge', prior: 'covariance' },
  ],
  forgetSets: [...tinyPlan.forgetSets, { name: 'held-out', kind: 'random', size: 6, seed: 2 }],
  calibration: { forgetSet: 'held-out' },
  methods: [
    { method: 'do-nothing' },
    { method: 'dm-direct', grid: { attributor: ['lasso', 'ridge', 'thick', 'few', 'both', 'on-top'], scale: [1, 'calibrated'] } },
    { method: 'dmm', grid: { attributor: ['lasso', 'ridge'], scale: ['calibrated'], batchSize: [8], epochs: [1] } },
  ],
  tuning: { numModels: 2 },
};

async function run(name: string, plan: object, more: { reuse?: string } = {}) {
  fs.writeFileSync(at(`${name}.json`), JSON.stringify(plan));
  return runPlan(await loadPlan(at(`${name}.json`)), { out: at(name), ...more });
}

it('fits, scores and unlearns with each, and takes over what another plan has of them', async () => {
  const before = await run('one', { ...tinyPlan, fit: { lambdaRatio: 0.3 }, methods: [{ method: 'dm-direct' }] });
  const { report, tasksReused, page } = await run('several', several, { reuse: at('one') });
  // masks, subset models, originals, all of the Lasso
  expect(tasksReused).toBeGreaterThan(8);
  expect(before.report.lds).toEqual(report.lds.filter(({ estimator }) => ['lasso', 'marginal'].includes(estimator)));
  expect([...new Set(report.lds.map(({ estimator }) => estimator))]).toEqual([
    ...['lasso', 'marginal', 'ridge', 'covariance', 'thick', 'both', 'on-top'], // few is a point of the curve of covariance
  ]);
  expect(report.attributors.map(({ curve, models }) => `${curve} ${models}`)).toContain('covariance 12');
  const html = fs.readFileSync(page, 'utf8');
  expect(html).toContain('LDS of each attributor');
  expect(html).toMatch(/datamodels, thick.*ridge, lambda 30 of the mean eigenvalue/);
  expect(html).toMatch(/scale, ridge.*least squares on the matched oracles of held-out/);
  const rows = report.scores.filter(({ method, forgetSet }) => method === 'dm-direct' && forgetSet === 'random-4');
  expect(rows.map(({ setting: { attributor, scale }, variant }) => [attributor, scale, variant])).toEqual([
    [undefined, 1, undefined],
    [undefined, 'calibrated', undefined],
    ...['ridge', 'thick', 'few', 'both', 'on-top'].flatMap((name) => [1, 'calibrated'].map((scale) => [name, scale, name])),
  ]);
  expect(rows.filter(({ best }) => best).length).toBe(6); // a setting of each
  const [tuned] = report.choices.find(({ forgetSet }) => forgetSet === 'random-4')!.choices.filter(({ method }) => method === 'dmm');
  expect(tuned!.settings.map(({ setting }) => setting['attributor'])).toEqual([undefined, 'ridge']);

  const view = await viewRun(at('several'));
  expect(await verifyRun(view.run)).toMatchObject({ damaged: [], missing: [], foreign: [] });
  const { numClasses, labels } = view.dataset;
  const originals = readOutputs(await view.run.read(layout.originals(0)));
  const floats = async (place: string) => decodeFloats(await view.run.read(place));
  for (const [index, attributor] of [undefined, 'ridge', 'thick'].entries()) {
    const scales = decodeJson(await view.run.read(layout.calibration(attributor)), 'scale') as Record<'full' | 'diagonal', number>;
    const both = await floats(layout.forgetShift('random-4', attributor));
    const shift = { full: both.subarray(0, both.length / 2), diagonal: both.subarray(both.length / 2) };
    // the second setting of each attributor: the calibrated one
    const stored = readOutputs(await view.run.read(layout.unlearned('random-4', 'dm-direct', 2 * index + 1, 0)));
    const logits = simulate({ originalLogits: originals.logits!.row(1), shift, scale: Math.max(0, scales.full), diagonalOnly: false });
    expect(stored.margins!.row(1)).toEqual((await nativeMargins({ logits, labels, numClasses })).margins);
  }
  expect(await floats(layout.forgetShift('random-4', 'ridge'))).not.toEqual(await floats(layout.forgetShift('random-4')));

  // least squares by hand: every split weighs the same, matched oracles only
  const { numTrain } = view.dataset;
  const forget = new Set(decodeIndices(await view.run.read(layout.forgetSet('held-out'))));
  const matched = readOutputs(await view.run.read(layout.oracles('held-out', 'matched', 0)));
  const meanLogit = ({ logits, numRows, snapshots }: typeof originals, target: number): number => {
    const rows = Array.from({ length: numRows }, (_, row) => row).filter((row) => !snapshots || snapshots[row] === view.plan.recipe.epochs);
    return rows.reduce((sum, row) => sum + logits!.row(row)[target]!, 0) / rows.length;
  };
  const shift = await floats(layout.forgetShift('held-out', 'ridge'));
  const splitOf = (point: number): number => (point >= numTrain ? 2 : forget.has(point) ? 0 : 1);
  const sizes = [0, 1, 2].map((split) => Array.from(labels.keys()).filter((point) => splitOf(point) === split).length);
  let [product, square] = [0, 0];
  for (let target = 0; target < labels.length * numClasses; target++) {
    const weight = 1 / sizes[splitOf(Math.floor(target / numClasses))]!;
    product += weight * shift[target]! * (meanLogit(originals, target) - meanLogit(matched, target));
    square += weight * shift[target]! ** 2;
  }
  const { full } = decodeJson(await view.run.read(layout.calibration('ridge')), 'scale') as { full: number };
  expect(full / (product / square)).toBeCloseTo(1, 4);

  const request = { run: at('several'), forgetSet: 'random:3:9', method: 'dm-direct', models: '1' };
  const settings = { ridge: { attributor: 'ridge', scale: 'calibrated' }, lasso: { attributor: 'lasso', scale: 1 } };
  for (const [name, set] of Object.entries(settings)) {
    expect((await unlearn({ ...request, set, out: at(name) })).setting).toMatchObject(set);
  }
  expect(fs.readFileSync(at('ridge', 'margins.npy'))).not.toEqual(fs.readFileSync(at('lasso', 'margins.npy')));
  await expect(unlearn({ ...request, set: { attributor: 'rigde' }, out: at('none') })).rejects.toThrow(
    /LETHE_SETTING_INVALID: the plan has no attributor "rigde".*Did you mean ridge\?/,
  );
}, 120000);

it.each([
  [
    'an attributor that is not there',
    { methods: [{ method: 'dmm', grid: { attributor: ['ridgy'] } }] },
    /grid\.attributor; expected attributors of the plan: lasso, ridge, covariance, thick, few, both, on-top; received "ridgy"/,
  ],
  [
    'more models than there are',
    { attributors: [{ name: 'ridge', models: 9999 }] },
    /attributors\[0\]\.models; expected at most the \d+ subset/,
  ],
  ['a calibration that is not there', { calibration: undefined }, /methods\[1\]\.grid\.scale; expected a calibration.*Add calibration/],
  [
    'a calibration on another set',
    { calibration: { forgetSet: 'held' } },
    /calibration\.forgetSet; expected the name of a forget set of the plan/,
  ],
])('refuses %s', async (_, change, message) => {
  fs.writeFileSync(at('wrong.json'), JSON.stringify({ ...several, ...change }));
  await expect(loadPlan(at('wrong.json'))).rejects.toThrow(message);
});
