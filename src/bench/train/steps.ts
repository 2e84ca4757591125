/** Our side: training steps in a process of their own. */
import fs from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { type ChildOptions, runChild } from '../process.js';
import type { StepAnswer, StepRequest } from './stepProcess.js';

const program = path.join(path.dirname(fileURLToPath(import.meta.url)), 'stepProcess.js');

/** @throws LETHE_BENCH_PROCESS (exit code 1) */
export async function timeSteps(request: StepRequest, place: Omit<ChildOptions, 'environment'>): Promise<StepAnswer> {
  const folder = await fs.mkdtemp(path.join(os.tmpdir(), 'lethe-bench-'));
  try {
    const file = path.join(folder, 'request.json');
    await fs.writeFile(file, JSON.stringify(request));
    return JSON.parse(await runChild(process.execPath, [program, file], place)) as StepAnswer;
  } finally {
    await fs.rm(folder, { recursive: true, force: true });
  }
}
