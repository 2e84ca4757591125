/** lethe status RUN. */
import path from 'node:path';
import { statusOf } from '../jobs/estimate.js';
import { readSessions, runningSession } from '../store/folders/provenance.js';
import { action, type Command, emitJson, jsonHelp, oldDataHelp, say } from './common.js';
import { viewRun } from '../commands/session.js';

export function registerStatus(program: Command): void {
  program
    .command('status')
    .argument('<run>', 'run folder')
    .description('what is done and what is left')
    .option('--data <dir>', oldDataHelp)
    .option('--json', jsonHelp)
    .action(action(statusVerb));
}

async function statusVerb(root: string, options: { data?: string; json?: boolean }): Promise<void> {
  const view = await viewRun(root, { ...options, note: say });
  const stages = await statusOf(view.run, view.stages);
  const sessions = await readSessions(path.resolve(root));
  const done = stages.reduce((sum, stage) => sum + stage.tasksDone, 0);
  const tasks = stages.reduce((sum, stage) => sum + stage.tasks, 0);
  if (options.json) {
    emitJson('status', { run: path.resolve(root), plan: view.plan.name, tasksDone: done, tasks, stages, sessions });
    return;
  }
  for (const { stage, tasksDone, tasks: all } of stages) process.stdout.write(`${stage.padEnd(18)} ${tasksDone}/${all}\n`);
  const last = sessions.at(-1);
  const running = await runningSession(path.resolve(root));
  const outcome = running ? `running (process ${running.pid})` : (last?.outcome ?? 'killed, or running on another machine');
  process.stdout.write(`${done}/${tasks} tasks done${last ? `; last session ${outcome}, begun ${last.startedAt}` : ''}\n`);
}
