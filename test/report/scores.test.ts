import fc from 'fast-check';
import { csv } from '../../src/report/csv.js';
import { paretoFront } from '../../src/report/scores.js';

interface Item {
  cost: number;
  loss: number;
}

const front = (items: Item[]): Item[] =>
  paretoFront(
    items,
    (item) => item.cost,
    (item) => item.loss,
  );
const isFinite = (item: Item): boolean => Number.isFinite(item.cost) && Number.isFinite(item.loss);
/** Small whole numbers, so that ties happen. */
const value = fc.oneof(fc.integer({ min: 0, max: 6 }), fc.constantFrom(NaN, Infinity));
const items = fc.array(fc.record({ cost: value, loss: value }), { maxLength: 30 });

describe('paretoFront', () => {
  it('keeps what nothing dominates; everything else is dominated by or equal to a point of the front', () => {
    fc.assert(
      fc.property(items, (all) => {
        const kept = front(all);
        const notWorse = (a: Item, b: Item): boolean => a.cost <= b.cost && a.loss <= b.loss;
        const dominates = (a: Item, b: Item): boolean => notWorse(a, b) && (a.cost < b.cost || a.loss < b.loss);
        for (const point of kept) expect(isFinite(point) && !all.filter(isFinite).some((other) => dominates(other, point))).toBe(true);
        for (const other of all.filter(isFinite)) expect(kept.some((point) => notWorse(point, other))).toBe(true);
      }),
    );
  });

  it('rises in cost and falls in loss, whatever the order of the input', () => {
    fc.assert(
      fc.property(items, (all) => {
        const kept = front(all);
        kept.slice(1).forEach((point, index) => {
          expect(point.cost).toBeGreaterThan(kept[index]!.cost);
          expect(point.loss).toBeLessThan(kept[index]!.loss);
        });
        expect(front([...all].reverse()).map(({ cost, loss }) => [cost, loss])).toEqual(kept.map(({ cost, loss }) => [cost, loss]));
      }),
    );
  });
});

describe('csv', () => {
  it('quotes what needs it and keeps numbers whole', () => {
    const rows = [
      ['a,b', 'say "hi"', 'two\nlines', true],
      ['', 0.1 + 0.2, NaN, -0],
    ];
    expect(csv(['w', 'x', 'y', 'z'], rows)).toBe('w,x,y,z\n"a,b","say ""hi""","two\nlines",true\n,0.30000000000000004,NaN,0\n');
  });
});
