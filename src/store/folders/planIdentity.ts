/** When two plans are the same, and what differs when they are not. */
import type { Plan } from '../../types.js';
import { sha256 } from '../disk/files.js';
import { formatJson } from '../disk/json.js';

/** sha256 of the plan's canonical JSON. */
export function planHash(plan: Plan): string {
  return sha256(formatJson(plan));
}

/** One line per field that differs, e.g. "recipe.epochs: 20 -> 24". */
export function planDifference(before: object, after: object): string[] {
  const left = leaves(before);
  const right = leaves(after);
  const places = [...left.keys(), ...[...right.keys()].filter((place) => !left.has(place))];
  return places
    .filter((place) => left.get(place) !== right.get(place))
    .map((place) => `${place}: ${left.get(place) ?? 'absent'} -> ${right.get(place) ?? 'absent'}`);
}

/** The differences for people, a line each, or undefined; `where` is what is called "there" in "there -> given". */
export function differenceText(before: object, after: object, where: string): string | undefined {
  const lines = planDifference(before, after);
  if (lines.length === 0) return undefined;
  const shown = lines.slice(0, 20).map((line) => `\n  ${line}`);
  const more = lines.length > 20 ? `\n  and ${lines.length - 20} more` : '';
  return `${lines.length} difference${lines.length === 1 ? '' : 's'} (${where} -> given):${shown.join('')}${more}\n`;
}

function leaves(value: unknown, place = '', found = new Map<string, string>()): Map<string, string> {
  if (typeof value !== 'object' || value === null) return found.set(place, JSON.stringify(value));
  const entries = Array.isArray(value) ? value.map((item: unknown, index) => [`[${index}]`, item] as const) : namedEntries(value, place);
  if (entries.length === 0) found.set(place, Array.isArray(value) ? '[]' : '{}');
  for (const [key, item] of entries) leaves(item, place + key, found);
  return found;
}

function namedEntries(value: object, place: string): (readonly [string, unknown])[] {
  return Object.entries(value)
    .filter(([, item]) => item !== undefined)
    .map(([key, item]: [string, unknown]) => [place === '' ? key : `.${key}`, item] as const);
}
