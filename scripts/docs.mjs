// Makes docs/commands.md, docs/plans.md and docs/errors.md from the program itself; --write writes them, without it stale ones are named.
import fs from 'node:fs';
import path from 'node:path';
import { root } from './stamp.mjs';

const load = (file) => import(path.join(root, 'dist', file));
const note = (from) => `<!-- Made by scripts/docs.mjs from ${from}: npm run build:ts && node scripts/docs.mjs --write -->`;
const cell = (text) => String(text).replaceAll('|', '\\|').replaceAll('\n', ' ');

function table(header, rows) {
  return [header, header.map(() => '---'), ...rows].map((row) => `| ${row.map(cell).join(' | ')} |`).join('\n');
}

// ---- commands

async function commandsPage() {
  const { wholeProgram } = await load('cli/program.js');
  const help = (command, words) => {
    const inner = command.commands.map((each) => help(each, `${words} ${each.name()}`));
    const text = command.configureHelp({ helpWidth: 110 }).helpInformation().trimEnd();
    return [`${'#'.repeat(Math.min(words.split(' ').length, 3))} ${words}\n\n\`\`\`text\n${text}\n\`\`\``, ...inner.flat()];
  };
  const verbs = (await wholeProgram()).commands.flatMap((verb) => help(verb, `lethe ${verb.name()}`));
  const about =
    'What `lethe VERB --help` prints. Exit codes: 0 done; 1 a task failed; 2 a wrong call; 3 damaged input; 4 the environment (memory, disk, GPU); ' +
    '75 stopped on request, the same command goes on. With `--json` results go to stdout as one JSON document, messages to stderr.';
  return ['# Commands', note('--help'), about, ...verbs];
}

// ---- plans

/** What a value must be, as the error for a wrong one says it. */
function expectation(schema) {
  const { type, innerType, options, values, entries, element, in: from, out } = schema._zod.def;
  if (['optional', 'default', 'prefault'].includes(type)) return expectation(innerType);
  if (type === 'pipe') return expectation(from._zod.def.type === 'transform' ? out : from);
  if (type === 'literal') return values.map((value) => `\`${value}\``).join(', ');
  if (type === 'enum')
    return Object.values(entries)
      .map((value) => `\`${value}\``)
      .join(', ');
  if (type === 'array') return `list: each ${expectation(element)}`;
  if (type === 'object') return 'object';
  if (type === 'union' && options.every((option) => option._zod.def.type === 'object')) return 'object';
  const { message } = schema.safeParse(Symbol('wrong')).error.issues[0];
  return message.startsWith('a name of') ? 'a name' : message;
}

function defaultOf(schema) {
  const { type, innerType, defaultValue } = schema._zod.def;
  if (type === 'default') return `\`${JSON.stringify(defaultValue)}\``;
  return type === 'optional' && innerType._zod.def.type === 'default' ? defaultOf(innerType) : '';
}

function bare(schema) {
  const { type, innerType, in: from, out } = schema._zod.def;
  if (['optional', 'default', 'prefault'].includes(type)) return bare(innerType);
  if (type === 'pipe') return bare(from._zod.def.type === 'transform' ? out : from);
  return schema;
}

const short = (text) => (text.length > 70 ? `${text.slice(0, 66)} ...` : text);

function planRows(shape, at = '') {
  return Object.entries(shape).flatMap(([key, schema]) => {
    const place = at + key;
    const inner = bare(schema);
    const { type, element, options } = inner._zod.def;
    const row = [`\`${place}\``, expectation(schema), short(defaultOf(schema)), schema.description ?? bare(schema).description ?? ''];
    if (type === 'object') return planRows(inner.shape, `${place}.`);
    if (place === 'fit' || place === 'attributors') return [];
    const item = type === 'array' ? bare(element) : inner;
    const prefix = type === 'array' ? `${place}[].` : `${place}.`;
    if (item._zod.def.type === 'object') return planRows(item.shape, prefix);
    const forms = item._zod.def.options ?? options;
    if (forms?.every((form) => form._zod.def.type === 'object')) {
      return forms.flatMap((form) => {
        const kind = form.shape.kind._zod.def.values[0];
        const own = Object.fromEntries(Object.entries(form.shape).filter(([name]) => name !== 'kind'));
        return planRows(own, `${prefix}kind=${kind}.`);
      });
    }
    return [row];
  });
}

