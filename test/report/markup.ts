/** Just enough XML to say whether a page or picture is well-formed, and to look inside. */
export interface Element {
  name: string;
  attributes: Record<string, string>;
  children: Element[];
  /** Text directly inside, entities resolved. */
  text: string;
}

const tag = /<(\/?)([A-Za-z][\w:.-]*)((?:\s+[\w:.-]+="[^"<]*")*)\s*(\/?)>/y;
const text = /[^<]+/y;
const attribute = /([\w:.-]+)="([^"]*)"/g;

/** @throws Error with the place where the text stops being well-formed */
export function parseMarkup(source: string): Element {
  const root: Element = { name: '', attributes: {}, children: [], text: '' };
  const open = [root];
  let at = /^<!DOCTYPE html>\s*/.exec(source)?.[0].length ?? 0;
  const fail = (why: string): never => {
    throw new Error(`${why} at ${at}: ${source.slice(at, at + 80)}`);
  };
  while (at < source.length) {
    const current = open.at(-1)!;
    text.lastIndex = at;
    tag.lastIndex = at;
    const words = text.exec(source);
    const found = words ? null : tag.exec(source);
    if (words) current.text += unescape(words[0], fail);
    else if (!found) fail('not a tag');
    else if (found[1] === '/') {
      if (open.length === 1 || open.pop()!.name !== found[2]) fail('closes another element');
    } else {
      const attributes: Record<string, string> = {};
      for (const [, name, value] of found[3]!.matchAll(attribute)) {
        if (name! in attributes) fail(`${name!} twice`);
        attributes[name!] = unescape(value!, fail);
      }
      const element = { name: found[2]!, attributes, children: [], text: '' };
      current.children.push(element);
      if (found[4] === '') open.push(element);
    }
    at = words ? text.lastIndex : tag.lastIndex;
  }
  if (open.length !== 1) fail(`${open.at(-1)!.name} is not closed`);
  if (root.children.length !== 1 || root.text.trim() !== '') fail('not one root element');
  return root.children[0]!;
}

function unescape(escaped: string, fail: (why: string) => never): string {
  const named: Record<string, string> = { amp: '&', lt: '<', gt: '>', quot: '"', apos: "'" };
  return escaped.replace(/&(#(\d+);|(\w+);)?/g, (_, reference?: string, code?: string, name?: string) => {
    if (code !== undefined) return String.fromCodePoint(Number(code));
    return named[name ?? ''] ?? fail(`entity ${reference ?? '&'}`);
  });
}

/** The element and everything inside it, in document order. */
export function elements(of: Element): Element[] {
  return [of, ...of.children.flatMap(elements)];
}

export function texts(of: Element): string[] {
  return elements(of)
    .filter((element) => element.text.trim() !== '')
    .map((element) => element.text.trim());
}
