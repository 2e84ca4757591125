/** Keeps the rules of the house: one-way imports, the addon border, small files. */
import fs from 'node:fs';
import path from 'node:path';

const root = path.resolve(import.meta.dirname, '..');

function filesUnder(folder: string, extensions: string[]): string[] {
  const absolute = path.join(root, folder);
  if (!fs.existsSync(absolute)) return [];
  return fs
    .readdirSync(absolute, { recursive: true, encoding: 'utf8' })
    .filter((file) => extensions.includes(path.extname(file)))
    .map((file) => path.join(folder, file).split(path.sep).join('/'));
}

const sources = filesUnder('src', ['.ts']);
const read = (file: string): string => fs.readFileSync(path.join(root, file), 'utf8');

/** Relative imports of a source file as paths from the project root. */
function importsOf(file: string): string[] {
  const found: string[] = [];
  for (const match of read(file).matchAll(/(?:from|import\()\s*'(\.[^']+)'/g)) {
    found.push(path.posix.join(path.posix.dirname(file), match[1]!).replace(/\.js$/, '.ts'));
  }
  return found;
}

const folderOf = (file: string): string => file.split('/')[1]!;
const stages = ['data', 'train', 'datamodels', 'unlearn', 'evaluate', 'ridge', 'report'];
/** Open to stages: the contract of a task, and what a plan says of its stages. */
const openJobs = ['task', 'planInputs', 'planCounts', 'ldsSplit', 'shards'].map((name) => `src/jobs/${name}.ts`);
/** Open to all above it: the methods, which plans, stages and the report look up. */
const openRegistries = ['src/unlearn/registry.ts'];
/** What each folder may import besides itself and the top-level types.ts and errors.ts. */
const allowed: Record<string, string[]> = {
  native: [],
  models: ['native'],
  store: ['native'],
  attributors: ['native', 'data'],
  engines: ['native', 'models'],
  jobs: ['store', 'attributors'],
  bench: ['native', 'store', 'data', 'attributors', 'datamodels', 'models', 'engines'],
  commands: ['native', 'models', 'store', 'engines', 'jobs', 'attributors', ...stages],
  cli: ['native', 'models', 'store', 'engines', 'jobs', 'attributors', 'bench', 'commands', ...stages],
};
// data/ (data sets, masks, forget sets) and the attributors lie below the stages
for (const stage of stages) allowed[stage] = ['native', 'models', 'store', 'engines', 'data', 'attributors'];

describe('architecture', () => {
  it('has sources to look at', () => {
    expect(sources.length).toBeGreaterThan(20);
    expect(sources).toContain('src/types.ts');
  });

  it('imports one way: stages never import each other, nothing but pipeline, commands and cli sees all of them', () => {
    const violations: string[] = [];
    for (const file of sources) {
      const depth = file.split('/').length;
      for (const target of importsOf(file)) {
        if (target === 'src/types.ts' || target === 'src/errors.ts') continue;
        if (depth === 2) {
          if (['src/types.ts', 'src/errors.ts'].includes(file)) violations.push(`${file} -> ${target}`);
          continue;
        }
        const from = folderOf(file);
        const to = folderOf(target);
        if (from === to || [...openJobs, ...openRegistries].includes(target)) continue;
        if (['cli', 'commands'].includes(from) && target === 'src/pipeline.ts') continue;
        if (!(allowed[from] ?? []).includes(to)) violations.push(`${file} -> ${target}`);
      }
    }
    expect(violations).toEqual([]);
  });

  it('has no import cycles', () => {
    const state = new Map<string, 'open' | 'closed'>();
    const cycles: string[] = [];
    const visit = (file: string, trail: string[]): void => {
      if (state.get(file) === 'closed') return;
      if (state.get(file) === 'open') {
        cycles.push([...trail.slice(trail.indexOf(file)), file].join(' -> '));
        return;
      }
      state.set(file, 'open');
      for (const target of importsOf(file)) if (sources.includes(target)) visit(target, [...trail, file]);
      state.set(file, 'closed');
    };
    for (const file of sources) visit(file, []);
    expect(cycles).toEqual([]);
  });

  it('keeps Node-API in native/addon and CUDA in native/cuda', () => {
    const native = filesUnder('native', ['.h', '.cpp', '.cu', '.cuh']);
    expect(native.length).toBeGreaterThan(10);
    const napi = native.filter((file) => /#include\s*<(napi|node_api)\.h>/.test(read(file)) && !file.startsWith('native/addon/'));
    const cuda = native.filter((file) => /#include\s*<cuda/.test(read(file)) && !file.startsWith('native/cuda/'));
    expect([...napi, ...cuda]).toEqual([]);
  });

  it('keeps core and kernels free of each other’s backends', () => {
    const violations = filesUnder('native/core', ['.h', '.cpp'])
      .concat(filesUnder('native/cpu', ['.h', '.cpp']))
      .filter((file) => /#include\s*"(addon|reference|cuda)\//.test(read(file)));
    expect(violations).toEqual([]);
  });

  it('keeps the rooms of the native code apart: each knows itself and base', () => {
    const rooms = ['base', 'train', 'lasso', 'evaluate', 'ridge'];
    const violations: string[] = [];
    for (const file of ['core', 'cpu', 'cuda', 'reference', 'include/lethe'].flatMap((part) =>
      filesUnder(`native/${part}`, ['.h', '.cpp', '.cu']),
    )) {
      const own = rooms.find((room) => file.includes(`/${room}/`));
      if (own === undefined) continue;
      for (const [, target] of read(file).matchAll(/#include "(?:lethe|core|cpu|cuda|reference)\/(\w+)\//g)) {
        if (rooms.includes(target!) && target !== own && target !== 'base') violations.push(`${file} -> ${target}`);
      }
    }
    expect(violations).toEqual([]);
  });

  it('has no file over 400 lines without a first line that says why', () => {
    const all = [
      ...sources,
      ...filesUnder('native', ['.h', '.cpp', '.cu', '.cuh']),
      ...filesUnder('bench', ['.ts', '.mjs', '.cpp', '.h', '.py']),
      ...filesUnder('test', ['.ts', '.cpp', '.h']),
      ...filesUnder('scripts', ['.mjs']),
    ];
    const long = all.filter((file) => {
      const text = read(file);
      return text.split('\n').length > 401 && !/^(\/\/|\/\*\*?|#).*\blong\b.*because/i.test(text);
    });
    expect(long).toEqual([]);
  });

  it('gives a type of the native code one name and a name one type', () => {
    const homes = new Map<string, string[]>();
    // the same types for two compilers; names of their own
    const apart = (file: string): boolean => /^native\/(reference|cuda\/base\/(nvcc\.h|emulated))/.test(file);
    for (const file of filesUnder('native', ['.h']).filter((header) => !apart(header))) {
      const names = new Set([...read(file).matchAll(/^(?:struct|class|enum class) (\w+)[^;{]*\{/gm)].map((match) => match[1]!));
      for (const name of names) homes.set(name, [...(homes.get(name) ?? []), file]);
    }
    expect(homes.size).toBeGreaterThan(50);
    expect([...homes].filter(([, files]) => files.length > 1)).toEqual([]);
  });

  it('knows run-folder paths only in store/folders/layout.ts', () => {
    const names = /['"`](outputs|originals|oracles|unlearned|datamodels|forget-sets|scores|manifest)\//;
    const violations = sources.filter((file) => file !== 'src/store/folders/layout.ts' && names.test(read(file)));
    expect(violations).toEqual([]);
  });
});
