/**
 * JSON with one spelling: keys sorted, arrays of plain values on one line, a newline at the end. Equal values give equal bytes.
 * JSON has no words for non-finite numbers; they are written as the strings "NaN", "Infinity", "-Infinity" and read back as numbers.
 */
import { damaged, sha256 } from './files.js';

const nonFinite = new Map([NaN, Infinity, -Infinity].map((value) => [String(value), value]));

function print(value: unknown, indent: string): string {
  if (typeof value === 'number') return Number.isFinite(value) ? JSON.stringify(value) : `"${value}"`;
  if (ArrayBuffer.isView(value)) return print(Array.from(value as unknown as ArrayLike<number>), indent);
  const inner = `${indent}  `;
  if (Array.isArray(value)) {
    const items = value.map((item) => print(item === undefined ? null : item, inner));
    const flat = value.every((item) => typeof item !== 'object' || item === null);
    return flat ? `[${items.join(', ')}]` : `[\n${inner}${items.join(`,\n${inner}`)}\n${indent}]`;
  }
  if (typeof value !== 'object' || value === null) return JSON.stringify(value);
  const entries = Object.entries(value).filter(([, item]) => item !== undefined);
  if (entries.length === 0) return '{}';
  entries.sort(([a], [b]) => (a < b ? -1 : 1));
  return `{\n${entries.map(([key, item]) => `${inner}${JSON.stringify(key)}: ${print(item, inner)}`).join(',\n')}\n${indent}}`;
}

/** The text of a value; undefined fields are left out, typed arrays become arrays. */
export function formatJson(value: unknown): string {
  return `${print(value, '')}\n`;
}

/** The bytes of a JSON artefact. */
export function encodeJson(value: unknown): Uint8Array {
  return new TextEncoder().encode(formatJson(value));
}

/** No document of ours is deeper; what walks through one may go down by calls. */
const maxDepth = 64;

/**
 * A JSON document whose depth is bounded before it is parsed.
 * @throws SyntaxError
 */
export function parseJson(text: string, reviver?: (key: string, value: unknown) => unknown): unknown {
  let depth = 0;
  let inText = false;
  for (let at = 0; at < text.length; at++) {
    const sign = text[at];
    if (inText) {
      if (sign === '\\') at += 1;
      else if (sign === '"') inText = false;
    } else if (sign === '"') inText = true;
    else if (sign === '[' || sign === '{') depth += 1;
    else if (sign === ']' || sign === '}') depth -= 1;
    if (depth > maxDepth) throw new SyntaxError(`more than ${maxDepth} levels`);
  }
  return JSON.parse(text, reviver);
}

/**
 * Reads what encodeJson wrote.
 * @throws LETHE_JSON_DAMAGED (exit code 3); `what` names the file in the message
 */
export function decodeJson(bytes: Uint8Array, what: string): unknown {
  try {
    const text = new TextDecoder('utf-8', { fatal: true }).decode(bytes);
    return parseJson(text, (_key, value: unknown) => (typeof value === 'string' ? (nonFinite.get(value) ?? value) : value));
  } catch (cause) {
    throw damaged('LETHE_JSON_DAMAGED', `${what} is not JSON`, 'a JSON document', cause instanceof Error ? cause.message : String(cause));
  }
}

/** A record that carries its own checksum, so that any changed byte shows. */
export function encodeSealed(record: object): Uint8Array {
  return encodeJson({ ...record, check: sha256(formatJson(record)) });
}

/** The record inside; undefined when a single byte differs from what encodeSealed wrote. */
export function decodeSealed(bytes: Uint8Array): object | undefined {
  let parsed: unknown;
  try {
    parsed = decodeJson(bytes, 'record');
  } catch {
    return undefined;
  }
  if (typeof parsed !== 'object' || parsed === null) return undefined;
  const record = Object.fromEntries(Object.entries(parsed).filter(([key]) => key !== 'check'));
  return Buffer.compare(bytes, encodeSealed(record)) === 0 ? record : undefined;
}
