#!/usr/bin/env node
/** The command line: one file a verb, this one only lists them. */
import { createRequire } from 'node:module';
import { CommanderError } from 'commander';
import { ExitCode } from '../errors.js';
import { registerBench } from './bench.js';
import { Command, reportError } from './common.js';
import { registerData } from './data.js';
import { registerDoctor } from './doctor.js';
import { registerEvaluate } from './evaluate.js';
import { registerExport } from './export.js';
import { registerFit } from './fit.js';
import { registerQuickstart } from './quickstart.js';
import { registerReport } from './report.js';
import { registerRun } from './run.js';
import { collectRunReport } from './runReport.js';
import { registerStudy } from './study.js';
import { registerTrain } from './train.js';
import { registerUnlearn } from './unlearn.js';
import { requireNoEmptyValues, sayOversubscribed, usageError } from './usage.js';

const { version } = createRequire(import.meta.url)('../../package.json') as { version: string };

// a reader that closes the pipe early (head, less) is no error
for (const stream of [process.stdout, process.stderr]) {
  stream.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code === 'EPIPE') process.exit(process.exitCode ?? 0);
    throw error;
  });
}

const program = new Command('lethe')
  .description('machine unlearning by datamodel matching')
  .version(version)
  .showSuggestionAfterError()
  .configureOutput({ outputError: () => undefined }) // said below, with a code
  .exitOverride()
  .hook('preAction', (_program, verb) => {
    requireNoEmptyValues(verb);
    sayOversubscribed(verb);
  });

registerQuickstart(program);
registerRun(program);
registerReport(program, collectRunReport);
registerTrain(program);
registerFit(program);
registerUnlearn(program);
registerEvaluate(program);
registerExport(program);
registerStudy(program);
registerData(program);
registerBench(program);
registerDoctor(program);

try {
  await program.parseAsync();
} catch (error) {
  const json = process.argv.includes('--json');
  if (!(error instanceof CommanderError)) reportError(error, json);
  else if (error.exitCode === 0) process.exitCode = ExitCode.done;
  else if (error.code === 'commander.help')
    process.exitCode = ExitCode.usage; // a verb is missing; its list has been printed
  else reportError(usageError(error, program, process.argv.slice(2)), json);
}
