/** JSON.parse, for texts from strangers: what it would hide or choke on is refused. */

/** No document of ours is deeper; what walks through one may go down by calls. */
const maxDepth = 64;

export class DuplicateKeyError extends SyntaxError {}

const structure = new Map(['"', '[', ']', '{', '}'].map((character) => [character.charCodeAt(0), character]));
const backslash = '\\'.charCodeAt(0);

/**
 * Also refuses an object with two entries of one name, of which JSON.parse gives the last, so that two readers would see two documents.
 * `reviver`: as of JSON.parse.
 * @throws SyntaxError, DuplicateKeyError
 */
export function parseJson(text: string, reviver?: (key: string, value: unknown) => unknown): unknown {
  // keys of the objects that are open; undefined stands for a list
  const open: (Set<string> | undefined)[] = [];
  for (let at = 0; at < text.length; at++) {
    const character = structure.get(text.charCodeAt(at));
    if (character === undefined) continue;
    if (character === '"') {
      const end = endOfString(text, at);
      const keys = open.at(-1);
      if (keys && isKey(text, end)) requireNew(keys, text.slice(at, end));
      at = end - 1;
    } else if (character === ']' || character === '}') open.pop();
    else if (open.push(character === '{' ? new Set() : undefined) > maxDepth) throw new SyntaxError(`more than ${maxDepth} levels`);
  }
  return JSON.parse(text, reviver);
}

/** Whether a colon follows the string that ends there. */
function isKey(text: string, end: number): boolean {
  let at = end;
  while (at < text.length && ' \t\r\n'.includes(text[at]!)) at++;
  return text[at] === ':';
}

function endOfString(text: string, start: number): number {
  for (let at = start + 1; at < text.length; at++) {
    const character = text.charCodeAt(at);
    if (character === backslash) at++;
    else if (structure.get(character) === '"') return at + 1;
  }
  return text.length;
}

function requireNew(keys: Set<string>, quoted: string): void {
  // one name has many spellings: "a" is "\u0061"
  const key = JSON.parse(quoted) as string;
  if (keys.has(key)) throw new DuplicateKeyError(`duplicate key ${JSON.stringify(key.slice(0, 80))}: it stands twice in one object`);
  keys.add(key);
}
