/** Parts of self-contained pages: inline pictures and style, nothing fetched, no script. A page is HTML and well-formed XML at once. */
import type { Figure } from './figure.js';
import { listed } from './format.js';
import { escapeMarkup as escape } from './render.js';
import type { Table } from './tables.js';

/** A figure that has been drawn, with the files beside the page (paths relative to it). */
export interface DrawnFigure {
  figure: Figure;
  svg: string;
  files: { label: string; path: string }[];
}

export interface PageFile {
  label: string;
  path: string;
}

const style = `
:root { color-scheme: light; }
body { margin: 0 auto; max-width: 980px; padding: 24px 20px 48px; background: #fff; color: #222;
  font: 15px/1.5 "DejaVu Sans", system-ui, sans-serif; }
h1 { font-size: 26px; line-height: 1.25; margin: 0 0 4px; }
h2 { font-size: 19px; margin: 36px 0 10px; padding-bottom: 4px; border-bottom: 1px solid #ddd; }
h3 { font-size: 15px; margin: 20px 0 6px; }
p, ul { margin: 6px 0; max-width: 84ch; overflow-wrap: anywhere; }
ul { padding-left: 20px; }
li { margin: 4px 0; }
.about { color: #555; }
table { border-collapse: collapse; margin: 8px 0 6px; font-size: 13px; font-variant-numeric: tabular-nums; }
caption { text-align: left; font-weight: bold; font-size: 15px; padding: 10px 0 6px; }
th, td { padding: 3px 9px; text-align: right; vertical-align: top; }
thead th { font-weight: bold; border-bottom: 1px solid #888; }
thead tr.groups th { border-bottom: none; padding-bottom: 0; }
th.left, td.left, tbody th { text-align: left; overflow-wrap: break-word; }
tbody th { font-weight: normal; max-width: 40ch; }
td.left { min-width: 24ch; }
tbody tr + tr th, tbody tr + tr td { border-top: 1px solid #eee; }
table { border-bottom: 1px solid #888; border-top: 1px solid #888; }
.start { border-left: 1px solid #ddd; }
.notes { font-size: 12.5px; color: #444; max-width: 100ch; margin: 3px 0; }
.scroll { overflow-x: auto; }
figure { margin: 14px 0 30px; }
figure svg { max-width: 100%; height: auto; display: block; }
details { margin: 10px 0; }
summary { cursor: pointer; font-size: 13px; color: #0057a3; }
@media screen and (max-width: 700px) { figure svg { max-width: none; width: 700px; } }
figcaption { font-size: 13px; color: #333; max-width: 100ch; margin-top: 6px; }
.files { font-size: 12.5px; }
a { color: #0057a3; }
@media print {
  body { max-width: none; padding: 0; font-size: 10pt; }
  table { font-size: 8pt; }
  th, td { padding: 2px 5px; }
  .scroll { overflow: visible; }
  h2, h3, caption { break-after: avoid; }
  table, figure { break-inside: avoid; }
  .files { display: none; }
}
`;

/** `content` is markup; the other fields are text. */
export function pageHtml({ title, heading, about, content }: { title: string; heading: string; about: string; content: string }): string {
  return `<!DOCTYPE html>
<html lang="en" xmlns="http://www.w3.org/1999/xhtml">
<head>
<meta charset="utf-8" />
<meta name="viewport" content="width=device-width, initial-scale=1" />
<title>${escape(title)}</title>
<style>${style}</style>
</head>
<body>
<h1>${escape(heading)}</h1>
<p class="about">${escape(about)}</p>
${content}</body>
</html>
`;
}

/** A section without content is left out. */
export function section(title: string, content: string): string {
  return content === '' ? '' : `<section>\n<h2>${escape(title)}</h2>\n${content}</section>\n`;
}

export function tableHtml(table: Table): string {
  const { columns, rows } = table;
  // a rule before each group of columns
  const starts = columns.map(({ group }, index) => group !== undefined && columns[index - 1]?.group !== group);
  const classes = (index: number): string => {
    const names = [columns[index]!.align === 'left' ? 'left' : '', starts[index] === true ? 'start' : ''].filter(Boolean);
    return names.length === 0 ? '' : ` class="${names.join(' ')}"`;
  };
  const head = columns.map((column, index) => `<th scope="col"${classes(index)}>${escape(column.label)}</th>`).join('');
  const body = rows.map((row) => {
    const cells = row.map(({ text, best }, index) => {
      if (index === 0) return `<th scope="row">${escape(text)}</th>`;
      return `<td${classes(index)}>${best === true ? `<strong>${escape(text)}</strong>` : escape(text)}</td>`;
    });
    return `<tr>${cells.join('')}</tr>\n`;
  });
  return (
    `<div class="scroll"><table>\n<caption>${escape(table.title)}</caption>\n<thead>\n${groupRow(columns)}<tr>${head}</tr>\n</thead>\n` +
    `<tbody>\n${body.join('')}</tbody>\n</table></div>\n${notesHtml(table.notes)}`
  );
}

export function notesHtml(notes: readonly string[]): string {
  return notes.map((note) => `<p class="notes">${escape(note)}</p>\n`).join('');
}

/** Shut until it is asked for. */
export function detailsHtml(summary: string, content: string): string {
  return `<details>\n<summary>${escape(summary)}</summary>\n${content}</details>\n`;
}

function groupRow(columns: Table['columns']): string {
  if (columns.every(({ group }) => group === undefined)) return '';
  const cells: string[] = [];
  for (let start = 0; start < columns.length;) {
    const { group } = columns[start]!;
    let end = start + 1;
    while (end < columns.length && columns[end]!.group === group) end += 1;
    cells.push(
      group === undefined
        ? `<td colspan="${end - start}"></td>`
        : `<th scope="colgroup" class="start" style="text-align: center" colspan="${end - start}">${escape(group)}</th>`,
    );
    start = end;
  }
  return `<tr class="groups">${cells.join('')}</tr>\n`;
}

export function figureHtml({ figure, svg, files }: DrawnFigure): string {
  return (
    `<figure>\n<div class="scroll" role="img" aria-label="${escape(figure.title)}">\n${svg}</div>\n` +
    `<figcaption><strong>${escape(figure.title)}.</strong> ${escape(figure.caption)}</figcaption>\n${fileList(files, 'Files')}</figure>\n`
  );
}

export function fileList(files: readonly PageFile[], label: string): string {
  const links = files.map((file) => `<a href="${escape(file.path)}">${escape(file.label)}</a>`);
  return links.length === 0 ? '' : `<p class="files">${label}: ${listed(links)}</p>\n`;
}
