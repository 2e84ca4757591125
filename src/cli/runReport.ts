/** Report data of a finished run folder. */
import { collectReport } from '../report/collect.js';
import type { ReportData } from '../types.js';
import { say } from './common.js';
import { viewRun } from '../commands/session.js';

export async function collectRunReport(root: string, data?: string): Promise<ReportData> {
  const { run, plan, dataset, engine } = await viewRun(root, { ...(data === undefined ? {} : { data }), note: say });
  return collectReport(run, plan, dataset, engine);
}