async function plansPage() {
  const { planSchema } = await load('jobs/planSchema.js');
  const { attributors } = await load('attributors/registry.js');
  const { methods } = await load('unlearn/registry.js');
  const { planDefaults } = await load('jobs/planDefaults.js');
  const optionDefault = (fallback) => (fallback === undefined || typeof fallback === 'function' ? '' : `\`${JSON.stringify(fallback)}\``);
  const ofAttributor = ({ name, description, options, devices }) => [
    `### ${name}`,
    `${description[0].toUpperCase()}${description.slice(1)}. Runs on: ${devices.join(', ')}.`,
    table(
      ['option', 'value', 'default', 'what it is'],
      Object.entries(options).map(([option, declared]) => [
        `\`${option}\``,
        declared.words ? declared.words.map((word) => `\`${word}\``).join(', ') : (declared.check(Symbol('wrong')) ?? ''),
        optionDefault(declared.default),
        declared.description,
      ]),
    ),
  ];
  const recipe = { ...planDefaults.recipe, optimizer: planDefaults.optimizer.sgd, schedule: { kind: 'constant', learningRate: 0.1 } };
  const ofMethod = ({ name, label, description, parameters, paperGrid }) => {
    const grid = paperGrid(recipe);
    const rows = Object.entries(parameters).map(([parameter, { description: what }]) => [
      `\`${parameter}\``,
      parameter in grid ? JSON.stringify(grid[parameter]) : '',
      what,
    ]);
    const head = [`### ${name}`, `${label}. ${description}`];
    return rows.length === 0 ? head : [...head, table(['hyper-parameter', "the paper's grid", 'what it is'], rows)];
  };
  return [
    '# Plans',
    note('src/jobs/planSchema.ts, the attributors and the methods'),
    'A plan is a JSON or YAML file that says what an experiment is; machine facts (threads, folders, devices) are flags of `lethe run`. Every field has a default: `{}` is a plan. ' +
      'A wrong field is an error that names its line, what was expected and what to do. `lethe run PLAN --dry-run` prints what a plan would cost; `plan.json` in the run folder has every default written out. ' +
      'Plans to begin with are in [`plans/`](../plans). A name has lower-case letters, digits, ".", "_" and "-", begins with a letter or digit and is at most 64 long.',
    '## Fields',
    table(['field', 'value', 'default', 'what it is'], planRows(planSchema.shape)),
    '## Attributors',
    'How datamodels are fitted: `fit: { estimator: NAME, ... }` for one, or a list `attributors: [{ estimator: NAME, name, models, ... }, ...]` for several side by side. ' +
      'The first one gives principal components, and methods use it unless their grid names another (`attributor`). `name`: what other parts of the plan call it. ' +
      '`models`: it is fitted on the first so many subset models.',
    ...attributors.flatMap(ofAttributor),
    '## Methods',
    'Entries of `methods`: `{ method: NAME, grid: { HYPER-PARAMETER: [values] } }`. Settings are all combinations; what a grid leaves out has its published value.',
    ...methods.flatMap(ofMethod),
  ];
}

// ---- errors

function filesUnder(folder, extensions) {
  const files = fs.readdirSync(path.join(root, folder), { recursive: true, encoding: 'utf8' });
  return files
    .filter((file) => extensions.includes(path.extname(file)))
    .map((file) => path.join(folder, file))
    .sort();
}

const literal = String.raw`('(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"|${'`'}(?:[^${'`'}\\]|\\.)*${'`'})`;

/** The text of a literal; what is filled in is shown as dots. */
function textOf(quoted) {
  const inside = quoted.slice(1, -1).replace(/\\(.)/g, '$1');
  let [text, depth] = ['', 0];
  for (let at = 0; at < inside.length; at++) {
    if (depth === 0 && inside.startsWith('${', at)) {
      text += '…';
      depth = 1;
      at++;
    } else if (depth > 0) depth += inside[at] === '{' ? 1 : inside[at] === '}' ? -1 : 0;
    else text += inside[at];
  }
  return text.replaceAll('\n', ' ').trim();
}

function errorsPage() {
  const found = new Map();
  const add = (code, file, says, action) => {
    const entry = found.get(code) ?? { files: new Set(), says: new Set(), actions: new Set() };
    found.set(code, entry);
    entry.files.add(file);
    if (says) entry.says.add(says);
    if (action) entry.actions.add(action);
  };
  for (const file of filesUnder('src', ['.ts'])) {
    const source = fs.readFileSync(path.join(root, file), 'utf8');
    for (const match of source.matchAll(/['"`](LETHE_[A-Z0-9_]+)['"`]/g)) {
      if (!/_/.test(match[1].slice(6)) || /process\.env\[?\.?$/.test(source.slice(0, match.index).trimEnd())) continue;
      const isThrown = /(LetheError\(|code[:=]?\s*|\?\s*|:\s*|\(\s*)$/.test(source.slice(0, match.index).trimEnd() + ' ');
      const rest = source.slice(match.index + match[0].length, match.index + 1500);
      const end = rest.search(/\n\s*(}\);|\)\);|\);)\n/);
      const call = end < 0 ? rest.slice(0, 400) : rest.slice(0, end);
      const says = new RegExp(`^,\\s*${literal}`).exec(call);
      const action = new RegExp(`action:\\s*${literal}`).exec(call);
      if (isThrown && says && !says[1].includes('commander.')) add(match[1], file, textOf(says[1]), action && textOf(action[1]));
    }
  }
  for (const file of filesUnder('native', ['.cpp', '.h', '.cu'])) {
    if (file.startsWith('native/reference')) continue;
    const source = fs.readFileSync(path.join(root, file), 'utf8');
    for (const match of source.matchAll(/"(LETHE_[A-Z0-9]+_[A-Z0-9_]+)"\s*,\s*("(?:[^"\\]|\\.)*")?/g))
      add(match[1], file, match[2] && textOf(match[2]));
  }
  const rows = [...found]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([code, { says, actions }]) => [
      `\`${code}\``,
      [...says].sort().slice(0, 6).join('; '),
      [...actions].sort().slice(0, 4).join(' '),
    ]);
  return [
    '# Errors',
    note('the sources'),
    'Every error has a code, and reads "CODE: what happened; expected ...; received .... What to do." With `--json` it is printed as JSON to stderr. The same code may be said in several places; … is filled in.',
    table(['code', 'says', 'what to do'], rows),
  ];
}

// ---- all

const pages = { 'commands.md': await commandsPage(), 'plans.md': await plansPage(), 'errors.md': errorsPage() };
const stale = [];
for (const [name, parts] of Object.entries(pages)) {
  const file = path.join(root, 'docs', name);
  const text = `${parts.join('\n\n')}\n`;
  if (fs.existsSync(file) && fs.readFileSync(file, 'utf8') === text) continue;
  if (process.argv.includes('--write')) fs.writeFileSync(file, text);
  else stale.push(`docs/${name}`);
}
if (stale.length > 0) {
  console.error(`stale: ${stale.join(', ')}. Run: npm run build:ts && node scripts/docs.mjs --write`);
  process.exitCode = 1;
}
