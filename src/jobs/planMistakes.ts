/** Turns what the schema found into messages that name the place, what was expected, what was there, and a proposal. */
import type { z } from 'zod';
import { didYouMean, type LetheError } from '../errors.js';
import { planInvalid, whereOf, type PlanText } from './planText.js';

export interface Mistake {
  keys: PropertyKey[];
  expected: string;
  received: string;
  action?: string;
}

type Issue = z.core.$ZodIssue;
const maxShown = 10;

function valueAt(value: unknown, keys: readonly PropertyKey[]): unknown {
  return keys.reduce<unknown>((inner, key) => (typeof inner === 'object' && inner !== null ? Reflect.get(inner, key) : undefined), value);
}

function show(value: unknown): string {
  if (value === undefined) return 'nothing';
  if (typeof value === 'number') return String(value);
  const text = JSON.stringify(value);
  return text.length > 80 ? `${text.slice(0, 77)}...` : text;
}

function names(values: readonly unknown[]): string[] {
  return values.map(String);
}

function choice(keys: PropertyKey[], known: string[], given: unknown): Mistake {
  const action = typeof given === 'string' ? { action: didYouMean(given, known) } : {};
  return { keys, expected: known.length === 1 ? known[0]! : `one of ${known.join(', ')}`, received: show(given), ...action };
}

/** One issue of the schema as mistakes (an unknown-keys issue holds several). */
export function mistakesOf(issue: Issue, value: unknown): Mistake[] {
  const keys = [...issue.path];
  const given = valueAt(value, keys);
  switch (issue.code) {
    case 'unrecognized_keys': {
      // the schema's message is the list of the known keys
      const known = issue.message.split(' ');
      return issue.keys.map((key) => ({
        keys: [...keys, key],
        expected: 'a known key',
        received: show(key),
        action: didYouMean(key, known),
      }));
    }
    case 'invalid_value':
      return [choice(keys, names(issue.values), given)];
    case 'invalid_union':
      return unionMistakes(issue, keys, value);
    case 'invalid_key':
      return [{ keys, expected: issue.issues[0]?.message ?? issue.message, received: show(keys.at(-1)) }];
    case 'invalid_type':
      return [
        { keys, expected: { object: 'an object', array: 'a list' }[String(issue.expected)] ?? issue.expected, received: show(given) },
      ];
    default:
      return [{ keys, expected: issue.message, received: show(given) }];
  }
}

function unionMistakes(issue: Extract<Issue, { code: 'invalid_union' }>, keys: PropertyKey[], value: unknown): Mistake[] {
  if ('options' in issue && Array.isArray(issue.options)) return [choice(keys, names(issue.options), valueAt(value, keys))];
  // the branch that got furthest says most
  const depth = (issues: Issue[]): number => issues.reduce((deepest, { path }) => Math.max(deepest, path.length), 0);
  const [best] = [...issue.errors].sort((a, b) => depth(b) - depth(a));
  if (!best || depth(best) === 0) return [{ keys, expected: issue.message, received: show(valueAt(value, keys)) }];
  return best.flatMap((inner) => mistakesOf({ ...inner, path: [...keys, ...inner.path] }, value));
}

/** One error for all mistakes: the first in full, then the others, a line each. */
export function planError(file: string, text: PlanText, mistakes: Mistake[]): LetheError {
  const [first, ...others] = mistakes;
  const lines = others.slice(0, maxShown).map(({ keys, expected, received, action }) => {
    return `\n  ${whereOf(file, keys, text.lines)}; expected ${expected}; received ${received}.${action === undefined ? '' : ` ${action}`}`;
  });
  const more = others.length > maxShown ? `\n  and ${others.length - maxShown} more` : '';
  const action = [first?.action ?? '', others.length > 0 ? `Also:${lines.join('')}${more}` : ''].filter((part) => part !== '').join(' ');
  return planInvalid(whereOf(file, first!.keys, text.lines), first!.expected, first!.received, action === '' ? undefined : action);
}
