/** The score of tuning by simulation: does a perfect method win? And the rule that guards accuracy. */
import { klomFloor } from '../../src/evaluate/floor.js';
import { allowedAccuracyLoss, type Candidate, chooseSettings, tuningScore } from '../../src/evaluate/tuning.js';
import { leastTuningModels } from '../../src/jobs/planCounts.js';
import { planDefaults } from '../../src/jobs/planDefaults.js';
import { Purpose, Random } from '../../src/native/random.js';

const sizes = { forget: 40, retain: 150, validation: 150 };
const numPoints = sizes.forget + sizes.retain + sizes.validation;
const from = (first: number, count: number): Int32Array => Int32Array.from({ length: count }, (_, i) => first + i);
const splits = {
  forget: from(0, sizes.forget),
  retain: from(sizes.forget, sizes.retain),
  validation: from(sizes.forget + sizes.retain, sizes.validation),
};

/** Margins of models that are as wide as oracles times `width`, off by `shift` on all points or by `harm` on a tenth of them. */
interface Method {
  width: number;
  shift: number;
  harm: number;
}

/** (numModels, points): points of one model have a part in common, as those of networks have. */
function draw(random: Random, numModels: number, { width, shift, harm }: Method): Float32Array {
  const margins = new Float32Array(numModels * numPoints);
  for (let model = 0; model < numModels; model++) {
    const common = Math.sqrt(0.2) * random.normal();
    for (let point = 0; point < numPoints; point++) {
      margins[model * numPoints + point] = width * (common + Math.sqrt(0.8) * random.normal()) + shift + (point % 10 === 0 ? harm : 0);
    }
  }
  return margins;
}

const perfect: Method = { width: 1, shift: 0, harm: 0 };
const imperfect: [string, Method][] = [
  ['1.3 times too wide', { ...perfect, width: 1.3 }],
  ['1.6 times too wide', { ...perfect, width: 1.6 }],
  ['0.7 times too wide', { ...perfect, width: 0.7 }],
  ['shifted by half a deviation', { ...perfect, shift: 0.5 }],
  ['shifted on a tenth of the points', { ...perfect, harm: 1 }],
];

/** Part of the draws in which a perfect method scores better than each of the imperfect ones. */
async function wins(numModels: number, draws: number): Promise<Record<string, number>> {
  const won: Record<string, number> = Object.fromEntries(imperfect.map(([name]) => [name, 0]));
  for (let seed = 0; seed < draws; seed++) {
    const random = new Random(seed, Purpose.bootstrap, 3, numModels);
    const oracleMargins = draw(random, 50, perfect);
    const score = (of: Method): Promise<number> =>
      tuningScore({ oracleMargins, unlearnedMargins: draw(random, numModels, of), numPoints }, splits);
    const best = await score(perfect);
    for (const [name, method] of imperfect) if (best < (await score(method))) won[name]! += 1 / draws;
  }
  return won;
}

describe('tuningScore', () => {
  it('prefers a perfect method to margins that are too wide, too narrow or off: nearly always with the default number of originals', async () => {
    const won = await wins(planDefaults.tuning.numModels, 40);
    for (const [name] of imperfect) expect([name, won[name]! >= 0.97]).toEqual([name, true]);
  });

  it('and in nine of ten draws with the fewest that a plan may have', async () => {
    const won = await wins(leastTuningModels, 40);
    for (const [name] of imperfect) expect([name, won[name]! >= 0.9]).toEqual([name, true]);
  });

  it('is near the closed form, at the 95th percentile of splits or the 99th of the forget points, and never takes a diverged setting', async () => {
    const random = new Random(1, Purpose.bootstrap, 3);
    const oracleMargins = draw(random, 400, perfect);
    const unlearnedMargins = draw(random, 400, { width: 1.2, shift: 1, harm: 0 });
    for (const criterion of ['average-p95', 'forget-p99'] as const) {
      const expected = 0.5 + Math.log(1.2) ** 2;
      expect(await tuningScore({ oracleMargins, unlearnedMargins, numPoints }, splits, criterion)).toBeGreaterThan(expected * 0.8);
      expect(await tuningScore({ oracleMargins, unlearnedMargins, numPoints }, splits, criterion)).toBeLessThan(expected * 1.3);
    }
    unlearnedMargins[5] = NaN;
    expect(await tuningScore({ oracleMargins, unlearnedMargins, numPoints }, splits)).toBe(Infinity);
  });

  it('knows the two criteria apart', async () => {
    const random = new Random(2, Purpose.bootstrap, 3);
    const oracleMargins = draw(random, 50, perfect);
    const unlearnedMargins = draw(random, 50, perfect);
    // far away on two of 40 forget points: above the 95th percentile
    for (let model = 0; model < 50; model++) for (const point of [3, 7]) unlearnedMargins[model * numPoints + point]! += 6;
    const score = (criterion: 'average-p95' | 'forget-p99'): Promise<number> =>
      tuningScore({ oracleMargins, unlearnedMargins, numPoints }, splits, criterion);
    expect(await score('forget-p99')).toBeGreaterThan(10 * (await score('average-p95')));
  });
});

describe('chooseSettings', () => {
  const candidate = (epochs: number, score: number, retain: number, variant?: string): Candidate => ({
    setting: { epochs },
    score,
    accuracy: { retain, validation: 0.5 },
    ...(variant === undefined ? {} : { variant }),
  });
  const nothing = { retain: 0.9, validation: 0.5 };
  const chosen = (candidates: Candidate[], reference = [nothing]): (number | string | boolean)[] =>
    chooseSettings(candidates, reference).flatMap((each) => (each.chosen ? [each.setting['epochs']!] : []));

  it('a setting that loses accuracy wins only where every one does', () => {
    const lossy = 0.9 - allowedAccuracyLoss - 0.001;
    expect(chosen([candidate(1, 0.1, lossy), candidate(2, 0.3, 0.89), candidate(3, 0.2, lossy + 0.002)])).toEqual([3]);
    expect(chosen([candidate(1, 0.1, lossy), candidate(2, 0.3, lossy)])).toEqual([1]);
    const [first] = chooseSettings([candidate(1, 0.1, 0.8)], [nothing]);
    expect(first).toMatchObject({ keepsAccuracy: false, accuracyLost: expect.closeTo(0.1, 9) as number });
  });

  it('accuracy that retraining loses too is not held against a method', () => {
    const retrained = { retain: 0.8, validation: 0.5 };
    expect(chosen([candidate(1, 0.1, 0.79), candidate(2, 0.3, 0.9)], [nothing, retrained])).toEqual([1]);
  });

  it('chooses for each variant, and nothing that diverged', () => {
    const all = [
      candidate(1, Infinity, 0.9),
      candidate(2, 0.5, 0.9),
      candidate(3, 0.1, 0.9, 'diagonal only'),
      candidate(4, NaN, 0.9, 'other'),
    ];
    expect(chosen(all)).toEqual([2, 3]);
  });
});

describe('klomFloor', () => {
  it('models that share what they copy have a floor between those of so many and of so few', async () => {
    const [own, shared, few] = [
      await klomFloor({ numOracles: 100, numUnlearned: 100 }),
      await klomFloor({ numOracles: 100, numUnlearned: 100, numDistinct: 50 }),
      await klomFloor({ numOracles: 100, numUnlearned: 50 }),
    ];
    expect(own.p95).toBeCloseTo(0.69, 1);
    expect(few.p95).toBeCloseTo(1.43, 1);
    expect(shared.p95).toBeGreaterThan(own.p95 + 0.3);
    expect(shared.p95).toBeLessThanOrEqual(few.p95 + 0.05);
  });
});
