import fs from 'node:fs';
import path from 'node:path';
import { registerReport, writeReport } from '../../src/cli/report.js';
import { openRun } from '../../src/store/folders/run.js';
import { verifyRun } from '../../src/store/folders/verify.js';
import type { ReportData } from '../../src/types.js';
import { samplePlan } from '../helpers/plan.js';
import { temporaryFolder } from '../helpers/temporary.js';
import { fixture } from '../report/fixture.js';
import { runVerb } from './runVerb.js';

const folder = temporaryFolder();

/** Drawn in no time: one figure. */
const data: ReportData = { ...fixture(), scores: [], floors: [], marginSamples: [] };

const lethe = (...args: string[]) =>
  runVerb(
    (program) => {
      registerReport(program, (run) => Promise.resolve({ ...data, runName: path.basename(run) }));
    },
    ['report', ...args],
  );

describe('lethe report', () => {
  it('publishes whole files with manifests, prints the table, and writes the same bytes again', async () => {
    const root = path.join(folder, 'first');
    const run = await openRun(root, { plan: samplePlan() });
    const { stdout, stderr } = await lethe(root);
    expect(stdout).toContain('KLOM on random-40 (40 points)');
    expect(stderr).toContain(path.join('report', 'index.html'));
    const page = fs.readFileSync(path.join(root, 'report', 'index.html'), 'utf8');
    expect(page).toContain('<h1>first</h1>');
    expect(fs.existsSync(path.join(root, 'report', 'figures', 'lds.svg'))).toBe(true);
    const health = await verifyRun(run, ['report/index.html', 'report/tables/klom.csv']);
    expect(health).toMatchObject({ damaged: [], missing: [], foreign: [] });

    const document = JSON.parse((await lethe(root, '--json')).stdout) as {
      document: string;
      version: number;
      files: string[];
      data: ReportData;
    };
    expect(document).toMatchObject({ document: 'lethe.report', version: 2, data: { version: 2, runName: 'first' } });
    expect(document.files[0]).toBe('report/index.html');
    for (const file of document.files) expect(fs.existsSync(path.join(root, file))).toBe(true);
    expect(fs.readFileSync(path.join(root, 'report', 'index.html'), 'utf8')).toBe(page);
  });

  it('writes nothing where the same report is, and into another folder when asked', async () => {
    const root = path.join(folder, 'read-only');
    await openRun(root, { plan: samplePlan() });
    await lethe(root);
    const state = (): string[] =>
      ['', ...fs.readdirSync(root, { recursive: true, encoding: 'utf8' })].sort().map((file) => {
        const { mtimeMs, ctimeMs } = fs.statSync(path.join(root, file));
        return [file, mtimeMs, ctimeMs].join();
      });
    const before = state();
    await lethe(root);
    const out = path.join(folder, 'elsewhere');
    const { stderr } = await lethe(root, '--out', out);
    expect(stderr).toContain(path.join(out, 'index.html'));
    expect(state()).toEqual(before);
    for (const file of ['index.html', 'figures/lds.svg', 'tables/klom.csv'])
      expect(fs.readFileSync(path.join(out, file))).toEqual(fs.readFileSync(path.join(root, 'report', file)));
    const { files } = JSON.parse((await lethe(root, '--json', '--out', out)).stdout) as { files: string[] };
    for (const file of files) expect(fs.existsSync(path.join(out, file))).toBe(true);
  });

  it('refuses a folder that is no run', async () => {
    await expect(writeReport(path.join(folder, 'nothing'), data)).rejects.toMatchObject({ code: 'LETHE_RUN_MISSING', exitCode: 2 });
    expect(fs.existsSync(path.join(folder, 'nothing'))).toBe(false);
  });
});
