/** bench/lasso-large.mjs at a tiny size, over the translated sources in place of dist. */
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { compiled } from '../helpers/compiled.js';
import { temporaryFolder } from '../helpers/temporary.js';

const folder = temporaryFolder();

it('reports time, memory, gaps and an estimate with its assumptions', () => {
  const source = fs.readFileSync(path.resolve(import.meta.dirname, '..', '..', 'bench', 'lasso-large.mjs'), 'utf8');
  const script = path.join(folder, 'lasso-large.mjs');
  fs.writeFileSync(script, source.replaceAll('../dist/', `${compiled()}/`));
  const out = path.join(folder, 'results', 'large.json');
  const sizes = ['--models', '120', '--train', '80', '--targets', '40', '--threads', '1', '--out', out];
  const { status, stderr } = spawnSync(process.execPath, [script, ...sizes], { encoding: 'utf8' });
  expect({ status, stderr: status === 0 ? '' : stderr }).toEqual({ status: 0, stderr: '' });
  const { full, half, paperScale } = JSON.parse(fs.readFileSync(out, 'utf8')) as Record<
    'full' | 'half' | 'paperScale',
    Record<string, unknown>
  >;
  expect(full).toMatchObject({ numModels: 120, numTrain: 80, numTargets: 40, numConverged: 40 });
  expect(full['maxRelativeGap']).toBeLessThanOrEqual(1e-4);
  expect(full['maxCheckedGap']).toBeLessThanOrEqual(1.02e-4);
  expect(full['peakMemoryBytes']).toBeGreaterThan(1e7);
  expect(half).toMatchObject({ numModels: 60, numTrain: 40 });
  expect(paperScale).toMatchObject({ numModels: 20000, numTrain: 50000, numTargets: 60000, coreHours: expect.any(Number) as number });
  expect((paperScale['assumptions'] as string[]).length).toBeGreaterThan(3);
  expect(spawnSync(process.execPath, [script, '--models', '3'], { encoding: 'utf8' }).status).toBe(2);
});
