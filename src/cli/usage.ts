/** Errors in how the command line was called, in the words and with the codes of all other errors. */
import type { Command, CommanderError } from 'commander';
import os from 'node:os';
import { didYouMean, LetheError } from '../errors.js';
import { nativeAddon } from '../native/addon.js';
import { say } from './common.js';

const codes: Record<string, `LETHE_${string}`> = {
  'commander.unknownCommand': 'LETHE_VERB_UNKNOWN',
  'commander.unknownOption': 'LETHE_OPTION_UNKNOWN',
  'commander.missingArgument': 'LETHE_ARGUMENT_MISSING',
  'commander.excessArguments': 'LETHE_ARGUMENT_UNEXPECTED',
};

/** `args`: the words after "lethe". */
export function usageError(error: CommanderError, program: Command, args: readonly string[]): LetheError {
  const verb = verbOf(program, args);
  const action = `Run: ${fullName(verb)} --help`;
  if (error.code === 'commander.missingMandatoryOptionValue') return misspelt(verb, args) ?? missing(verb, action);
  const text = error.message.replace(/^error: /, '').replaceAll('\n', ' ');
  return new LetheError(codes[error.code] ?? 'LETHE_OPTION_INVALID', text, { action });
}

/** An option that is missing may be one that was misspelt, which says more. */
function misspelt(verb: Command, args: readonly string[]): LetheError | undefined {
  const known = verb.options.flatMap(({ long }) => long ?? []);
  const flags = args.filter((arg) => arg.startsWith('--') && arg !== '--').map((arg) => arg.split('=')[0]!);
  const unknown = flags.find((flag) => !known.includes(flag));
  if (unknown === undefined) return undefined;
  return new LetheError('LETHE_OPTION_UNKNOWN', `unknown option '${unknown}'`, { action: didYouMean(unknown, known) });
}

function missing(verb: Command, action: string): LetheError {
  const absent = verb.options.filter((option) => option.mandatory && verb.getOptionValue(option.attributeName()) === undefined);
  const expected = absent.map(({ flags }) => flags).join(', ');
  return new LetheError('LETHE_OPTION_MISSING', `${fullName(verb)} needs more options`, { expected, received: 'none of these', action });
}

/**
 * --out "$RESULTS" of a script that has not set RESULTS would mean the current folder.
 * @throws LETHE_OPTION_INVALID
 */
export function requireNoEmptyValues(verb: Command): void {
  const empty = verb.options.find((option) => verb.getOptionValue(option.attributeName()) === '');
  if (!empty) return;
  const action = 'Is a variable of your script not set?';
  throw new LetheError('LETHE_OPTION_INVALID', `${empty.long} is empty`, { expected: empty.flags, received: '""', action });
}

function verbOf(program: Command, args: readonly string[]): Command {
  let verb = program;
  for (const arg of args) {
    const next = verb.commands.find((command) => command.name() === arg);
    if (!next) break;
    verb = next;
  }
  return verb;
}

function fullName(verb: Command): string {
  return verb.parent ? `${fullName(verb.parent)} ${verb.name()}` : verb.name();
}

/**
 * Results do not depend on it, so that more threads than processors are a warning: they only take turns. On a GPU, --threads is the number of
 * models at the same time.
 */
export function sayOversubscribed(verb: Command, processors = allowedProcessors): void {
  if (verb.name() === 'worker') return; // its parent has said so
  const inProcesses = verb.getOptionValue('executor') === 'process';
  if (verb.getOptionValueSource('workers') === 'cli' && !inProcesses) {
    say('warning: --workers is of --executor process only; without it, all work is done in this process');
  }
  const names = [...(verb.getOptionValue('device') === 'cuda' ? [] : ['threads']), ...(inProcesses ? ['workers'] : [])];
  for (const name of names) {
    const given: unknown = verb.getOptionValue(name);
    if (typeof given !== 'number' || verb.getOptionValueSource(name) !== 'cli') continue;
    const count = processors();
    if (given <= count) continue;
    const allowed = `${count} processor${count === 1 ? '' : 's'}`;
    say(`warning: --${name} ${given}, but this process may use ${allowed}: it will not be faster`);
  }
}

/** Without the addon, which knows control groups and schedulers, what Node knows. */
function allowedProcessors(): number {
  try {
    return nativeAddon().systemInfo().threads;
  } catch {
    return os.availableParallelism();
  }
}
