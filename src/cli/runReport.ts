/** Report data of a finished run folder. */
import { collectReport } from '../report/collect.js';
import type { ReportData } from '../types.js';
import { reopenSession } from './session.js';

export async function collectRunReport(root: string, data?: string): Promise<ReportData> {
  const { session, context } = await reopenSession(root, { threads: 0, ...(data === undefined ? {} : { data }) });
  return collectReport(context.run, session.plan, session.dataset, session.engine);
}
