/** `lethe report`: figures, tables and the page of a run. */
import path from 'node:path';
import { buildReport, renderKlomTable, reportPage } from '../report/index.js';
import { layout } from '../store/layout.js';
import { openRun } from '../store/run.js';
import type { ReportData } from '../types.js';
import { action, type Command, emitJson, oldDataHelp, say, shownPath } from './common.js';

/** Gathers the scores of a run folder; `data` is the folder of its data set, for runs of earlier versions. */
export type CollectReport = (run: string, data?: string) => Promise<ReportData>;

interface ReportOptions {
  data?: string;
  json?: boolean;
}

/** `collect` gathers the scores of a run folder; it is given, because it sees all stages. */
export function registerReport(program: Command, collect: CollectReport): void {
  program
    .command('report')
    .description('write the report of a run: one HTML page, its figures as SVG, vega-lite and CSV, its tables as CSV')
    .argument('<run>', 'run folder')
    .option('--data <dir>', oldDataHelp)
    .option('--json', 'print one JSON document with all scores')
    .action(action((run: string, options: ReportOptions) => report(run, options, collect)));
}

async function report(root: string, options: ReportOptions, collect: CollectReport): Promise<void> {
  const data = await collect(root, options.data);
  const files = await writeReport(root, data);
  if (options.json) emitJson('report', { folder: path.resolve(root), files, data });
  else process.stdout.write(renderKlomTable(data));
  say(`report: ${shownPath(path.join(root, layout.report(reportPage)))}`);
}

/**
 * Publishes the report of a run in its folder and returns the paths, relative to it, the page first.
 * @throws LETHE_RUN_MISSING (exit code 2), LETHE_DISK_FULL, LETHE_FILE_UNWRITABLE (exit code 4)
 */
export async function writeReport(root: string, data: ReportData): Promise<string[]> {
  const run = await openRun(root);
  const { files } = await buildReport(data);
  const artefacts = files.map((file) => ({ path: layout.report(file.path), content: Buffer.from(file.content) }));
  // the page last: where it is, what it links to is there too
  await run.publish([...artefacts.slice(1), artefacts[0]!]);
  return artefacts.map((artefact) => artefact.path);
}
