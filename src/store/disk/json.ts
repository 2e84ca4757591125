/**
 * JSON with one spelling: keys sorted, arrays of plain values on one line, a newline at the end. Equal values give equal bytes.
 * JSON has no words for non-finite numbers; they are written as the strings "NaN", "Infinity", "-Infinity" and read back as numbers.
 */
import { damaged, readWhole, sha256 } from './files.js';
import { parseJson } from './jsonText.js';

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

/** Documents of ours hold facts of a run or a fit, no data. */
const maxBytes = 2 ** 26;

/** The bytes of a small JSON file; undefined when there is none. @throws LETHE_FILE_TOO_LARGE, LETHE_FILE_UNREADABLE (exit code 4) */
export function readJsonBytes(path: string): Promise<Uint8Array | undefined> {
  return readWhole(path, maxBytes);
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
