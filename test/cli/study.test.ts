import fs from 'node:fs';
import path from 'node:path';
import { registerStudy } from '../../src/cli/study.js';
import { temporaryFolder } from '../helpers/temporary.js';
import { elements, parseMarkup } from '../report/markup.js';
import { runVerb } from './runVerb.js';

const folder = temporaryFolder();
const small = [
  ...['--dimension', '40', '--train', '12', '--forget', '2', '--batch', '2', '--seeds', '2', '--threads', '1'],
  ...['--iterations', '100', '--stochastic-iterations', '200'],
];
const ridge = (...args: string[]) => runVerb(registerStudy, ['study', 'ridge', ...args]);

interface Document {
  document: string;
  studies: { settings: object; claims: { holds: boolean; numbers: string }[]; checks: object[]; entries: { finalDistance: object }[] }[];
}

describe('lethe study ridge', () => {
  it('writes figures, tables and one page for both examples', async () => {
    const out = path.join(folder, 'both');
    const { stdout, stderr, exitCode } = await ridge(...small, '--lambda', '1,40', '--out', out);
    expect({ exitCode, error: stderr.includes('error') }).toEqual({ exitCode: 0, error: false });
    expect(stdout).toContain('Example 1');
    expect(stdout).toContain('Example 2');
    expect(stdout).toContain(path.join(out, 'index.html'));
    for (const figure of ['figure-5', 'figure-e1', 'figure-e2', 'figure-e1-example-2'])
      for (const ending of ['svg', 'vl.json', 'csv']) expect(fs.existsSync(path.join(out, 'figures', `${figure}.${ending}`))).toBe(true);
    const page = parseMarkup(fs.readFileSync(path.join(out, 'index.html'), 'utf8'));
    const all = elements(page);
    expect(all.filter(({ name }) => name === 'figure').length).toBe(4);
    expect(all.filter(({ name }) => name === 'script' || name === 'img' || name === 'link')).toEqual([]);
    for (const { attributes } of all.filter(({ name }) => name === 'a'))
      expect(fs.existsSync(path.join(out, attributes['href']!))).toBe(true);
    expect(fs.readFileSync(path.join(out, 'tables', 'claims.csv'), 'utf8')).toContain('theorem-1-gradient-descent');
  });

  it('prints a versioned document without words on stdout', async () => {
    const { stdout, exitCode } = await ridge('--example', '1', ...small, '--out', path.join(folder, 'one'), '--json');
    expect(exitCode).toBe(0);
    const document = JSON.parse(stdout) as Document;
    expect(document).toMatchObject({ document: 'lethe.study-ridge', version: 1, threads: 1 });
    expect(document.studies.length).toBe(1);
    expect(document.studies[0]).toMatchObject({ settings: { example: 1, dimension: 40, lambdas: [4, 400] } });
    expect(document.studies[0]!.entries.length).toBe(28);
    expect(document.studies[0]!.checks.length).toBe(14);
  });

  it('teaches what is wrong before it runs anything', async () => {
    const cases: [string[], string, RegExp][] = [
      [['--forget', '12'], 'LETHE_LINEAR_SETTING', /forget points.*expected an integer from 1 to 11.*received 12.*--forget/],
      [['--dimension', '0'], 'LETHE_LINEAR_SETTING', /dimension.*received 0/],
      [['--dimension', '2.5'], 'LETHE_LINEAR_SETTING', /dimension.*received 2.5/],
      [['--lambda', '-1,4'], 'LETHE_LINEAR_SETTING', /small lambda.*received -1/],
      [['--lambda', '4,1'], 'LETHE_LINEAR_SETTING', /large lambda.*expected a number > 4/],
      [['--lambda', '4'], 'LETHE_LAMBDA_PAIR', /expected the small and the large lambda.*received "4"/],
      [['--batch', '11'], 'LETHE_LINEAR_SETTING', /batch size.*expected an integer from 1 to 10/],
      [['--seeds', '0'], 'LETHE_LINEAR_SETTING', /repetitions/],
      [['--iterations', '1'], 'LETHE_LINEAR_SETTING', /full-batch iterations/],
      [['--noise-variance', '-1'], 'LETHE_LINEAR_SETTING', /noise variance/],
      [['--example', '3'], 'LETHE_EXAMPLE_UNKNOWN', /expected 1 .* or 2 .*received 3/],
    ];
    const out = path.join(folder, 'never');
    for (const [args, code, message] of cases) {
      const { stderr, exitCode } = await ridge(...small, '--out', out, ...args);
      expect(stderr).toContain(code);
      expect(stderr).toMatch(message);
      expect(exitCode).toBe(2);
    }
    expect(fs.existsSync(out)).toBe(false);
  });
});
