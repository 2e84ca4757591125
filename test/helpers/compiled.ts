/**
 * The sources as plain JavaScript, for tests that need child processes: src/ is translated file by file into build-testjs/
 * beside the real dist/ (so that paths relative to the package still work). Unchanged files are kept, a call costs milliseconds.
 */
import { transformSync } from '@swc/core';
import fs from 'node:fs';
import path from 'node:path';

const root = path.resolve(import.meta.dirname, '..', '..');
const output = path.join(root, 'build-testjs');
const source = path.join(root, 'src');

/** Brings the translation up to date and gives its folder: `<folder>/cli/main.js` stands for `dist/cli/main.js`. */
export function compiled(): string {
  translateFolder(source, output);
  return output;
}

/** The translation of `test/helpers/<name>.ts`, which may import from ../../src, as a program for child processes. */
export function compiledHelper(name: string): string {
  compiled();
  const folder = path.join(output, 'test-helpers');
  translateFolder(import.meta.dirname, folder);
  return path.join(folder, `${name}.js`);
}

function translateFolder(from: string, to: string): void {
  const names = fs.readdirSync(from, { recursive: true, encoding: 'utf8' }).filter((name) => name.endsWith('.ts'));
  for (const name of names) {
    const target = path.join(to, name.replace(/\.ts$/, '.js'));
    if (!isCurrent(target, path.join(from, name))) translate(path.join(from, name), target);
  }
}

function isCurrent(target: string, file: string): boolean {
  const written = fs.statSync(target, { throwIfNoEntry: false })?.mtimeMs;
  return written !== undefined && written > fs.statSync(file).mtimeMs;
}

function translate(file: string, target: string): void {
  const { code } = transformSync(fs.readFileSync(file, 'utf8'), {
    filename: file,
    jsc: { parser: { syntax: 'typescript' }, target: 'es2022' },
    module: { type: 'es6' },
    sourceMaps: 'inline',
    swcrc: false,
  });
  fs.mkdirSync(path.dirname(target), { recursive: true });
  // test files run side by side: each writes its own file and renames it
  const temporary = `${target}.${process.pid}.tmp`;
  fs.writeFileSync(temporary, code.replaceAll(/(["'])\.\.\/\.\.\/src\//g, '$1../'));
  fs.renameSync(temporary, target);
}
