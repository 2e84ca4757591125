// Writes the numbers of a finished run that are worth keeping: node bench/summarise.mjs RUN FILE.json [note ...]
import fs from 'node:fs';
import path from 'node:path';

const [run, file, ...notes] = process.argv.slice(2);
if (!run || !file) {
  console.error('usage: node bench/summarise.mjs RUN FILE.json [note ...]');
  process.exit(2);
}
const read = (name) => JSON.parse(fs.readFileSync(path.join(run, name), 'utf8'));
const plan = read('plan.json');
const { sessions } = read('provenance.json');
const last = sessions.at(-1);
const sets = plan.forgetSets.map(({ name }) => ({ ...read(`scores/${name}.json`), unbiased: read(`scores/unbiased/${name}.json`) }));
const round = (value) => (typeof value === 'number' ? Number(value.toPrecision(5)) : value);
const rounded = (value) =>
  typeof value === 'object' && value !== null
    ? Array.isArray(value)
      ? value.map(rounded)
      : Object.fromEntries(Object.entries(value).map(([key, item]) => [key, rounded(item)]))
    : round(value);

const summary = {
  document: 'lethe.run-summary',
  version: 1,
  plan,
  machine: { cpu: last.cpu, cores: last.cores, memoryBytes: last.memoryBytes, platform: last.platform, node: last.node },
  engine: last.engine,
  dataset: last.dataset,
  sessions: sessions.map(({ startedAt, elapsedMs, outcome, commit }) => ({ startedAt, elapsedMs, outcome, commit })),
  notes,
  lds: rounded(read('scores/lds.json').lds),
  ldsCeilings: rounded(read('scores/lds.json').ceilings),
  forgetSets: sets.map(({ forgetSet, size, scores, floor, originalAccuracy, unbiased }) => ({
    forgetSet,
    size,
    floor: rounded(floor),
    originalAccuracy: rounded(originalAccuracy),
    scores: rounded(scores),
    unbiased: rounded({ scores: unbiased.scores, floor: unbiased.floor }),
  })),
};
fs.mkdirSync(path.dirname(file), { recursive: true });
fs.writeFileSync(file, `${JSON.stringify(summary, null, 1)}\n`);
console.log(file);
