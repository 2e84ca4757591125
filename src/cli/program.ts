/** The command line from its words to an exit code. */
import { createRequire } from 'node:module';
import { CommanderError } from 'commander';
import { ExitCode } from '../errors.js';
import { Command, reportError } from './common.js';
import { guardStreams, sayWarnings } from './streams.js';
import { requireNoEmptyValues, sayOversubscribed, usageError } from './usage.js';
import { verbs } from './verbs.js';

const { version } = createRequire(import.meta.url)('../../package.json') as { version: string };

/** `args`: the words after "lethe". Sets the exit code; never throws. */
export async function runCommandLine(args: string[]): Promise<void> {
  guardStreams();
  sayWarnings();
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
  try {
    await addVerbs(program, calledVerb(args));
    await program.parseAsync(args, { from: 'user' });
  } catch (error) {
    const json = args.includes('--json');
    if (!(error instanceof CommanderError)) reportError(error, json);
    else if (error.exitCode === 0) process.exitCode = ExitCode.done;
    else if (error.code === 'commander.help')
      process.exitCode = ExitCode.usage; // a verb is missing; its list has been printed
    else reportError(usageError(error, program, args), json);
  }
}

/** With every verb whole: for the pages made from the help. */
export async function wholeProgram(): Promise<Command> {
  const program = new Command('lethe');
  for (const { summary, load } of Object.values(verbs)) if (summary !== undefined) (await load())(program);
  return program;
}

/** The program itself has no options with values: its first word is the verb, and "help VERB" means the verb's. */
function calledVerb(args: readonly string[]): string | undefined {
  const [first, second] = args.filter((arg) => !arg.startsWith('-'));
  return first === 'help' ? second : first;
}

/** The verb that is called, whole, among names and summaries of the others. */
async function addVerbs(program: Command, called: string | undefined): Promise<void> {
  for (const [name, { summary, libraries = [], load }] of Object.entries(verbs)) {
    if (name === called) {
      for (const library of libraries) await import(library);
      (await load())(program);
    } else program.command(name, { hidden: summary === undefined });
    if (summary !== undefined) program.commands.at(-1)!.summary(summary);
  }
}
