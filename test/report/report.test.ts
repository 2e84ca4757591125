import { buildReport, renderKlomTable } from '../../src/report/index.js';
import { summarise } from '../../src/report/summary.js';
import { accuracyCsv, klomCsv } from '../../src/report/tables.js';
import type { ReportData, SplitSummary } from '../../src/types.js';
import { fixture } from './fixture.js';
import { elements, parseMarkup, texts } from './markup.js';

const data = fixture();
/** Quicker to draw: one forget set, one setting a method, one sample of each split. */
const small: ReportData = {
  ...data,
  forgetSets: data.forgetSets.slice(0, 1),
  scores: data.scores.filter((score) => score.best && score.forgetSet === 'random-40'),
  marginSamples: [data.marginSamples[0]!, data.marginSamples[4]!],
};
const hostile = `<script>alert("x")</script> & ']]> id="clip0" \u0001`;

async function filesOf(of: ReportData): Promise<Map<string, string>> {
  const { files } = await buildReport(of);
  return new Map(files.map((file) => [file.path, file.content]));
}

/** Well-formed page and pictures, nothing fetched, no script: what must hold for any data. */
function check(files: Map<string, string>): void {
  const page = parseMarkup(files.get('index.html')!);
  const all = elements(page);
  expect(all.filter((element) => element.name === 'script')).toEqual([]);
  const ids = all.flatMap((element) => element.attributes['id'] ?? []);
  expect(new Set(ids).size).toBe(ids.length);
  for (const element of all) {
    for (const [name, value] of Object.entries(element.attributes)) {
      if (!name.startsWith('xmlns')) expect(value).not.toMatch(/^\s*(https?:)?\/\//);
      expect(name).not.toMatch(/^on|^src$/);
    }
    if (element.name === 'a') expect(files.has(element.attributes['href']!)).toBe(true);
  }
  expect(elements(page).find((element) => element.name === 'style')!.text).not.toMatch(/@import|url\(/);
  for (const [path, content] of files) {
    expect(path).toMatch(/^([a-z]+\/)?[a-z0-9][a-z0-9.-]*$/);
    if (path.endsWith('.svg')) parseMarkup(content);
    if (path.endsWith('.json')) expect(JSON.stringify(JSON.parse(content))).not.toContain('"url"');
  }
}

describe('buildReport', () => {
  it('makes a self-contained page with every section and the files it links to', async () => {
    const files = await filesOf(data);
    check(files);
    const page = parseMarkup(files.get('index.html')!);
    const headings = elements(page)
      .filter((element) => element.name === 'h2')
      .map((element) => element.text);
    expect(headings).toEqual([
      'Summary',
      'Unlearning quality (KLOM)',
      'Margins of single points',
      'Accuracy',
      'Datamodels',
      'About this run',
    ]);
    expect(elements(page).filter((element) => element.name === 'svg')).toHaveLength(4);
    expect([...files.keys()].filter((path) => path.endsWith('.vl.json'))).toHaveLength(4);
    expect(texts(page)).toContain('KLOM on pc1-100 (100 points)');
  });

  it('gives the same bytes for the same data, also after other figures were drawn', async () => {
    const first = await filesOf(data);
    await filesOf({ ...small, lds: [] });
    expect(await filesOf(fixture())).toEqual(first);
  });

  it('escapes hostile names everywhere', async () => {
    const rename = (name: string): string => (name === 'random-40' ? hostile : name);
    const files = await filesOf({
      ...small,
      runName: hostile,
      dataDescription: hostile,
      facts: [{ name: hostile, value: hostile }],
      forgetSets: small.forgetSets.map((set) => ({ ...set, name: rename(set.name) })),
      scores: small.scores.map((score) => ({ ...score, forgetSet: rename(score.forgetSet), setting: { [hostile]: hostile } })),
      floors: small.floors.map((floor) => ({ ...floor, forgetSet: rename(floor.forgetSet) })),
      marginSamples: small.marginSamples.map((sample) => ({ ...sample, forgetSet: rename(sample.forgetSet), label: hostile })),
      originalAccuracy: small.originalAccuracy.map((entry) => ({ ...entry, forgetSet: rename(entry.forgetSet) })),
    });
    check(files);
    expect(files.get('index.html')).not.toContain('<script');
    expect(elements(parseMarkup(files.get('index.html')!)).find((element) => element.name === 'h1')!.text).toBe(
      hostile.replace('\u0001', '\uFFFD'),
    );
    expect(files.get('tables/facts.csv')).toBe(
      `name,value\n${Array(2)
        .fill(`"${hostile.replaceAll('"', '""')}"`)
        .join()}\n`,
    );
  });

  const nan: SplitSummary = { mean: NaN, p50: NaN, p85: NaN, p95: NaN, p99: NaN };
  const nanSplits = { average: nan, forget: nan, retain: nan, validation: nan };
  const cases: [string, ReportData][] = [
    ['two forget sets, one without scores', { ...small, forgetSets: data.forgetSets }],
    ['no LDS and no samples', { ...small, lds: [], marginSamples: [] }],
    ['one method', { ...small, scores: small.scores.filter((score) => score.method === 'do-nothing') }],
    ['no floor and no best setting', { ...small, floors: [], scores: small.scores.map((score) => ({ ...score, best: false })) }],
    [
      'scores that are not numbers',
      { ...small, scores: small.scores.map((s) => (s.method === 'scrub' ? { ...s, splits: nanSplits, numNonFinite: 7 } : s)) },
    ],
    ['only scores that are not numbers', { ...small, scores: small.scores.map((s) => ({ ...s, splits: nanSplits })) }],
    ['nothing', { ...small, facts: [], forgetSets: [], scores: [], floors: [], lds: [], marginSamples: [], originalAccuracy: [] }],
  ];
  it.each(cases)('copes with %s', async (_, of) => {
    check(await filesOf(of));
    expect(renderKlomTable(of)).not.toMatch(/NaN|undefined|Infinity/);
    expect(
      summarise(of)
        .flatMap(({ sentences }) => sentences)
        .join(' '),
    ).not.toMatch(/NaN|undefined|Infinity/);
  });
});

describe('tables', () => {
  it('prints aligned columns with N and the floor', () => {
    const lines = renderKlomTable({ ...data, forgetSets: data.forgetSets.slice(0, 1) }).split('\n');
    expect(lines[0]).toBe('KLOM on random-40 (40 points)');
    const rows = lines.slice(4, 16);
    expect(rows.map((row) => row.slice(0, 27).trim())).toEqual([
      'do nothing',
      'full retrain',
      'partial retrain',
      'partial retrain, compressed',
      'gradient ascent',
      'gradient descent',
      'SCRUB',
      'oracle matching',
      'DM-Direct',
      'DM-Direct, diagonal only',
      'DMM',
      'floor (measured)',
    ]);
    const points = rows.map((row) => [...row.matchAll(/\.\d\d(?=[ *]|$)/g)].map((match) => match.index).slice(-8));
    for (const row of points) expect(row).toEqual(points[0]);
    const words = lines.join(' ').replace(/\s+/g, ' ');
    expect(words).toContain('N = 100 unlearned against 100 oracle models.');
    expect(words).toContain('Settings of SCRUB and DMM: chosen on 24 originals that are not scored, against 100 matched oracles');
    expect(words).toContain('Settings of DM-Direct: chosen on the 100 scored originals, against 100 matched oracles');
    expect(words).toContain('No setting keeps the accuracy; points lost at the chosen one: SCRUB (5.2).');
    expect(lines.join(' ')).toMatch(/0\.34\s+\(p95 0\.65\)/);
    // the star never goes to methods that need retrained models, nor to doing nothing, which is lowest on the retain points here
    const starred = rows.filter((row) => row.includes('*')).map((row) => row.slice(0, 27).trim());
    expect(starred.length).toBeGreaterThan(0);
    for (const name of [
      'do nothing',
      'full retrain',
      'partial retrain',
      'partial retrain, compressed',
      'oracle matching',
      'floor (measured)',
    ])
      expect(starred).not.toContain(name);
  });

  it('writes every setting to CSV in full precision', () => {
    const klom = klomCsv(data).trimEnd().split('\n');
    expect(klom).toHaveLength(1 + 4 * (data.scores.length + data.floors.length));
    const width = klom[0]!.split(',').length;
    for (const line of klom) expect(line.replace(/"[^"]*"/g, '').split(',')).toHaveLength(width);
    expect(klom[1]!.split(',').slice(0, 8)).toEqual([
      'random-40',
      'do-nothing',
      '',
      '0',
      '100',
      '100',
      'average',
      String(data.scores[0]!.splits.average.mean),
    ]);
    expect(accuracyCsv(data).split('\n')[1]).toBe('random-40,original,,0.98,0.982,0.401,');
  });
});

describe('many forget sets', () => {
  const count = 40;
  const name = (index: number): string => `set-${index}`;
  const copies = Array.from({ length: count }, (_, index) => index);
  const [first] = data.forgetSets;
  const of = <Item extends { forgetSet: string }>(items: readonly Item[]): Item[] =>
    copies.flatMap((index) => items.filter((item) => item.forgetSet === first!.name).map((item) => ({ ...item, forgetSet: name(index) })));
  const many: ReportData = {
    ...data,
    forgetSets: copies.map((index) => ({ name: name(index), size: 40 })),
    scores: of(data.scores).map((score) => ({ ...score, splits: scaled(score.splits, 1 + Number(score.forgetSet.slice(4)) / count) })),
    floors: of(data.floors),
    choices: of(data.choices),
    marginSamples: of(data.marginSamples),
    originalAccuracy: of(data.originalAccuracy),
  };
  function scaled(splits: ReportData['scores'][number]['splits'], factor: number): typeof splits {
    const each = (summary: SplitSummary): SplitSummary =>
      Object.fromEntries(Object.entries(summary).map(([key, value]: [string, number]) => [key, value * factor])) as unknown as SplitSummary;
    return { average: each(splits.average), forget: each(splits.forget), retain: each(splits.retain), validation: each(splits.validation) };
  }

  it('are one table in a terminal, with medians and highest values, and notes said once', () => {
    const text = renderKlomTable(many);
    expect(text.split('\n').length).toBeLessThan(50);
    expect(text).toContain('KLOM over all 40 forget sets');
    expect(text.match(/oracle models\./g)).toHaveLength(1);
    const nothing = data.scores.find((score) => score.method === 'do-nothing')!.splits.forget.p95;
    const [median, highest] = [nothing * (1 + 19.5 / 40), nothing * (1 + 39 / 40)].map((value) => value.toFixed(2));
    expect(text.split('\n').find((line) => line.startsWith('do nothing'))).toMatch(new RegExp(`^do nothing +40 .* ${median} +${highest} `));
  });

  it('make figures and a page of bounded size, with every set in tables and CSV', async () => {
    const files = await filesOf(many);
    check(files);
    for (const [path, content] of files) {
      if (!path.endsWith('.svg')) continue;
      expect([path, Number(/ height="(\d+)"/.exec(content)![1]) < 1500]).toEqual([path, true]);
    }
    const page = parseMarkup(files.get('index.html')!);
    const words = texts(page);
    expect(words).toContain('KLOM of each forget set (95th percentile, average of the three splits)');
    for (const index of copies) expect(words).toContain(`KLOM on ${name(index)} (40 points)`);
    expect(words.filter((text) => text.startsWith('Floor: '))).toHaveLength(1);
    expect(new Set(files.get('figures/compute-klom.csv')!.match(/^set-\d+/gm)).size).toBe(count);
    expect(new Set(files.get('figures/klom-percentiles.csv')!.match(/^set-\d+/gm)).size).toBe(count);
  });

  it('have notes of all sets once, also where there are two', () => {
    const text = renderKlomTable(data);
    expect(text.match(/oracle models\./g)).toHaveLength(1);
    expect(text).toMatch(/KLOM on random-40.*KLOM on pc1-100.*KLOM over all 2 forget sets/s);
  });
});

describe('names', () => {
  it('of methods are those of klom.csv in every CSV', async () => {
    const files = await filesOf(small);
    const column = (file: string): string[] => {
      const [header, ...rows] = files.get(file)!.trimEnd().split('\n');
      const at = header!.split(',').indexOf('method');
      return [...new Set(rows.map((row) => row.split(',')[at]!))].sort();
    };
    expect(column('figures/klom-percentiles.csv')).toEqual(column('tables/klom.csv'));
  });
});

describe('summary', () => {
  const forget = (p95: number): ReportData['scores'][number]['splits'] => {
    const of = (value: number): SplitSummary => ({ mean: value, p50: value, p85: value, p95: value, p99: value });
    return { average: of(p95), forget: of(p95), retain: of(1), validation: of(1) };
  };
  const withForget = (values: Record<string, number>): ReportData => ({
    ...data,
    forgetSets: data.forgetSets.slice(0, 1),
    scores: data.scores
      .filter((score) => score.best && score.method in values)
      .map((score) => ({ ...score, splits: forget(values[score.method]!) })),
  });
  const sentences = (of: ReportData): string => summarise(of)[0]!.sentences.join('\n');

  it('names winners, ties and losers', () => {
    const text = sentences(withForget({ 'do-nothing': 5, 'full-retrain': 0.6, dmm: 1, scrub: 4.9, 'gradient-ascent': 9 }));
    expect(text).toMatch(/Closer to retrained models than doing nothing: DMM \(1\.00, compute 0\.060\)\./);
    expect(text).toMatch(/About level with doing nothing \(within 10 %\): SCRUB \(4\.90/);
    expect(text).toMatch(/Worse than doing nothing: gradient ascent \(9\.00/);
    expect(text).toMatch(/No method takes the retain or validation points/);
  });

  it('says so when nothing helps, and when there are too few models', () => {
    const of = withForget({ 'do-nothing': 1, dmm: 2 });
    const text = sentences({ ...of, scores: of.scores.map((score) => ({ ...score, numOracles: 30 })) });
    expect(text).toContain('No approximate method does better than doing nothing on the forget points.');
    expect(text).toContain('Only 30 models on a side');
  });
});
