import { errorCode } from '../../src/errors.js';
import type { MethodName, MethodPlan, MethodSetting, TrainJob, TrainRecipe } from '../../src/types.js';
import {
  checkSetting,
  expandGrid,
  methodNames,
  snapshotSettings,
  unlearnedLogits,
  unlearnJob,
  unlearnMethod,
} from '../../src/unlearn/index.js';
import type { UnlearnInput } from '../../src/unlearn/index.js';
import { compressRecipe } from '../../src/unlearn/retraining.js';
import { fixtureInput, recipe, sizes } from './fixture.js';

function codeOf(run: () => unknown): string | undefined {
  try {
    run();
    return undefined;
  } catch (error) {
    return errorCode(error);
  }
}

function build(name: MethodName, setting: MethodSetting = {}, input: UnlearnInput = fixtureInput()): TrainJob {
  const method = unlearnMethod(name);
  if (method.kind !== 'job') throw new Error(`${name} is no job method`);
  return unlearnJob(method, input, setting);
}

const onlyTerm = (job: TrainJob) => job.passes[0]!.terms[0]!;
const jobMethods: MethodName[] = methodNames.filter((name) => unlearnMethod(name).kind === 'job');

describe('every method', () => {
  it('is registered under its own name, with defaults that pass its own checks', () => {
    for (const name of methodNames) {
      const method = unlearnMethod(name);
      expect(method.name).toBe(name);
      const defaults = checkSetting(method, {});
      expect(checkSetting(method, defaults)).toEqual(defaults);
      for (const preset of Object.values(method.presets)) expect(checkSetting(method, preset)).toMatchObject(preset);
    }
  });

  it('starts a job at the original and keys it by the input', () => {
    for (const name of jobMethods) {
      const input = fixtureInput();
      const job = build(name, {}, input);
      expect(job.initialParameters).toBe(input.originalParameters);
      expect([job.seed, job.modelIndex]).toEqual([11, 7]);
      expect(build(name, {}, fixtureInput())).toEqual(job);
    }
  });

  it('refuses overlapping sets, empty sets and unknown points before it builds anything', () => {
    const overlap = fixtureInput({ retain: Int32Array.of(1, 8) });
    const empty = fixtureInput({ forget: new Int32Array(0) });
    const outside = fixtureInput({ forget: Int32Array.of(40) });
    for (const input of [overlap, empty, outside]) {
      for (const name of jobMethods) expect(codeOf(() => build(name, {}, input))).toBe('LETHE_FORGET_SET_INVALID');
    }
  });
});

describe('settings', () => {
  const om = unlearnMethod('oracle-matching');

  it('names the parameter or method that was meant', () => {
    expect(() => checkSetting(om, { learninRate: 1e-3 })).toThrow(/LETHE_SETTING_UNKNOWN.*Did you mean learningRate\?/);
    expect(() => unlearnMethod('scrubb')).toThrow(/LETHE_METHOD_UNKNOWN.*Did you mean scrub\?/);
    expect(() => unlearnMethod('toString')).toThrow(/Use one of: do-nothing, full-retrain/);
    expect(() => checkSetting(unlearnMethod('do-nothing'), { epochs: 1 })).toThrow(/has no parameters/);
  });

  it('refuses wrong values and parameters without effect', () => {
    const cases: [MethodSetting, string][] = [
      [{ epochs: 2.5 }, 'LETHE_SETTING_INVALID'],
      [{ epochs: '3' }, 'LETHE_SETTING_INVALID'],
      [{ learningRate: NaN }, 'LETHE_SETTING_INVALID'],
      [{ batchNorm: 'off' }, 'LETHE_SETTING_INVALID'],
      [{ retainFraction: 0.1 }, 'LETHE_SETTING_UNUSED'],
      [{ retainSampling: 'each-epoch', retainMultiplier: 5 }, 'LETHE_SETTING_UNUSED'],
      [{ retainSampling: 'each-epoch', retainFraction: 1.5 }, 'LETHE_SETTING_INVALID'],
    ];
    for (const [setting, code] of cases) expect([setting, codeOf(() => checkSetting(om, setting))]).toEqual([setting, code]);
  });
});

