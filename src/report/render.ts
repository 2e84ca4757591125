/** Draws figures as SVG in this process: vega-lite, then vega, no canvas and no browser. */
import type { TopLevelSpec } from 'vega-lite';
import type { Figure } from './figure.js';
import { textWidth } from './textWidth.js';

/** The part of vega's text metrics that is meant to be replaced; its typings leave it out. */
interface TextItem {
  fontSize?: number;
  fontWeight?: string | number;
  limit?: number;
}
interface TextMetrics {
  textMetrics: { width: (item: TextItem, text: string) => number };
}

/** SVG text of a figure; equal figures give equal bytes. Loading vega takes about half a second, so it is loaded here and not before. */
export async function renderSvg(figure: Figure): Promise<string> {
  const vega = await import('vega');
  const vegaLite = await import('vega-lite');
  (vega as unknown as TextMetrics).textMetrics.width = measure;
  const view = new vega.View(vega.parse(vegaLite.compile(figure.spec satisfies TopLevelSpec).spec), { renderer: 'none' });
  try {
    return finish(await view.toSVG(), figure);
  } finally {
    view.finalize();
  }
}

/** Vega draws what is wider than its limit with an ellipsis, but asks here how much room to keep. */
function measure(item: TextItem, text: string): number {
  const bold = item.fontWeight === 'bold' || Number(item.fontWeight) >= 600;
  const width = textWidth(text, item.fontSize ?? 11, bold);
  return item.limit !== undefined && item.limit > 0 ? Math.min(width, item.limit) : width;
}

/** Ids made unique to the figure, for several pictures in one page; vega counts them over the life of the process. */
function finish(svg: string, figure: Figure): string {
  const names = new Map<string, string>();
  const rename = (id: string): string => {
    const name = names.get(id) ?? `${figure.name}-${names.size}`;
    names.set(id, name);
    return name;
  };
  const scoped = svg
    .replace(/(<(?:clipPath|linearGradient|radialGradient) (?:[^>]* )?id=")([^"]*)/g, (_, start: string, id: string) => start + rename(id))
    .replace(/(="url\(#)([^)"]*)/g, (_, start: string, id: string) => start + rename(id));
  return onlyXmlCharacters(scoped).replace(/^<svg [^>]*>/, (open) => `${open}<title>${escapeMarkup(figure.title)}</title>`) + '\n';
}

/** Text as it may stand in an element or a quoted attribute, of HTML and of XML. */
export function escapeMarkup(text: string): string {
  return onlyXmlCharacters(text.replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`));
}

function onlyXmlCharacters(text: string): string {
  return text.replace(/[^\t\n\r\u0020-\uD7FF\uE000-\uFFFD\u{10000}-\u{10FFFF}]/gu, '\uFFFD');
}
