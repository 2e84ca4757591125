import { chosenSetting, sameSetting } from '../../src/evaluate/chosen.js';
import { encodeJson } from '../../src/store/disk/json.js';
import { layout } from '../../src/store/folders/layout.js';

/** A run folder with these JSON artefacts. */
function runWith(artefacts: Record<string, unknown>) {
  return {
    isDone: (artefact: string) => Promise.resolve(Object.hasOwn(artefacts, artefact)),
    read: (artefact: string) => Promise.resolve(encodeJson(artefacts[artefact])),
  };
}

const settings = [{ epochs: 1 }, { epochs: 3 }, { epochs: 5 }];
const variant = { setting: { epochs: 9 }, variant: 'diagonal only' };
const tuning = {
  run: 0,
  settings: [
    { ...variant, score: 1, chosen: true },
    ...settings.map((setting, k) => ({ setting, score: [Infinity, 2, 3][k], chosen: k === 1 })),
  ],
};
const scores = {
  scores: [{ method: 'dmm', ...variant, best: true }, ...settings.map((setting, k) => ({ method: 'dmm', setting, best: k === 2 }))],
};

it('is what the tables show, before that what tuning chose, never a variant beside the method, and a plan that names one setting has chosen it', async () => {
  const [scored, tuned] = [layout.scores('a'), layout.tuningChoice('a', 'dmm')];
  const choice = (artefacts: Record<string, unknown>, among = settings) => chosenSetting(runWith(artefacts), 'a', 'dmm', among);
  expect(await choice({ [scored]: scores, [tuned]: tuning })).toEqual({ setting: { epochs: 5 }, by: 'scores' });
  expect(await choice({ [tuned]: tuning })).toEqual({ setting: { epochs: 3 }, by: 'tuning' });
  expect(await choice({}, [{ epochs: 1 }])).toEqual({ setting: { epochs: 1 }, by: 'plan' });
  expect(await choice({})).toBeUndefined();
  // every setting diverged: tuning's favourite is no better
  const diverged = { scores: scores.scores.map((row) => ({ ...row, best: false })) };
  expect(await choice({ [scored]: diverged, [tuned]: tuning })).toBeUndefined();
});

it('compares settings by their values, not by the order of their keys', () => {
  expect(sameSetting({ epochs: 1, batchNorm: 'train' }, { batchNorm: 'train', epochs: 1 })).toBe(true);
  expect(sameSetting({ epochs: 1 }, { epochs: 2 })).toBe(false);
});
