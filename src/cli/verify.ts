/** lethe verify RUN. */
import path from 'node:path';
import { ExitCode, LetheError } from '../errors.js';
import { formatBytes } from '../store/disk/byteSize.js';
import { openRun } from '../store/folders/run.js';
import { repairRun, verifyRun } from '../store/folders/verify.js';
import { action, type Command, emitJson, jsonHelp } from './common.js';

export function registerVerify(program: Command): void {
  program
    .command('verify')
    .argument('<run>', 'run folder')
    .description('check every byte against its manifest')
    .option('--repair', 'delete what is damaged, so that the next run makes it anew')
    .option('--json', jsonHelp)
    .action(action(verifyVerb));
}

async function verifyVerb(root: string, options: { repair?: boolean; json?: boolean }): Promise<void> {
  const run = await openRun(path.resolve(root));
  const health = await verifyRun(run);
  const repaired = options.repair ? await repairRun(run, health) : [];
  if (options.json) emitJson('verify', { run: run.root, ...health, repaired });
  else {
    for (const { path: file, reason } of health.damaged) process.stdout.write(`damaged ${file}: ${reason}\n`);
    for (const file of health.missing) process.stdout.write(`missing ${file}\n`);
    for (const file of health.foreign) process.stdout.write(`foreign ${file}\n`);
    process.stdout.write(
      `${health.checked} files checked, ${formatBytes(health.bytes)}, ${health.damaged.length} damaged, ${health.missing.length} missing\n`,
    );
  }
  if (health.damaged.length + health.missing.length > 0 && !options.repair) {
    throw new LetheError(
      'LETHE_RUN_DAMAGED',
      `${health.damaged.length} damaged and ${health.missing.length} missing files in ${run.root}`,
      {
        action: 'Run: lethe verify RUN --repair, then lethe run with the same plan; only these files are made anew.',
        exitCode: ExitCode.damagedInput,
      },
    );
  }
}
