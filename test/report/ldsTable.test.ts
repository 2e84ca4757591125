import { describe, expect, it } from '@jest/globals';
import { ldsTable } from '../../src/report/ldsTable.js';
import { comparedFixture, fixture } from './fixture.js';

const data = fixture();
const compared = comparedFixture();
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

  it('shows what DM-Direct makes of each, at each number of models', () => {
    const table = ldsTable(compared);
    expect(texts(table).map((row) => row[4])).toEqual(['', '2.50 / 2.50 / 2.50', '2.00 / 2.00 / 2.00', '1.50 / 1.50 / 1.50', '']);
    expect(table!.columns[4]).toEqual({ label: data.forgetSets[0]!.name, align: 'right', group: 'DM-Direct, KLOM p95' });
  });

  it('puts datamodels of few models beside no fit of more', () => {
    const [all, lasso] = compared.attributors;
    const fewer = { ...compared, attributors: [{ ...all!, models: 300, isAll: false }, lasso!] };
    expect(texts(ldsTable(fewer)).map((row) => row[4])).toEqual(['', '2.50 / 2.50 / 2.50', '', '', '']);
  });

  it('is left out where the figure shows everything', () => {
    expect(ldsTable(data)).toBeUndefined();
  });
});
