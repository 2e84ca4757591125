/** The page of the linear study: claims and theory first, then the figures, then every chosen step size. */
import type { RidgeStudy } from '../types.js';
import { type CsvCell, csv } from './csv.js';
import { drawFigures, type ReportFile } from './draw.js';
import { ridgeDistance } from './figures/ridgeDistance.js';
import { ridgeSpan } from './figures/ridgeSpan.js';
import { ridgeLabel } from './ridgeStyle.js';
import { figureHtml, fileList, type DrawnFigure, type PageFile, pageHtml, section, tableHtml } from './page.js';
import { escapeMarkup as escape } from './render.js';
import type { Table } from './tables.js';
import { renderText } from './text.js';

const left = (label: string) => ({ label, align: 'left' as const });
const right = (label: string) => ({ label, align: 'right' as const });
const distance = (value: number): string => (Number.isFinite(value) ? value.toExponential(1) : 'diverged');
const answer = (holds: boolean): string => (holds ? 'yes' : 'NO');

/** `index.html`, figures as SVG, vega-lite and CSV under `figures/`, tables as CSV under `tables/`. Equal studies give equal bytes. */
export async function buildRidgeReport(studies: readonly RidgeStudy[]): Promise<{ files: ReportFile[] }> {
  const { files, drawn } = await drawFigures(studies.flatMap((study) => [ridgeDistance(study), ridgeSpan(study)]));
  const tables: (PageFile & ReportFile)[] = [
    { label: 'claims and checks (CSV)', path: 'tables/claims.csv', content: claimsCsv(studies) },
    { label: 'every step size (CSV)', path: 'tables/steps.csv', content: stepsCsv(studies) },
  ];
  for (const { path, content } of tables) files.push({ path, content });
  files.unshift({ path: 'index.html', content: renderPage(studies, drawn, tables) });
  return { files };
}

function renderPage(studies: readonly RidgeStudy[], drawn: readonly DrawnFigure[], tables: readonly PageFile[]): string {
  // two figures a study, in the order of the studies
  const content = studies.map((study, index) => studyHtml(study, drawn.slice(2 * index, 2 * index + 2))).join('');
  return pageHtml({
    title: 'linear study: unlearning ridge regression',
    heading: 'Unlearning ridge regression',
    about: 'The linear study: Section 5 and Appendix E of the paper, in double precision. GD: gradient descent; OM: oracle matching.',
    content: content + section('Files', fileList(tables, 'Tables')),
  });
}

function studyHtml(study: RidgeStudy, drawn: readonly DrawnFigure[]): string {
  const { example, lambdas } = study.settings;
  return (
    section(
      `Example ${example}: what the paper says, and what was found`,
      tableHtml(claimsTable(study)) + tableHtml(geometryTable(study)),
    ) +
    section(`Example ${example}: figures`, drawn.map(figureHtml).join('')) +
    section(`Example ${example}: the theorems`, tableHtml(checksTable(study))) +
    section(`Example ${example}: chosen step sizes (lambda ${lambdas.join(' and ')})`, tableHtml(entriesTable(study)) + choicesHtml(study))
  );
}

function choicesHtml({ choices }: RidgeStudy): string {
  return `<h3>What was chosen</h3>\n<ul>\n${choices.map((choice) => `<li>${escape(choice)}</li>\n`).join('')}</ul>\n`;
}

function claimsTable({ claims }: RidgeStudy): Table {
  return {
    title: 'Claims',
    columns: [left('claim'), right('holds'), left('numbers')],
    rows: claims.map(({ statement, holds, numbers }) => [{ text: statement }, { text: answer(holds) }, { text: numbers }]),
    notes: ['Iterations and distances are medians over the repetitions.'],
  };
}

function checksTable({ checks }: RidgeStudy): Table {
  return {
    title: 'Theorems 1 and 2',
    columns: [left('statement'), right('holds'), right('value'), right('tolerance'), left('numbers')],
    rows: checks.map(({ statement, holds, value, relation, tolerance, numbers }) => [
      { text: statement },
      { text: answer(holds) },
      { text: value === Math.trunc(value) ? String(value) : value.toPrecision(3) },
      { text: `${relation} ${tolerance}` },
      { text: numbers },
    ]),
    notes: ['E[R] is the mean over the repetitions. gamma: eigenvalues of X^T X on the span of the points; eta: step size.'],
  };
}

