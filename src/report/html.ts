/** The page of a run. */
import type { ReportData } from '../types.js';
import { type DrawnFigure, figureHtml, fileList, type PageFile, pageHtml, section, tableHtml } from './page.js';
import { escapeMarkup as escape } from './render.js';
import { summarise } from './summary.js';
import { accuracyTable, klomTable } from './tables.js';

export function renderPage(data: ReportData, figures: readonly DrawnFigure[], tableFiles: readonly PageFile[]): string {
  const named = new Map(figures.map((drawn) => [drawn.figure.name, drawn]));
  const figure = (name: string): string => {
    const drawn = named.get(name);
    return drawn === undefined ? '' : figureHtml(drawn);
  };
  const title = `${data.runName}: unlearning report`;
  const sections = [
    section('Summary', summaryHtml(data)),
    section(
      'Unlearning quality (KLOM)',
      data.forgetSets.map((set) => tableHtml(klomTable(data, set))).join('') + figure('compute-klom') + figure('klom-percentiles'),
    ),
    section('Margins of single points', figure('margin-histograms')),
    section('Accuracy', data.forgetSets.map((set) => tableHtml(accuracyTable(data, set))).join('')),
    section('Datamodels', figure('lds')),
    section('About this run', factsHtml(data) + fileList(tableFiles, 'Tables and data')),
  ];
  return pageHtml({
    title,
    heading: data.runName,
    about: `Machine unlearning report. ${data.dataDescription}`,
    content: sections.join(''),
  });
}

function summaryHtml(data: ReportData): string {
  if (data.forgetSets.length === 0) return '<p>This run has no forget sets.</p>\n';
  return summarise(data)
    .map(
      ({ forgetSet, sentences }) =>
        `<h3>${escape(forgetSet)}</h3>\n<ul>\n${sentences.map((sentence) => `<li>${escape(sentence)}</li>\n`).join('')}</ul>\n`,
    )
    .join('');
}

function factsHtml(data: ReportData): string {
  const rows = data.facts.map(({ name, value }) => `<tr><th scope="row">${escape(name)}</th><td class="left">${escape(value)}</td></tr>\n`);
  return rows.length === 0 ? '' : `<div class="scroll"><table>\n<tbody>\n${rows.join('')}</tbody>\n</table></div>\n`;
}