describe('grids', () => {
  it('have the sizes of Appendix D.4, epochs as snapshots of one run', () => {
    const facts = methodNames.map((name) => {
      const runs = expandGrid(unlearnMethod(name), 'paper', recipe);
      return [name, runs.length, runs.flatMap(snapshotSettings).length];
    });
    expect(facts).toEqual([
      ['do-nothing', 1, 1],
      ['full-retrain', 1, 1],
      ['partial-retrain', 1 + 3, 3 + 3],
      ['gradient-ascent', 4, 4 * 5],
      ['gradient-descent', 4, 4 * 5],
      ['scrub', 2 * 5 * 12, 2 * 5 * 12 * 3],
      ['random-labels', 4, 4 * 5],
      ['oracle-matching', 1, 1],
      ['dm-direct', 1, 1],
      ['dmm', 1, 1],
    ]);
  });

  it('run to the longest length and are complete', () => {
    const runs = expandGrid(unlearnMethod('gradient-ascent'), { epochs: [7, 1, 3, 7], learningRate: [1e-2, 1e-3] }, recipe);
    expect(runs.map((run) => run.evalEpochs)).toEqual([
      [1, 3, 7],
      [1, 3, 7],
    ]);
    expect(runs[0]!.setting).toEqual({ learningRate: 1e-2, epochs: 7, batchSize: 64 });
    expect(snapshotSettings(runs[1]!).map((setting) => [setting['learningRate'], setting['epochs']])).toEqual([
      [1e-3, 1],
      [1e-3, 3],
      [1e-3, 7],
    ]);
  });

  it('read partial retraining at quarters of the recipe, if no lengths are given', () => {
    const lengths = (epochs: number, grid: MethodPlan['grid']) =>
      expandGrid(unlearnMethod('partial-retrain'), grid, { ...recipe, epochs })[0]!.evalEpochs;
    expect(lengths(24, 'paper')).toEqual([6, 12, 18]);
    expect(lengths(24, {})).toEqual([6, 12, 18]);
    expect(lengths(2, 'paper')).toEqual([1]);
    expect(lengths(24, { epochs: [3, 1] })).toEqual([1, 3]);
  });

  it('give each length of a compressed retraining a run of its own, with the schedule squeezed into it', () => {
    const runs = expandGrid(unlearnMethod('partial-retrain'), { epochs: [6, 12], schedule: ['cut', 'compressed'] }, recipe);
    expect(runs.map(({ evalEpochs, setting }) => [evalEpochs, setting['schedule']])).toEqual([
      [[6, 12], 'cut'],
      [[6], 'compressed'],
      [[12], 'compressed'],
    ]);
    const squeezed = (schedule: TrainRecipe['schedule']): TrainRecipe['schedule'] =>
      compressRecipe({ ...recipe, epochs: 24, schedule }, 6).schedule;
    expect(compressRecipe({ ...recipe, epochs: 24 }, 6).epochs).toBe(6);
    expect(squeezed({ kind: 'triangle', learningRate: 0.4, peakEpoch: 5 })).toEqual({
      kind: 'triangle',
      learningRate: 0.4,
      peakEpoch: 1.25,
    });
    expect(squeezed({ kind: 'steps', learningRate: 1, factor: 0.1, atEpochs: [12, 20] })).toMatchObject({ atEpochs: [3, 5] });
    expect(squeezed({ kind: 'exponential', learningRate: 1, factor: 0.5 })).toMatchObject({ factor: 0.5 ** 4 });
  });

  it('refuse empty axes, wrong values and a partial retraining as long as the full one', () => {
    const grid = (name: MethodName, values: Record<string, (number | string)[]>) =>
      codeOf(() => expandGrid(unlearnMethod(name), values, recipe));
    expect(grid('scrub', { learningRate: [] })).toBe('LETHE_SETTING_INVALID');
    expect(grid('scrub', { epochs: [3, 0] })).toBe('LETHE_SETTING_INVALID');
    expect(grid('dm-direct', { epochs: [3] })).toBe('LETHE_SETTING_UNKNOWN');
    expect(grid('partial-retrain', { epochs: [24] })).toBe('LETHE_SETTING_INVALID');
  });
});

describe('gradient ascent and descent', () => {
  const input = fixtureInput();

  it('ascend on the forget set only and descend on the retain set only', () => {
    const ascent = build('gradient-ascent', { learningRate: 1e-4, epochs: 3 });
    const descent = build('gradient-descent');
    for (const [job, indices, crossEntropy] of [
      [ascent, input.forget, -1],
      [descent, input.retain, 1],
    ] as const) {
      expect(job.passes).toHaveLength(1);
      expect(job.passes[0]!.terms).toHaveLength(1);
      expect(onlyTerm(job)).toMatchObject({ indices, objective: { crossEntropy }, weight: 1, batchSize: 64 });
      expect(job.optimizer).toEqual({ kind: 'sgd', momentum: 0.9, weightDecay: 5e-4 });
    }
    expect(ascent.schedule).toEqual({ kind: 'constant', learningRate: 1e-4 });
    expect(ascent.epochs).toBe(3);
    expect(onlyTerm(descent).indices.some((index) => input.forget.includes(index))).toBe(false);
  });
});

