/** The documents: pages made by scripts are current, links lead somewhere, and what sources cite exists. */
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { compiled } from './helpers/compiled.js';

const root = path.resolve(import.meta.dirname, '..');
const pages = ['README.md', 'CONTRIBUTING.md', 'CHANGELOG.md', 'bench/README.md'].concat(
  fs.readdirSync(path.join(root, 'docs')).map((name) => `docs/${name}`),
);
const read = (file: string): string => fs.readFileSync(path.join(root, file), 'utf8');

/** As GitHub makes them. */
const anchorsOf = (text: string): string[] =>
  [...text.matchAll(/^#+ (.*)$/gm)].map(([, heading]) =>
    heading!
      .toLowerCase()
      .replace(/[^\w\- ]/g, '')
      .replaceAll(' ', '-'),
  );

it('the pages that a script makes are current', () => {
  compiled();
  const { status, stderr } = spawnSync(process.execPath, ['scripts/docs.mjs'], { cwd: root, encoding: 'utf8' });
  expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
});

it('links lead to files and headings that are there', () => {
  const broken: string[] = [];
  let checked = 0;
  for (const page of pages) {
    for (const [, target] of read(page).matchAll(/\]\(([^)\s]+)\)/g)) {
      if (/^(https?:|mailto:)/.test(target!)) continue;
      const [file = '', anchor] = target!.split('#');
      const to = file === '' ? page : path.join(path.dirname(page), file);
      checked++;
      if (!fs.existsSync(path.join(root, to))) broken.push(`${page}: ${target!}`);
      else if (anchor !== undefined && !anchorsOf(read(to)).includes(anchor)) broken.push(`${page}: ${target!}`);
    }
  }
  expect(broken).toEqual([]);
  expect(checked).toBeGreaterThan(15);
});

it('documents that sources and pages name exist', () => {
  const files = ['src', 'native', 'test', 'scripts', 'bench'].flatMap((folder) =>
    fs
      .readdirSync(path.join(root, folder), { recursive: true, encoding: 'utf8' })
      .map((file) => path.join(folder, file))
      .filter((file) => /\.(ts|mjs|cpp|h|cu|py|sh)$/.test(file)),
  );
  const missing: string[] = [];
  for (const file of [...files, ...pages]) {
    if (file === 'test/docs.test.ts') continue;
    const text = read(file);
    for (const [named] of text.matchAll(/\bdocs\/[\w-]+\.md\b/g))
      if (!fs.existsSync(path.join(root, named))) missing.push(`${file}: ${named}`);
    // names of documents that live outside of the repository
    for (const [named] of text.matchAll(/\b(DESIGN|METHOD-NOTES|KERNELS|TOOLCHAIN|RELIABILITY)\b/g)) missing.push(`${file}: ${named}`);
  }
  expect(missing).toEqual([]);
});

it('every page has its place in the README', () => {
  const readme = read('README.md');
  expect(pages.filter((page) => page.startsWith('docs/') && !readme.includes(`(${page}`))).toEqual([]);
  expect(readme.trimEnd().split('\n').length).toBeLessThanOrEqual(120);
});
