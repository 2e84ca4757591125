/** `lethe report`: figures, tables and the page of a run. */
import path from 'node:path';
import { errorCode, ExitCode, LetheError } from '../errors.js';
import { buildReport, renderKlomTable } from '../report/index.js';
import { sha256 } from '../store/disk/files.js';
import { layout } from '../store/folders/layout.js';
import { publishFile } from '../store/disk/publish.js';
import { openRun } from '../store/folders/run.js';
import type { ReportData } from '../types.js';
import { action, type Command, emitJson, oldDataHelp, say, shownPath } from './common.js';

/** Gathers the scores of a run folder; `data` is the folder of its data set, for runs of earlier versions. */
export type CollectReport = (run: string, data?: string) => Promise<ReportData>;

interface ReportOptions {
  data?: string;
  out?: string;
  json?: boolean;
}

/** `collect` gathers the scores of a run folder; it is given, because it sees all stages. */
export function registerReport(program: Command, collect: CollectReport): void {
  program
    .command('report')
    .description('write the report of a run: one HTML page, its figures as SVG, vega-lite and CSV, its tables as CSV')
    .argument('<run>', 'run folder')
    .option('--out <dir>', 'where the report goes (default: report in the run folder)')
    .option('--data <dir>', oldDataHelp)
    .option('--json', 'print one JSON document with all scores')
    .action(action((run: string, options: ReportOptions) => report(run, options, collect)));
}

async function report(root: string, options: ReportOptions, collect: CollectReport): Promise<void> {
  const data = await collect(root, options.data);
  const folder = path.resolve(options.out ?? root);
  const files = options.out === undefined ? await writeReport(root, data) : await writeReportTo(folder, data);
  if (options.json) emitJson('report', { folder, files, data }, data.version);
  else process.stdout.write(renderKlomTable(data));
  say(`report: ${shownPath(path.join(options.out ?? root, files[0]!))}`);
}

/**
 * Publishes the report of a run in its folder and returns the paths, relative to it, the page first. Where the same report is there
 * nothing is written: the folder may be one that one can only read.
 * @throws LETHE_RUN_MISSING (exit code 2), LETHE_DISK_FULL, LETHE_FILE_UNWRITABLE (exit code 4)
 */
export async function writeReport(root: string, data: ReportData): Promise<string[]> {
  const run = await openRun(root);
  const { files } = await buildReport(data);
  const artefacts = files.map((file) => ({ path: layout.report(file.path), content: Buffer.from(file.content) }));
  const isThere = async ({ path: artefact, content }: (typeof artefacts)[number]): Promise<boolean> =>
    (await run.finished(artefact))?.sha256 === sha256(content);
  const same = await Promise.all(artefacts.map(isThere));
  // the page last: where it is, what it links to is there too
  if (!same.every(Boolean)) await publishOr(root, () => run.publish([...artefacts.slice(1), artefacts[0]!]));
  return artefacts.map((artefact) => artefact.path);
}

/** Writes the report into a folder of its own, without manifests; the paths are relative to it. */
async function writeReportTo(folder: string, data: ReportData): Promise<string[]> {
  const { files } = await buildReport(data);
  for (const { path: file, content } of [...files.slice(1), files[0]!]) await publishFile(path.join(folder, file), Buffer.from(content));
  return files.map((file) => file.path);
}

async function publishOr(root: string, publish: () => Promise<void>): Promise<void> {
  try {
    await publish();
  } catch (error) {
    if (errorCode(error) !== 'LETHE_FILE_UNWRITABLE') throw error;
    throw new LetheError('LETHE_FILE_UNWRITABLE', `the report cannot be written into ${root}`, {
      received: error instanceof Error ? error.message : String(error),
      action: `Give it a folder of its own: lethe report ${root} --out DIR.`,
      exitCode: ExitCode.environment,
      cause: error,
    });
  }
}
