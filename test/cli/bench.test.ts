/** Tiny benchmarks through the real command line: what they print, never how fast they are. */
import fs from 'node:fs';
import path from 'node:path';
import type { BudgetReport } from '../../src/bench/budget.js';
import { syntheticProblem } from '../../src/bench/problem.js';
import { unpackMasks } from '../../src/data/masks.js';
import { writeNpy } from '../../src/store/formats/npy.js';
import { compiledHelper } from '../helpers/compiled.js';
import { lethe } from '../helpers/lethe.js';
import { temporaryFolder } from '../helpers/temporary.js';

const folder = temporaryFolder();
const small = ['bench', 'lasso', '--sizes', '60x40', '--targets', '6', '--repeats', '1', '--threads', '1'];
const absent = '/nowhere/Rscript';

interface Row {
  mode: string;
  maxRelativeGap: number;
  peers: { name: string; maxRelativeGap: number; secondsPerTarget: number }[];
}

/** An interpreter that is a rival whatever script it is given. */
function fakePeer(): string {
  const file = path.join(folder, 'peer');
  fs.writeFileSync(
    file,
    `#!${process.execPath}\nimport(${JSON.stringify(compiledHelper('fakePeer'))}).then(({ main }) => main(process.argv.slice(2)));\n`,
    { mode: 0o755 },
  );
  return file;
}

const rivals = (): string[] => ['--python', fakePeer(), '--rscript', absent];

describe('lethe bench lasso', () => {
  it('prints the contract for every mode, and writes it', async () => {
    const out = path.join(folder, 'report.json');
    const { code, stdout } = await lethe([...small, '--modes', 'pooled,path,single,saturated', '--out', out, '--json']);
    expect(code).toBe(0);
    const document = JSON.parse(stdout) as { document: string; machine: object; results: Row[]; kernels: unknown[] };
    expect(document.document).toBe('lethe.bench-lasso');
    expect(document.machine).toMatchObject({ cpu: expect.any(String) as string, node: process.version });
    expect(document.results.map(({ mode }) => mode)).toEqual(['pooled', 'path', 'single', 'saturated']);
    for (const result of document.results) {
      expect(result).toMatchObject({ m: 60, n: 40, numTargets: 6, threads: 1, peers: [], checkedTargets: 6 });
      for (const name of ['secondsPerTarget', 'marginalSecondsPerTarget', 'setupSeconds', 'cpuSecondsPerTarget']) {
        // so few targets are all scored: their cost has no share that more of them would not have
        const unknown = result.mode === 'pooled' && ['marginalSecondsPerTarget', 'setupSeconds'].includes(name);
        if (unknown) expect(result).not.toHaveProperty(name);
        else expect(result).toHaveProperty(name, expect.any(Number));
      }
      expect(result.maxRelativeGap).toBeLessThanOrEqual(1.02e-4);
    }
    expect(document.kernels.length).toBe(5);
    expect(JSON.parse(fs.readFileSync(out, 'utf8'))).toEqual(document);
  });

  it('compares with the peers that are there, and says what the others need', async () => {
    const { code, stdout } = await lethe([...small, '--peers', ...rivals(), '--json']);
    const { results, peerProblems } = JSON.parse(stdout) as { results: Row[]; peerProblems: string[] };
    expect(code).toBe(4);
    expect(peerProblems).toEqual([expect.stringMatching(/LETHE_PEER_MISSING.*r-cran-glmnet/)]);
    for (const { peers } of results) {
      expect(peers).toMatchObject([
        { name: 'sklearn', version: '0.0 (fake)', secondsPerTarget: 0.5 / 6, gramSeconds: 0.25, equalAccuracy: true },
      ]);
      expect(peers[0]!.maxRelativeGap).toBeLessThanOrEqual(1e-4);
    }
  });

  it('keeps its budget: leaves out what does not fit, and says so', async () => {
    // 400 processes do not run in 3 seconds; on a busy machine not even the first check is done in time
    const { code, stdout } = await lethe([...small, '--repeats', '400', '--modes', 'path,single', '--budget', '6', '--json']);
    expect(code).toBe(0);
    const { results, budget } = JSON.parse(stdout) as { results: (Row & { repeats: number })[]; budget: BudgetReport };
    expect(budget).toMatchObject({ seconds: 6, spentSeconds: expect.any(Number) as number });
    expect(budget.cut).toEqual([
      expect.stringMatching(/^60 x 40 path: (\d+ of 400 repeats done|not checked, so not timed)$/),
      expect.stringMatching(/^60 x 40 single: (\d+ of 400 repeats done|not checked, so not timed)$/),
    ]);
    for (const { repeats } of results) expect(repeats).toBeLessThan(400);
  });

  it('takes real data, logits included', async () => {
    const { masks, outputs } = syntheticProblem(50, 30, 6);
    await writeNpy(path.join(folder, 'm.npy'), [50, 30], unpackMasks(masks), { bool: true });
    await writeNpy(path.join(folder, 'y.npy'), [50, 2, 3], outputs);
    const files = ['--masks', path.join(folder, 'm.npy'), '--outputs', path.join(folder, 'y.npy')];
    const { code, stdout } = await lethe([
      'bench',
      'lasso',
      ...files,
      '--targets',
      '4',
      '--modes',
      'path',
      '--repeats',
      '1',
      '--threads',
      '1',
    ]);
    expect(code).toBe(0);
    expect(stdout).toMatch(/^op +shape +mode +backend +threads +median +MAD +n +max gap +peer +ratio$/m);
    expect(stdout).toMatch(/^lasso +50 x 30 x 4 +path +cpu-\w+ +1 +[\d.e-]+ ms/m);
  });

  it('fails when a peer finds another optimum', async () => {
    const { code, stdout } = await lethe([...small, '--modes', 'path', '--peers', ...rivals(), '--json'], { FAKE_PEER: 'wrong' });
    expect(code).toBe(1);
    expect(JSON.parse(stdout)).toMatchObject({ document: 'lethe.error', code: 'LETHE_BENCH_DISAGREES' });
  });

  it('refuses a file that holds something before it measures', async () => {
    const file = path.join(folder, 'taken.json');
    fs.writeFileSync(file, 'mine');
    const { code, stderr } = await lethe([...small, '--out', file]);
    expect({ code, text: fs.readFileSync(file, 'utf8') }).toEqual({ code: 2, text: 'mine' });
    expect(stderr).toMatch(/^\S*error\S* LETHE_OUT_TAKEN: .*taken\.json holds another result/);
  });

  it('teaches what is wrong with its options', async () => {
    const cases: [string[], RegExp][] = [
      [['--sizes', '60'], /expected sizes like 1000x2000/],
      [['--modes', 'pth'], /Did you mean path\?/],
      [['--isa', 'sse9'], /LETHE_OPTION_UNKNOWN/],
      [['--masks', 'm.npy'], /--masks and --outputs/],
    ];
    for (const [args, message] of cases) {
      const { code, stderr } = await lethe([...small, ...args]);
      expect(code).toBe(2);
      expect(stderr).toMatch(message);
    }
  });
});
