/** The text of a plan file as plain values: JSON or YAML, without duplicate keys, aliases or keys that reach into objects. */
import fs from 'node:fs/promises';
import path from 'node:path';
import { isAlias, isMap, isNode, isScalar, isSeq, LineCounter, parseDocument } from 'yaml';
import { ExitCode, LetheError } from '../errors.js';
import { openForReading, readWhole } from '../store/disk/files.js';
import { DuplicateKeyError, parseJson } from '../store/disk/jsonText.js';
import { layout } from '../store/folders/layout.js';

const maxBytes = 1 << 20;
const maxDepth = 20;

export interface PlanText {
  value: unknown;
  /** Line of the key or item at a place, e.g. "recipe.epochs" -> 12. */
  lines: Map<string, number>;
}

/** "recipe.schedule", "forgetSets[0]": how places are written in messages. */
export function placeOf(keys: readonly PropertyKey[]): string {
  return keys.reduce<string>((place, key) => {
    if (typeof key === 'number') return `${place}[${key}]`;
    return place === '' ? String(key) : `${place}.${String(key)}`;
  }, '');
}

export function planInvalid(where: string, expected: string, received: string, action?: string): LetheError {
  return new LetheError('LETHE_PLAN_INVALID', where, {
    expected,
    received,
    ...(action === undefined ? {} : { action }),
    exitCode: ExitCode.usage,
  });
}

/**
 * Reads a plan file, .json, .yaml or .yml.
 * @throws LETHE_FILE_MISSING, LETHE_PLAN_INVALID (exit code 2)
 */
export async function readPlanText(file: string): Promise<PlanText> {
  if (await isFolder(file)) {
    const own = path.join(file, layout.plan);
    const action = `A run goes on with the plan it was started with, or with its copy: lethe run ${own} --out ${file}`;
    throw planInvalid(`${file} is a folder`, 'a plan file', 'a folder', (await readWhole(own)) ? action : undefined);
  }
  const { handle, bytes } = await openForReading(file);
  await handle.close();
  if (bytes > maxBytes) throw planInvalid(`${file} is too large for a plan`, `at most ${maxBytes} bytes`, `${bytes} bytes`);
  const content = (await readWhole(file)) ?? new Uint8Array(0);
  let text: string;
  try {
    text = new TextDecoder('utf-8', { fatal: true }).decode(content);
  } catch {
    throw planInvalid(`${file} is no text`, 'UTF-8', 'other bytes');
  }
  if (file.endsWith('.json')) requireJson(text, file);
  else if (!/\.ya?ml$/.test(file))
    throw planInvalid(`${file} has no known ending`, '.json, .yaml or .yml', file.slice(file.lastIndexOf('/') + 1));
  return parse(text, file);
}

async function isFolder(name: string): Promise<boolean> {
  return (await fs.stat(name).catch(() => undefined))?.isDirectory() === true;
}

function requireJson(text: string, file: string): void {
  try {
    parseJson(text);
  } catch (cause) {
    if (cause instanceof DuplicateKeyError) return; // the YAML parser knows its place
    const message = cause instanceof Error ? cause.message : String(cause);
    const position = /at position (\d+)/.exec(message)?.[1];
    const end = position === undefined ? text.length : Number(position);
    throw planInvalid(
      `${file} is not JSON, line ${text.slice(0, end).split('\n').length}`,
      `a JSON document of at most ${maxDepth} levels`,
      message,
    );
  }
}

/** JSON is parsed by the YAML parser too, which knows duplicates and lines; JSON.parse has seen to the syntax. */
function parse(text: string, file: string): PlanText {
  const counter = new LineCounter();
  const document = documentOf(text, file, counter);
  const problem = document.errors[0] ?? document.warnings[0];
  if (problem) {
    const { line } = counter.linePos(problem.pos[0]);
    throw planInvalid(`${file}, line ${line}`, 'a YAML document', problem.message);
  }
  const lines = new Map<string, number>();
  const builder = new Builder(file, counter, lines);
  return { value: builder.value(document.contents, []), lines };
}

function documentOf(text: string, file: string, lineCounter: LineCounter): ReturnType<typeof parseDocument> {
  try {
    return parseDocument(text, { lineCounter, uniqueKeys: false, schema: 'core', merge: false, prettyErrors: false });
  } catch (cause) {
    // the parser goes down by calls
    if (cause instanceof RangeError) throw planInvalid(`${file} is nested too deeply`, `at most ${maxDepth} levels`, 'far more');
    throw cause;
  }
}

class Builder {
  constructor(
    private readonly file: string,
    private readonly counter: LineCounter,
    private readonly lines: Map<string, number>,
  ) {}

  value(node: unknown, keys: PropertyKey[]): unknown {
    if (isNode(node) && node.range) this.mark(keys, node.range[0]);
    if (keys.length > maxDepth) throw planInvalid(this.where(keys), `at most ${maxDepth} levels`, 'more');
    if (isSeq(node)) return node.items.map((item, index) => this.value(item, [...keys, index]));
    if (isMap(node)) return this.map(node.items, keys);
    if (isAlias(node)) throw planInvalid(this.where(keys), 'the value itself', `a reference *${node.source}`, 'Write the value out.');
    return isScalar(node) ? node.value : null;
  }

  private map(items: { key: unknown; value: unknown }[], keys: PropertyKey[]): object {
    const seen = new Set<string>();
    const entries = items.map(({ key, value }): [string, unknown] => {
      const name = isScalar(key) ? key.value : undefined;
      if (typeof name !== 'string') throw planInvalid(this.where(keys), 'text as keys', 'something else');
      const place = [...keys, name];
      if (isScalar(key) && key.range) this.mark(place, key.range[0]);
      if (name === '__proto__') throw planInvalid(this.where(place), 'a key of a plan', '"__proto__"', 'Remove it.');
      if (seen.has(name)) {
        const line = isScalar(key) && key.range ? ` in line ${this.counter.linePos(key.range[0]).line}` : '';
        throw planInvalid(this.where(place), 'every key once', `"${name}" a second time${line}`);
      }
      seen.add(name);
      return [name, this.value(value, place)];
    });
    return Object.fromEntries(entries);
  }

  /** The key's line, which comes first, wins over its value's. */
  private mark(keys: PropertyKey[], offset: number): void {
    const place = placeOf(keys);
    if (!this.lines.has(place)) this.lines.set(place, this.counter.linePos(offset).line);
  }

  private where(keys: PropertyKey[]): string {
    return whereOf(this.file, keys, this.lines);
  }
}

/** "plan.yaml, line 12, recipe.epochs" */
export function whereOf(file: string, keys: readonly PropertyKey[], lines: Map<string, number>): string {
  let known = keys.length;
  while (known > 0 && !lines.has(placeOf(keys.slice(0, known)))) known -= 1;
  const line = lines.get(placeOf(keys.slice(0, known)));
  return [file, ...(line === undefined ? [] : [`line ${line}`]), ...(keys.length === 0 ? [] : [placeOf(keys)])].join(', ');
}