describe('SCRUB', () => {
  it('is a forget pass away from the original, then a retain pass close to it', () => {
    const input = fixtureInput();
    const job = build('scrub', { maximizationEpochs: 5, epochs: 7, learningRate: 3e-3 }, input);
    expect(job.passes.map((pass) => pass.activeEpochs)).toEqual([5, undefined]);
    const [away, close] = job.passes.map((pass) => pass.terms[0]!);
    expect(away).toMatchObject({ indices: input.forget, objective: { distill: -1, temperature: 4 }, batchSize: 32, weight: 1 });
    expect(away!.objective.crossEntropy).toBeUndefined();
    expect(close).toMatchObject({ indices: input.retain, batchSize: 64, weight: 1 });
    expect(close!.objective).toMatchObject({ crossEntropy: 0.99, distill: 0.1, temperature: 4 });
    expect(job.schedule).toEqual({ kind: 'steps', learningRate: 3e-3, factor: 0.1, atEpochs: [3, 5, 9] });
    // the teacher's logits on forget point 8, the second row
    expect([...away!.targets!.subarray(4, 8)]).toEqual([1032, 1033, 1034, 1035]);
    expect(close!.targets).toHaveLength(input.retain.length * 4);
  });
});

describe('random labels', () => {
  const softmax = (row: Float32Array) => [...row].map((logit) => Math.exp(logit) / row.reduce((sum, each) => sum + Math.exp(each), 0));
  const labelsOf = (job: TrainJob) => {
    const { indices, targets } = onlyTerm(job);
    return Array.from(indices, (_, row) => softmax(targets!.subarray(4 * row, 4 * row + 4)));
  };

  it('teach a wrong label for each forget point and the true ones of retain points, smoothed as in the recipe', () => {
    const input = fixtureInput({ recipe: { ...recipe, labelSmoothing: 0.2 } });
    const job = build('random-labels', { retainMultiplier: 4 }, input);
    const { indices, objective } = onlyTerm(job);
    expect(job.passes).toHaveLength(1);
    expect(objective).toEqual({ distill: 1, temperature: 1 });
    expect([...indices.subarray(0, 3)]).toEqual([...input.forget]);
    expect(indices).toHaveLength(3 + 12);
    labelsOf(job).forEach((probabilities, row) => {
      const taught = probabilities.findIndex((p) => p > 0.8);
      expect(taught === input.labels[indices[row]!]).toBe(row >= 3);
      probabilities.forEach((p, label) => {
        expect(p).toBeCloseTo(label === taught ? 0.85 : 0.05, 6);
      });
    });
    expect(onlyTerm(build('random-labels', { retainMultiplier: 0 })).indices).toEqual(input.forget);
  });

  it('are drawn uniformly among the wrong ones, anew for each model', () => {
    const counts = [0, 0, 0, 0];
    for (let modelIndex = 0; modelIndex < 600; modelIndex++) {
      const job = build('random-labels', { retainMultiplier: 0 }, fixtureInput({ modelIndex }));
      counts[labelsOf(job)[1]!.indexOf(1)]!++; // point 8 has label 0
    }
    expect(counts[0]).toBe(0);
    for (const count of counts.slice(1)) expect(Math.abs(count - 200)).toBeLessThan(4 * Math.sqrt(600 * (1 / 3) * (2 / 3)));
  });
});

