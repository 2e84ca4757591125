/** Figures as files, and as what a page shows of them. */
import type { Figure } from './figure.js';
import type { DrawnFigure, PageFile } from './page.js';
import { renderSvg } from './render.js';

export interface ReportFile {
  /** Relative to the report folder, with forward slashes. */
  path: string;
  content: string;
}

/** Each figure as SVG, vega-lite specification and CSV under `figures/`. */
export async function drawFigures(figures: readonly Figure[]): Promise<{ files: ReportFile[]; drawn: DrawnFigure[] }> {
  const files: ReportFile[] = [];
  const drawn: DrawnFigure[] = [];
  for (const figure of figures) {
    const svg = await renderSvg(figure);
    const own = figureFiles(figure, svg);
    for (const { path, content } of own) files.push({ path, content });
    drawn.push({ figure, svg, files: own.map(({ label, path }) => ({ label, path })) });
  }
  return { files, drawn };
}

function figureFiles({ name, spec, csv: content }: Figure, svg: string): (PageFile & ReportFile)[] {
  return [
    { label: 'SVG', path: `figures/${name}.svg`, content: svg },
    { label: 'vega-lite', path: `figures/${name}.vl.json`, content: JSON.stringify(spec, null, 1) + '\n' },
    { label: 'CSV', path: `figures/${name}.csv`, content },
  ];
}
