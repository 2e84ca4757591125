/** The page of a run. */
import type { ReportData } from '../types.js';
import { ldsTable } from './ldsTable.js';
import { hasManySets } from './manySets.js';
import { sharedNotes } from './notes.js';
import { detailsHtml, type DrawnFigure, figureHtml, fileList, notesHtml, type PageFile, pageHtml, section, tableHtml } from './page.js';
import { escapeMarkup as escape } from './render.js';
import { summarise, summariseAll } from './summary.js';
import { unbiasedTable } from './unbiasedTable.js';
import { accuracyNote, accuracyTable, allSetsAccuracy, allSetsTable, bestMeans, klomTable, setsTable, type Table } from './tables.js';

export function renderPage(data: ReportData, figures: readonly DrawnFigure[], tableFiles: readonly PageFile[]): string {
  const named = new Map(figures.map((drawn) => [drawn.figure.name, drawn]));
  const figure = (name: string): string => {
    const drawn = named.get(name);
    return drawn === undefined ? '' : figureHtml(drawn);
  };
  const title = `${data.runName}: unlearning report`;
  const sections = [
    section('Summary', summaryHtml(data)),
    section('Unlearning quality (KLOM)', klomHtml(data) + figure('compute-klom') + figure('klom-percentiles')),
    section('Margins of single points', figure('margin-histograms')),
    section('Accuracy', accuracyHtml(data)),
    section('Datamodels', figure('lds') + orEmpty(ldsTable(data)) + figure('attributor-klom') + figure('rescaling')),
    section('About this run', factsHtml(data) + fileList(tableFiles, 'Tables and data')),
  ];
  return pageHtml({
    title,
    heading: data.runName,
    about: `Machine unlearning report. ${data.dataDescription}`,
    content: sections.join(''),
  });
}

const list = (sentences: readonly string[]): string => `<ul>\n${sentences.map((text) => `<li>${escape(text)}</li>\n`).join('')}</ul>\n`;

/** What there is for each forget set: open where there are few. */
function eachSet(data: ReportData, what: string, content: string): string {
  return hasManySets(data) ? detailsHtml(`${what} of each of the ${data.forgetSets.length} forget sets`, content) : content;
}

const orEmpty = (table: Table | undefined): string => (table === undefined ? '' : tableHtml(table));

function summaryHtml(data: ReportData): string {
  if (data.forgetSets.length === 0) return '<p>This run has no forget sets.</p>\n';
  const sets = summarise(data).map(({ forgetSet, sentences }) => `<h3>${escape(forgetSet)}</h3>\n${list(sentences)}`);
  return (hasManySets(data) ? list(summariseAll(data)) : '') + eachSet(data, 'Summary', sets.join(''));
}

function klomHtml(data: ReportData): string {
  if (data.forgetSets.length === 0) return '';
  const tables = data.forgetSets.map((set) => tableHtml(klomTable(data, set)) + orEmpty(unbiasedTable(data, set))).join('');
  const notes = notesHtml([`Bold: ${bestMeans}`, ...sharedNotes(data)]);
  const all = orEmpty(allSetsTable(data));
  return hasManySets(data) ? all + tableHtml(setsTable(data)) + notes + eachSet(data, 'KLOM', tables) : tables + all + notes;
}

function accuracyHtml(data: ReportData): string {
  if (data.forgetSets.length === 0) return '';
  const tables = data.forgetSets.map((set) => tableHtml(accuracyTable(data, set))).join('');
  const all = orEmpty(allSetsAccuracy(data));
  const notes = notesHtml([accuracyNote]);
  return hasManySets(data) ? all + notes + eachSet(data, 'Accuracy', tables) : tables + all + notes;
}

function factsHtml(data: ReportData): string {
  const rows = data.facts.map(({ name, value }) => `<tr><th scope="row">${escape(name)}</th><td class="left">${escape(value)}</td></tr>\n`);
  return rows.length === 0 ? '' : `<div class="scroll"><table>\n<tbody>\n${rows.join('')}</tbody>\n</table></div>\n`;
}
