import { describe, expect, it } from '@jest/globals';
import { unbiasedTable } from '../../src/report/unbiasedTable.js';
import type { SplitSummary, UnbiasedScore } from '../../src/types.js';
import { fixture } from './fixture.js';

const splits = (p95: number): UnbiasedScore['gaussian'] => {
  const summary: SplitSummary = { mean: p95 / 2, p50: p95 / 3, p85: p95 / 1.5, p95, p99: 2 * p95 };
  return { forget: summary, retain: { ...summary, p95: p95 / 10 }, validation: { ...summary, p95: NaN }, average: summary };
};

describe('the table without bias', () => {
  const data = fixture();
  const [set] = data.forgetSets as [(typeof data.forgetSets)[0]];
  const direct = data.scores.find(({ forgetSet, method, best }) => forgetSet === set.name && method === 'dm-direct' && best)!;

  it('shows both estimates of the setting that stands for a method, and the floor', () => {
    const { method, setting } = direct;
    const scores = [
      { method, setting: { ...setting, scale: 9 }, gaussian: splits(9), neighbours: splits(9) },
      { method, setting, gaussian: splits(0.5), neighbours: splits(0.6) },
    ];
    const floor = { gaussian: splits(0.04), neighbours: splits(0.14) };
    const table = unbiasedTable({ ...data, unbiased: [{ forgetSet: set.name, scores, floor }] }, set)!;
    const rows = new Map(table.rows.map(([name, ...cells]) => [name!.text, cells.map(({ text }) => text)]));
    expect(rows.get('DM-Direct')).toEqual(['0.50', '0.60', '0.05', '0.06', 'too few models', 'too few models']);
    expect(rows.get('floor (measured)')!.slice(0, 2)).toEqual(['0.04', '0.14']);
    expect(rows.get('do nothing')).toEqual(Array(6).fill(''));
  });

  it('is left out for runs of earlier versions', () => {
    expect(unbiasedTable(data, set)).toBeUndefined();
  });
});