describe('oracle and datamodel matching', () => {
  it('fine-tune on the forget points and retain points drawn once, in one mixed term', () => {
    const job = build('oracle-matching', { forgetMultiplier: 2, retainMultiplier: 4, learningRate: 1e-4 });
    const term = onlyTerm(job);
    expect(job.passes).toHaveLength(1);
    expect(job.passes[0]!.terms).toHaveLength(1);
    expect([...term.indices.subarray(0, 6)]).toEqual([3, 8, 20, 3, 8, 20]);
    const retained = [...term.indices.subarray(6)];
    expect(retained).toHaveLength(12);
    expect(new Set(retained).size).toBe(12);
    expect(retained.every((index) => fixtureInput().retain.includes(index))).toBe(true);
    expect([term.samplePerEpoch, term.alwaysIncluded]).toEqual([undefined, undefined]);
    expect(term.objective).toEqual({ matchLogits: 1 });
    expect(term.indices.every((point, row) => term.targets![row * 4] === 2000 + point * 4)).toBe(true);
    expect(job.optimizer).toMatchObject({ kind: 'adam', weightDecay: 0 });
    expect(job.schedule).toEqual({ kind: 'exponential', learningRate: 1e-4, factor: 0.95 });
  });

  it('draw another retain sample for another model or seed, the same whatever else differs', () => {
    const sample = (changes: Partial<UnlearnInput>, setting: MethodSetting = {}) =>
      [...onlyTerm(build('oracle-matching', setting, fixtureInput(changes))).indices].slice(3);
    const first = sample({});
    expect(sample({}, { epochs: 2, learningRate: 1e-5, batchSize: 8 })).toEqual(first);
    expect([...onlyTerm(build('dmm')).indices].slice(3)).toEqual(first);
    expect(sample({ modelIndex: 8 })).not.toEqual(first);
    expect(sample({ seed: 12 })).not.toEqual(first);
  });

  it('redraw a fraction of the retain set at each epoch beside all forget points (Algorithm C.1)', () => {
    const input = fixtureInput();
    const setting = { retainSampling: 'each-epoch', retainFraction: 0.25, forgetMultiplier: 2, batchNorm: 'eval' };
    const job = build('oracle-matching', setting, input);
    const term = onlyTerm(job);
    expect([term.alwaysIncluded, term.samplePerEpoch]).toEqual([6, 9]);
    expect([...term.indices.subarray(6)]).toEqual([...input.retain]);
    expect(job.passes[0]!.batchNorm).toBe('eval');
  });

  it('take the whole retain set when more is wanted than there is', () => {
    const term = onlyTerm(build('oracle-matching', { retainMultiplier: 20 }));
    expect([...term.indices.subarray(3)].sort((a, b) => a - b)).toEqual([...fixtureInput().retain]);
  });

  it('match the mean oracle, or DM-Direct of the same original', () => {
    const meanOracleLogits = new Float32Array(200).fill(5);
    const mean = onlyTerm(build('oracle-matching', { oracleTargets: 'mean' }, fixtureInput({ meanOracleLogits })));
    expect(mean.targets!.every((target) => target === 5)).toBe(true);
    const simulated = onlyTerm(build('dmm', { scale: 0.5 }));
    // original 1000 + 4x + c, shift 4x + c
    expect(simulated.indices.every((point, row) => simulated.targets![row * 4 + 1] === 1000 + 0.5 * (4 * point + 1))).toBe(true);
    const diagonal = onlyTerm(build('dmm', { diagonalOnly: true }));
    expect(diagonal.targets!.every((target) => target === 1500)).toBe(true);
  });

  it('say what is missing', () => {
    const bare = fixtureInput();
    delete bare.matchedOracleLogits;
    delete bare.shift;
    expect(codeOf(() => build('oracle-matching', {}, bare))).toBe('LETHE_ORACLES_MISSING');
    expect(codeOf(() => build('oracle-matching', { oracleTargets: 'mean' }))).toBe('LETHE_ORACLES_MISSING');
    expect(codeOf(() => build('dmm', {}, bare))).toBe('LETHE_DATAMODELS_MISSING');
    const direct = unlearnMethod('dm-direct');
    expect(codeOf(() => direct.kind === 'direct' && unlearnedLogits(direct, bare, {}))).toBe('LETHE_DATAMODELS_MISSING');
  });
});

describe('compute fractions', () => {
  const fraction = (name: MethodName, given: MethodSetting, atEpoch: number) => {
    const method = unlearnMethod(name);
    return method.computeFraction(sizes, checkSetting(method, given), atEpoch);
  };
  const full = 49900 * 24;

  it('count gradient images against a full retraining, and forward passes for targets as a third', () => {
    expect(fraction('do-nothing', {}, 24)).toBe(0);
    expect(fraction('dm-direct', {}, 24)).toBe(0);
    expect(fraction('full-retrain', {}, 24)).toBe(1);
    expect(fraction('partial-retrain', { epochs: 6 }, 6)).toBe(0.25);
    expect(fraction('gradient-ascent', {}, 10)).toBeCloseTo(1000 / full, 12);
    expect(fraction('gradient-descent', {}, 5)).toBeCloseTo(5 / 24, 12);
    expect(fraction('random-labels', { retainMultiplier: 3 }, 5)).toBeCloseTo((5 * 400) / full, 12);
    expect(fraction('scrub', { maximizationEpochs: 3 }, 5)).toBeCloseTo((300 + 5 * 49900 + 50000 / 3) / full, 12);
    expect(fraction('scrub', { maximizationEpochs: 7 }, 5)).toBeCloseTo((500 + 5 * 49900 + 50000 / 3) / full, 12);
    expect(fraction('dmm', {}, 10)).toBeCloseTo((10 * 600 + 600 / 3) / full, 12);
    expect(fraction('oracle-matching', { retainMultiplier: 20, forgetMultiplier: 5 }, 4)).toBeCloseTo((4 * 2500 + 2100 / 3) / full, 12);
  });

  it('count the targets of redrawn retain points once per distinct point', () => {
    const half = { retainSampling: 'each-epoch', retainFraction: 0.5 };
    const distinct = 49900 * (1 - 0.5 ** 3);
    expect(fraction('oracle-matching', half, 3)).toBeCloseTo((3 * (100 + 24950) + (100 + distinct) / 3) / full, 12);
  });

  it('keep the published matching settings below the 5 % of the paper', () => {
    expect(fraction('oracle-matching', {}, 10)).toBeLessThan(0.05);
  });
});
