import { describe, expect, it } from '@jest/globals';
import { ldsTable } from '../../src/report/ldsTable.js';
import type { LdsPoint, MethodScore, ReportData } from '../../src/types.js';
import { fixture } from './fixture.js';

const data = fixture();
const point = (estimator: string, numModels: number, points: LdsPoint['points'], mean: number): LdsPoint => {
  return { estimator, numModels, points, mean, median: mean, low: mean - 0.01, high: mean + 0.01 };
};
const compared: ReportData = {
  ...data,
  lds: ['covariance', 'lasso'].flatMap((name, k) =>
    [100, 900].flatMap((count) => [
      point(name, count, 'train', (count / 1000) * (1 - k / 2)),
      point(name, count, 'validation', (count / 2000) * (1 - k / 2)),
    ]),
  ),
  ldsCeilings: [{ points: 'train', mean: 0.9, low: 0.88, high: 0.91, reliability: 0.81, numMasks: 40 }],
};
const texts = (table: ReturnType<typeof ldsTable>): string[][] => table!.rows.map((row) => row.map(({ text }) => text));

describe('the table of attributors', () => {
  it('says their LDS and the share of the ceiling, where it was measured', () => {
    const rows = texts(ldsTable(compared));
    expect(rows.map(([name, models]) => [name, models])).toEqual([
      ['Lasso', '100'],
      ['Lasso', '900'],
      ['covariance', '100'],
      ['covariance', '900'],
      ['ceiling', ''],
    ]);
    expect(rows[1]!.slice(2, 4)).toEqual(['0.450 (0.440 to 0.460), 50 %', '0.225 (0.215 to 0.235)']);
    expect(rows[4]!.slice(2, 4)).toEqual(['0.900 (0.880 to 0.910)', '']);
    expect(ldsTable(compared)!.notes.join(' ')).toContain('40 masks trained twice');
  });

  it('shows what DM-Direct makes of each, beside all models', () => {
    const [published] = data.scores.filter(({ method, best }) => method === 'dm-direct' && best);
    const shifted = (attributor: string | undefined, by: number): MethodScore => ({
      ...published!,
      forgetSet: data.forgetSets[0]!.name,
      setting: attributor === undefined ? {} : { attributor },
      splits: Object.fromEntries(
        Object.entries(published!.splits).map(([name, split]) => [name, { ...split, p95: by }]),
      ) as MethodScore['splits'],
    });
    // a setting without a name means the first attributor
    const table = ldsTable({ ...compared, scores: [shifted(undefined, 1.5), shifted('lasso', 2.5)] });
    const rows = texts(table);
    expect(rows.map((row) => row[4])).toEqual(['', '2.50 / 2.50 / 2.50', '', '1.50 / 1.50 / 1.50', '']);
    expect(table!.columns[4]).toEqual({ label: data.forgetSets[0]!.name, align: 'right', group: 'DM-Direct, KLOM p95' });
  });

  it('is left out where the figure shows everything', () => {
    expect(ldsTable(data)).toBeUndefined();
  });
});
