/** failed.jsonl: what failed, where, why and how to retry; a line a failed task, appended. */
import fs from 'node:fs/promises';
import path from 'node:path';
import { layout } from './layout.js';

export interface FailedTask {
  task: string;
  label: string;
  code: string;
  message: string;
}

export async function recordFailures(root: string, failures: FailedTask[]): Promise<void> {
  const at = new Date().toISOString();
  const lines = failures.map((failure) => `${JSON.stringify({ at, ...failure, retry: 'run the same command again' })}\n`);
  await fs.appendFile(path.join(root, layout.failed), lines.join(''));
}
