/** Plan texts as strangers write them: plain values, or an error of the plan. */
import fs from 'node:fs';
import path from 'node:path';
import { stringify } from 'yaml';
import { LetheError } from '../../src/errors.js';
import { loadPlan } from '../../src/jobs/plan.js';
import { readPlanText } from '../../src/jobs/planText.js';
import { Purpose, Random } from '../../src/native/random.js';
import { fuzzTrials, mutate } from '../helpers/mutate.js';
import { temporaryFolder } from '../helpers/temporary.js';

const folder = temporaryFolder();

function write(name: string, content: Uint8Array | string): string {
  const file = path.join(folder, name);
  fs.writeFileSync(file, content);
  return file;
}

const deep = 1500;

test.each([
  ['lists.json', '['.repeat(deep) + ']'.repeat(deep)],
  ['objects.json', '{"a":'.repeat(deep) + '1' + '}'.repeat(deep)],
  ['lists.yaml', '['.repeat(deep) + ']'.repeat(deep)],
  ['objects.yaml', '{a: '.repeat(deep) + '1' + '}'.repeat(deep)],
  ['items.yaml', `${'- '.repeat(deep)}1`],
  ['keys.yaml', `${'? '.repeat(deep)}1`],
  ['lines.yaml', Array.from({ length: 1200 }, (_, i) => `${' '.repeat(i)}a:`).join('\n')],
  ['few.json', '['.repeat(30) + ']'.repeat(30)],
])('deep %s is refused', async (name, text) => {
  await expect(readPlanText(write(name, text))).rejects.toThrow(/LETHE_PLAN_INVALID.*at most 20 levels/);
});

test.each(['json', 'yaml'])('a damaged plan in %s is read or refused, never anything else', async (kind) => {
  const plan = fs.readFileSync('plans/quickstart.json');
  const seed = kind === 'json' ? plan : Buffer.from(stringify(JSON.parse(plan.toString('utf8'))));
  const random = new Random(8, Purpose.synthetic, 0);
  const codes = new Set<string>();
  for (let trial = 0; trial < fuzzTrials; trial++) {
    const text = mutate(seed, (count) => random.below(count));
    try {
      await loadPlan(write(`plan.${kind}`, text));
      codes.add('read');
    } catch (error) {
      if (!(error instanceof LetheError)) throw new Error(`trial ${trial}: ${Buffer.from(text).toString('base64')}`, { cause: error });
      codes.add(error.code);
    }
  }
  expect([...codes]).toContain('LETHE_PLAN_INVALID');
});