function geometryTable({ geometry }: RidgeStudy): Table {
  const share = ({ p10, p50, p90 }: { p10: number; p50: number; p90: number }): string =>
    `${(100 * p50).toPrecision(3)} % (${(100 * p10).toPrecision(3)} to ${(100 * p90).toPrecision(3)})`;
  return {
    title: 'Geometry of the data',
    columns: [left('lambda'), right('forget mass in the retain span'), right('update mass in it'), right('gamma_min'), right('gamma_max')],
    rows: geometry.map(({ lambda, forgetMassInSpan, updateMassInSpan, eigenvalueMin, eigenvalueMax }) => [
      { text: String(lambda) },
      { text: share(forgetMassInSpan) },
      { text: share(updateMassInSpan) },
      { text: eigenvalueMin.p50.toPrecision(3) },
      { text: eigenvalueMax.p50.toPrecision(3) },
    ]),
    notes: ['Median (10th to 90th percentile) over the repetitions. Update: theta_* - theta_full; mass: squared norm.'],
  };
}

function entriesTable({ entries }: RidgeStudy): Table {
  return {
    title: 'Best step size of each method and setting',
    columns: [
      left('batch'),
      right('lambda'),
      left('method'),
      right('step'),
      right('lowest R'),
      right('final R'),
      right('10 to 90 %'),
      right('R <= 1e-6 after'),
      right('diverged'),
    ],
    rows: entries.map((entry) => [
      { text: entry.batch },
      { text: String(entry.lambda) },
      { text: ridgeLabel(entry) },
      { text: `10/2^${entry.stepHalvings}` },
      { text: distance(entry.lowestDistance.p50) },
      { text: distance(entry.finalDistance.p50) },
      { text: `${distance(entry.finalDistance.p10)} to ${distance(entry.finalDistance.p90)}` },
      { text: Number.isFinite(entry.iterationsToTolerance.p50) ? entry.iterationsToTolerance.p50.toFixed(0) : 'never' },
      { text: String(entry.numDiverged) },
    ]),
    notes: ['Medians over the repetitions.'],
  };
}

/** The claims and checks of all studies as text for a terminal. */
export function renderRidgeClaims(studies: readonly RidgeStudy[]): string {
  const tables = studies.map(({ settings, claims, checks }) => ({
    title: `Example ${settings.example}: d ${settings.dimension}, n ${settings.numTrain}, ${settings.numForget} forget points, ${settings.seeds} repetitions`,
    columns: [left('holds'), left('claim')],
    rows: [...claims, ...checks].flatMap(({ statement, holds, numbers }) => [
      ...lines(statement).map((text, line) => [{ text: line === 0 ? answer(holds) : '' }, { text }]),
      ...lines(numbers).map((text) => [{ text: '' }, { text: `  ${text}` }]),
    ]),
    notes: [],
  }));
  return tables.map(renderText).join('\n');
}

const lineLength = 100;

/** Words filled into lines of at most `lineLength` characters. */
function lines(text: string): string[] {
  const filled: string[] = [];
  for (const word of text.split(' ')) {
    const last = filled.at(-1);
    if (last === undefined || last.length + 1 + word.length > lineLength) filled.push(word);
    else filled[filled.length - 1] = `${last} ${word}`;
  }
  return filled;
}

function claimsCsv(studies: readonly RidgeStudy[]): string {
  const rows = studies.flatMap(({ settings: { example }, claims, checks }): CsvCell[][] => [
    ...claims.map(({ name, statement, holds, numbers }) => [example, name, statement, holds, '', '', '', numbers]),
    ...checks.map(({ name, statement, holds, value, relation, tolerance, numbers }) => [
      example,
      name,
      statement,
      holds,
      value,
      relation,
      tolerance,
      numbers,
    ]),
  ]);
  return csv(['example', 'name', 'statement', 'holds', 'value', 'relation', 'tolerance', 'numbers'], rows);
}

function stepsCsv(studies: readonly RidgeStudy[]): string {
  const header = ['example', 'batch', 'lambda', 'method', 'ascentWeight', 'step', 'best', 'lowestDistance', 'finalDistance', 'numDiverged'];
  const rows = studies.flatMap(({ settings: { example }, entries }) =>
    entries.flatMap(({ batch, lambda, method, ascentWeight, stepHalvings, steps }) =>
      steps.map(({ step, lowestDistance, finalDistance, numDiverged }, k): CsvCell[] => [
        example,
        batch,
        lambda,
        method,
        ascentWeight ?? '',
        step,
        k === stepHalvings,
        lowestDistance,
        finalDistance,
        numDiverged,
      ]),
    ),
  );
  return csv(header, rows);
}
