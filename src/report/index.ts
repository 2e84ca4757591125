/** The last stage: from ReportData to files. */
import type { ReportData } from '../types.js';
import { csv } from './csv.js';
import { drawFigures, type ReportFile } from './draw.js';
import { attributorKlom } from './figures/attributorKlom.js';
import { computeKlom } from './figures/computeKlom.js';
import { klomPercentiles } from './figures/klomPercentiles.js';
import { ldsCurve } from './figures/lds.js';
import { marginHistograms } from './figures/marginHistograms.js';
import { rescaling } from './figures/rescaling.js';
import { renderPage } from './html.js';
import type { PageFile } from './page.js';
import { reportPage } from './reportPage.js';
import { accuracyCsv, klomCsv } from './tables.js';

export { reportPage };
export { renderKlomTable } from './text.js';

/**
 * The page `index.html`, each figure as SVG, vega-lite specification and CSV under `figures/`, the tables as CSV under `tables/`.
 * Equal data give equal bytes: nothing of the time, the machine or the process goes in.
 */
export async function buildReport(data: ReportData): Promise<{ files: ReportFile[] }> {
  const figures = [computeKlom, klomPercentiles, marginHistograms, ldsCurve, attributorKlom, rescaling].flatMap((make) => make(data) ?? []);
  const { files, drawn } = await drawFigures(figures);
  const tables: (PageFile & ReportFile)[] = [
    { label: 'KLOM of every setting (CSV)', path: 'tables/klom.csv', content: klomCsv(data) },
    { label: 'accuracy of every setting (CSV)', path: 'tables/accuracy.csv', content: accuracyCsv(data) },
    { label: 'run facts (CSV)', path: 'tables/facts.csv', content: factsCsv(data) },
  ];
  for (const { path, content } of tables) files.push({ path, content });
  files.unshift({ path: reportPage, content: renderPage(data, drawn, tables) });
  return { files };
}

function factsCsv(data: ReportData): string {
  return csv(
    ['name', 'value'],
    data.facts.map(({ name, value }) => [name, value]),
  );
}
