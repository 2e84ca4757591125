/** lethe worker RUN: a worker process of the process executor. */
import { serveWorker } from '../jobs/worker.js';
import { action, type Command, dataHelp, processorCount, say } from './common.js';
import { reopenSession, type SessionOptions } from '../commands/session.js';

export function registerWorker(program: Command): void {
  program
    .command('worker', { hidden: true })
    .argument('<run>', 'run folder')
    .option('--data <dir>', dataHelp)
    .option('--plan-folder <dir>', 'where relative paths of the plan count from')
    .option('--threads <count>', 'processors to use', processorCount(0), 1)
    .action(action(workerVerb));
}

async function workerVerb(root: string, options: SessionOptions): Promise<void> {
  const { session, context } = await reopenSession(root, { ...options, note: say });
  await serveWorker(session.stages, context);
}
