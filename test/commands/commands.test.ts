/** What verbs do, called from TypeScript: no words on the streams, no flags, the same files. */
import fs from 'node:fs';
import path from 'node:path';
import { loadPlan, runPlan, unlearn, viewRun } from '../../src/index.js';
import { lethe } from '../helpers/lethe.js';
import { tinyPlan } from '../helpers/plan.js';
import { temporaryFolder } from '../helpers/temporary.js';

const folder = temporaryFolder();
const at = (...parts: string[]): string => path.join(folder, ...parts);
const methods = [{ method: 'do-nothing' }, { method: 'random-labels', grid: { batchSize: [8], epochs: [1] } }];

it('a plan runs, its originals unlearn, and the verbs find the work done', async () => {
  fs.writeFileSync(at('tiny.json'), JSON.stringify({ ...tinyPlan, methods, tuning: { numModels: 0 } }));
  const [notes, labels]: [string[], string[]] = [[], []];
  const progress = (label: string) => ({ update: () => labels.push(label), stop: () => undefined });
  const { report, tasksRun, page } = await runPlan(await loadPlan(at('tiny.json')), {
    out: at('run'),
    note: (line) => notes.push(line),
    progress,
  });
  expect(tasksRun).toBeGreaterThan(10);
  expect(report.scores.map(({ method }) => method)).toEqual(['do-nothing', 'random-labels']);
  expect(fs.readFileSync(page, 'utf8')).toContain('random labels');
  expect(notes[0]).toMatch(/^tiny: synthetic/);
  expect(labels).toContain('tiny');
  expect((await viewRun(at('run'))).plan.name).toBe('tiny');
  const again = await lethe(['run', at('tiny.json'), '--out', at('run'), '--json']);
  expect(JSON.parse(again.stdout)).toMatchObject({ document: 'lethe.run', tasksRun: 0 });

  const request = { run: at('run'), forgetSet: 'random-4', method: 'random-labels', models: '1-2', out: at('unlearned') };
  const { setting, models } = await unlearn(request);
  expect(setting).toEqual({ learningRate: 1e-3, epochs: 1, batchSize: 8, retainMultiplier: 5 });
  expect(models.map(({ model, status }) => [model, status])).toEqual([1, 2].map((model) => [model, 'trained']));
  const before = fs.readFileSync(at('unlearned', 'margins.npy'));
  const args = ['--run', at('run'), '--forget-set', 'random-4', '--method', 'random-labels', '--models', '1-2', '--out', at('unlearned')];
  const resumed = await lethe(['unlearn', ...args]);
  expect(resumed).toMatchObject({ code: 0, stdout: expect.stringMatching(/^random labels: 2 models/) as string });
  expect(resumed.stderr).toContain('resuming, 2 of 2 models are finished');
  expect(fs.readFileSync(at('unlearned', 'margins.npy'))).toEqual(before);
}, 120000);
