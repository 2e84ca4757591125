import { judgeClaims } from '../../src/ridge/claims.js';
import { drawData, optima, rotate } from '../../src/ridge/problem.js';
import { checkRidgeSettings, loggedIterations } from '../../src/ridge/settings.js';
import { ridgeStudy } from '../../src/ridge/study.js';
import { bestOf, quantile } from '../../src/ridge/summary.js';
import { distance, runTrajectories } from '../../src/ridge/trajectories.js';
import type { RidgeStudy } from '../../src/types.js';
import { smallSettings } from './fixture.js';

const settings = smallSettings();
let study: RidgeStudy;

beforeAll(async () => {
  study = await ridgeStudy(settings, { threads: 2 });
});

const named = <T extends { name: string }>(list: T[], name: string): T => list.find((each) => each.name.startsWith(name))!;

describe('runs', () => {
  it('follow plain gradient descent in the original coordinates', async () => {
    const steps = Float64Array.of(1e-3, 4e-3);
    const loggedAt = Int32Array.of(0, 1, 5, 30);
    const raw = drawData(settings, 0);
    const data = rotate(raw, settings);
    const repetition = { index: 0, data, optima: settings.lambdas.map((lambda) => optima(data, lambda, settings.numForget)) };
    const request = { variants: [{ method: 'gradient-descent' }] as const, lambdaIndices: [0], batch: 'full', steps, loggedAt } as const;
    const [run] = await runTrajectories(request, [repetition], settings, { threads: 1, onShare: () => undefined });

    const { dimension, numTrain, numForget, lambdas } = settings;
    const lambda = lambdas[0];
    const move = (theta: Float64Array, step: number, points: number): Float64Array => {
      const gradient = theta.map((value) => 2 * lambda * value);
      for (let i = 0; i < points; i++) {
        const row = raw.x.subarray(i * dimension, (i + 1) * dimension);
        const error = row.reduce((sum, value, j) => sum + value * theta[j]!, -raw.y[i]!);
        for (let j = 0; j < dimension; j++) gradient[j]! += 2 * error * row[j]!;
      }
      return theta.map((value, j) => value - step * gradient[j]!);
    };
    // optima of their own, by descent to the end in R^d
    const solve = (points: number): Float64Array => {
      let theta = new Float64Array(dimension);
      for (let t = 0; t < 20_000; t++) theta = Float64Array.from(move(theta, 4e-3, points));
      return theta;
    };
    const [full, star] = [solve(numTrain), solve(numTrain - numForget)];
    const squared = (a: Float64Array): number => a.reduce((sum, value, j) => sum + (value - star[j]!) ** 2, 0);
    for (const [s, step] of steps.entries()) {
      let theta = full;
      for (let t = 0; t <= 30; t++) {
        const l = loggedAt.indexOf(t);
        if (l !== -1) expect(distance(run!, 0, s, l) / (squared(theta) / squared(full))).toBeCloseTo(1, 9);
        theta = Float64Array.from(move(theta, step, numTrain - numForget));
      }
    }
  });

  it('are the same for any number of threads', async () => {
    expect(await ridgeStudy(settings, { threads: 1 })).toEqual(study);
  });

  it('change with the seed', async () => {
    const other = await ridgeStudy(smallSettings({ seed: 1, seeds: 1, iterations: { full: 20, stochastic: 20 } }));
    expect(other.geometry[0]!.forgetMassInSpan).not.toEqual(study.geometry[0]!.forgetMassInSpan);
  });

  it('stop when told to', async () => {
    const controller = new AbortController();
    controller.abort();
    await expect(ridgeStudy(settings, { signal: controller.signal })).rejects.toMatchObject({ code: 'LETHE_TASK_ABORTED' });
  });
});

describe('the study', () => {
  it('has every method in every setting, and one representative weight', () => {
    expect(study.entries.length).toBe(2 * 2 * 7);
    const representatives = study.entries.filter(({ representative }) => representative);
    expect(representatives.length).toBe(2 * 2 * 4);
    for (const entry of study.entries) {
      expect(entry.steps.length).toBe(21);
      expect(entry.curve.p50[0]).toBeCloseTo(1, 12);
      expect(entry.step).toBe(10 / 2 ** entry.stepHalvings);
    }
  });

  it('agrees with Theorem 1 to 1e-10 and with the lower bound of Theorem 2', () => {
    for (const name of ['theorem-1-gradient-descent', 'theorem-1-oracle-matching', 'theorem-2-descent-noise', 'theorem-2-matching-rate']) {
      expect(named(study.checks, name)).toMatchObject({ name: expect.stringContaining(name) as string, holds: true });
    }
    expect(named(study.checks, 'theorem-1-gradient-descent').value).toBeLessThan(1e-10);
  });

  it('finds divergence at large steps and reports it as a result', () => {
    const entry = study.entries.find(({ method, batch }) => method === 'oracle-matching' && batch === 'full')!;
    expect(entry.steps[0]).toMatchObject({ step: 10, finalDistance: Infinity, numDiverged: settings.seeds });
    expect(entry.numDiverged).toBe(0);
  });

  it('answers claims from the numbers: with GD and OM exchanged, the answers turn', () => {
    const names = { 'gradient-descent': 'oracle-matching', 'oracle-matching': 'gradient-descent' } as const;
    const exchanged = study.entries.map((entry) =>
      entry.method in names ? { ...entry, method: names[entry.method as keyof typeof names] } : entry,
    );
    const answers = judgeClaims({ ...study, entries: exchanged });
    for (const name of ['full-small-lambda', 'full-large-lambda', 'stochastic-lambda-1']) {
      expect(named(study.claims, name).holds).toBe(true);
      expect(named(answers, name).holds).toBe(false);
    }
    expect(named(study.claims, 'om-retain-stalls').holds).toBe(true);
  });
});

describe('summaries', () => {
  it('know infinite values', () => {
    expect(quantile([3, Infinity, 1, 2], 0.5)).toBe(2.5);
    expect(quantile([Infinity, Infinity, 1], 0.5)).toBe(Infinity);
    expect(quantile([1, Infinity], 0.5)).toBe(Infinity);
  });

  it('choose the lowest, and the first among equals', () => {
    const curve = (p90: number[]) => ({ iterations: [0, 1, 2], p10: p90, p50: p90, p90 });
    expect(bestOf([curve([1, 0.5, 0.4]), curve([1, 0.3, Infinity]), curve([1, 1, 1])])).toBe(1);
    expect(bestOf([curve([1, 0.5, 1e-22]), curve([1, 1e-21, 1e-21])])).toBe(1);
  });

  it('log every early iteration and the last', () => {
    const logged = loggedIterations(12_345);
    expect(Array.from(logged.subarray(0, 51))).toEqual(Array.from({ length: 51 }, (_, t) => t));
    expect(logged.at(-1)).toBe(12_345);
    expect(Array.from(loggedIterations(10)).length).toBe(11);
  });

  it('refuse settings that cannot be run, and say which', () => {
    expect(() => {
      checkRidgeSettings(smallSettings({ numForget: 12 }));
    }).toThrow(/LETHE_LINEAR_SETTING: .*forget points.*expected an integer from 1 to 11.*received 12/);
    expect(() => {
      checkRidgeSettings(smallSettings({ lambdas: [4, 4] }));
    }).toThrow(/large lambda/);
  });
});
