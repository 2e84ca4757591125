import path from 'node:path';
import { checkOurs, compareObjectives, judge, tunePeer } from '../../src/bench/check.js';
import { checkedTargets, type LassoCase, makeCase, pathWalk, peerWalks, solutionOf } from '../../src/bench/lassoCase.js';
import { knownPeers, peerEnvironment, probePeer, writePeerFiles } from '../../src/bench/peers.js';
import { syntheticProblem } from '../../src/bench/problem.js';
import { fitDatamodels } from '../../src/datamodels/fit.js';
import { readNpy } from '../../src/store/formats/npy.js';
import type { Datamodels } from '../../src/types.js';
import { temporaryFolder } from '../helpers/temporary.js';

const folder = temporaryFolder();
const problem = syntheticProblem(90, 60, 4);
let of: LassoCase;
let fitted: Datamodels;

beforeAll(async () => {
  of = await makeCase('path', problem, folder);
  fitted = await fitDatamodels(of.problem, of.options, { threads: 1 });
});

describe('checks', () => {
  it('accept what is solved, on the models that the fit has seen', () => {
    expect(of.rows.length).toBe(81);
    const targets = checkedTargets(fitted, 3);
    expect(targets).toEqual([0, 1, 2]);
    const { maxGap, objectives } = checkOurs(of, fitted, targets, 'cpu-test');
    expect(maxGap).toBeLessThanOrEqual(1e-4);
    expect(objectives.length).toBe(3);
  });

  it('refuse wrong weights with exit code 1', () => {
    const wrong = { ...fitted, weights: fitted.weights.map((weight) => 1.05 * weight) };
    expect(() => checkOurs(of, wrong, [0, 1], 'cpu-test')).toThrow(
      expect.objectContaining({ code: 'LETHE_BENCH_GAP', exitCode: 1 }) as Error,
    );
    const boast = { ...fitted, gap: fitted.gap.map(() => 0.1) };
    expect(() => checkOurs(of, boast, [0], 'cpu-test')).toThrow(/LETHE_BENCH_GAP/);
  });

  it('refuse objectives that differ, NaN included', () => {
    expect(compareObjectives('peer', 'path', [1, 2], [1, 2 + 1e-6])).toBeCloseTo(5e-7, 9);
    for (const theirs of [2.00001, NaN]) {
      expect(() => compareObjectives('peer', 'path', [1, 2], [1, theirs])).toThrow(
        expect.objectContaining({ code: 'LETHE_BENCH_DISAGREES', exitCode: 1 }) as Error,
      );
    }
  });

  it('scale every target to lambda_max 1 in mode saturated', async () => {
    const scaled = await makeCase('saturated', problem, folder);
    const solved = await fitDatamodels(scaled.problem, { ...scaled.options, lambda: 1.0001 }, { threads: 1 });
    const below = await fitDatamodels(scaled.problem, { ...scaled.options, lambda: 0.999 }, { threads: 1 });
    expect(solved.weights.length).toBe(0);
    for (let target = 0; target < 4; target++) expect(solutionOf(below, target).weights.length).toBeGreaterThan(0);
  });
});

describe('peers', () => {
  it('walk to the chosen lambda and twenty further, as our path does', () => {
    const { lambdas, selected } = pathWalk(0.1, 1);
    expect([lambdas.length, lambdas[0], lambdas[selected]]).toEqual([selected + 21, 1, 0.1]);
    expect(lambdas).toEqual([...lambdas].sort((a, b) => b - a));
    expect(pathWalk(0.01, 1)).toMatchObject({ selected: 99, lambdas: { length: 100 } });
    expect(pathWalk(1, 1).selected).toBe(0);
  });

  it('read dense masks, outputs and padded lambdas', async () => {
    const outputs = Float32Array.from({ length: 2 * of.rows.length }, (_, k) => k);
    await writePeerFiles(folder, of.rowMasks, outputs, peerWalks(of, fitted, [0, 3]));
    const lambdas = await readNpy(path.join(folder, 'lambdas-path.npy'));
    const selected = await readNpy(path.join(folder, 'selected-path.npy'));
    expect((await readNpy(path.join(folder, 'masks.npy'))).shape).toEqual([81, 60]);
    expect(lambdas.data[lambdas.shape[1]! + selected.data[1]!]).toBe(fitted.lambda[3]);
  });

  it('are tuned to the loosest tolerance that is accurate enough', async () => {
    // a stand-in interpreter: true ignores its arguments, so the answers are those left in the folder
    const peer = { ...knownPeers()[0]!, command: 'true', tolerances: [1e-2, 1e-3, 1e-4] };
    const fs = await import('node:fs/promises');
    await fs.writeFile(path.join(folder, 'w.f32'), new Uint8Array(new Float32Array(60).buffer));
    const answer = { version: '1', gramSeconds: 0, runs: [{ tolerance: 1, cpuSeconds: 1, weights: 'w.f32' }] };
    await fs.writeFile(path.join(folder, 'sklearn.json'), JSON.stringify(answer));
    const gaps = [1e-2, 5e-5];
    const files = { folder, numTargets: 1, numTrain: 60 };
    const tuned = await tunePeer(peer, files, ['path'], () => gaps.shift()!, { cores: [] });
    expect(tuned).toMatchObject({ tolerance: 1e-3, grid: 'path' });
    expect(gaps).toEqual([]);
  });

  it('say which package is missing', async () => {
    const [sklearn, glmnet] = knownPeers({ python: 'python3', rscript: '/nowhere/Rscript' });
    await expect(probePeer(glmnet!)).rejects.toMatchObject({
      code: 'LETHE_PEER_MISSING',
      exitCode: 4,
      message: expect.stringMatching(/\/nowhere\/Rscript.*apt-get install --no-install-recommends r-cran-glmnet.*--rscript/) as string,
    });
    const lacking = { ...sklearn!, probe: [...sklearn!.probe, 'no_such_module'] };
    await expect(probePeer(lacking)).rejects.toMatchObject({
      code: 'LETHE_PEER_MISSING',
      received: expect.stringMatching(
        /^exit code 1\n\/.*python.* \(Python 3\..*\) cannot import .*no_such_module \(No module named/,
      ) as string,
      action: expect.stringMatching(/pip install numpy scikit-learn, then --python/) as string,
    });
  });

  it('choose their own BLAS kernels, on one thread', () => {
    const environment = peerEnvironment({ OPENBLAS_CORETYPE: 'Haswell', OPENBLAS_L2_SIZE: '1', HOME: '/h' });
    expect(environment).toEqual({ HOME: '/h', OPENBLAS_NUM_THREADS: '1', OMP_NUM_THREADS: '1', MKL_NUM_THREADS: '1' });
  });
});

it('judges zero weights by their gap', () => {
  const { maxGap } = judge(of, [0], [{ lambda: fitted.lambda[0]!, indices: [], weights: [] }]);
  expect(maxGap).toBeGreaterThan(1e-3);
});
