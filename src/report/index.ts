/** The last stage: from ReportData to files. */
import type { ReportData } from '../types.js';
import { csv } from './csv.js';
import type { Figure } from './figure.js';
import { computeKlom } from './figures/computeKlom.js';
import { klomPercentiles } from './figures/klomPercentiles.js';
import { ldsCurve } from './figures/lds.js';
import { marginHistograms } from './figures/marginHistograms.js';
import { renderPage } from './html.js';
import type { DrawnFigure, PageFile } from './html.js';
import { renderSvg } from './render.js';
import { accuracyCsv, klomCsv } from './tables.js';

export { renderKlomTable } from './tables.js';

export interface ReportFile {
  /** Relative to the report folder, with forward slashes. */
  path: string;
  content: string;
}

export const reportPage = 'index.html';

/**
 * The page `index.html`, each figure as SVG, vega-lite specification and CSV under `figures/`, the tables as CSV under `tables/`.
 * Equal data give equal bytes: nothing of the time, the machine or the process goes in.
 */
export async function buildReport(data: ReportData): Promise<{ files: ReportFile[] }> {
  const figures = [computeKlom, klomPercentiles, marginHistograms, ldsCurve].flatMap((make) => make(data) ?? []);
  const files: ReportFile[] = [];
  const drawn: DrawnFigure[] = [];
  for (const figure of figures) {
    const svg = await renderSvg(figure);
    const own = figureFiles(figure, svg);
    files.push(...own.map(({ path, content }) => ({ path, content })));
    drawn.push({ figure, svg, files: own.map(({ label, path }) => ({ label, path })) });
  }
  const tables: (PageFile & ReportFile)[] = [
    { label: 'KLOM of every setting (CSV)', path: 'tables/klom.csv', content: klomCsv(data) },
    { label: 'accuracy of every setting (CSV)', path: 'tables/accuracy.csv', content: accuracyCsv(data) },
    { label: 'run facts (CSV)', path: 'tables/facts.csv', content: factsCsv(data) },
  ];
  files.push(...tables.map(({ path, content }) => ({ path, content })));
  files.unshift({ path: reportPage, content: renderPage(data, drawn, tables) });
  return { files };
}

function figureFiles({ name, spec, csv: content }: Figure, svg: string): (PageFile & ReportFile)[] {
  return [
    { label: 'SVG', path: `figures/${name}.svg`, content: svg },
    { label: 'vega-lite', path: `figures/${name}.vl.json`, content: JSON.stringify(spec, null, 1) + '\n' },
    { label: 'CSV', path: `figures/${name}.csv`, content },
  ];
}

function factsCsv(data: ReportData): string {
  return csv(
    ['name', 'value'],
    data.facts.map(({ name, value }) => [name, value]),
  );
}
