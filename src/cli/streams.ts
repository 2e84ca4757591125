/** What happens when nobody reads, or nothing can hold, what is printed. */
import { errorCode, ExitCode, LetheError } from '../errors.js';
import { warningName } from '../store/disk/warnings.js';
import { reportError, say } from './common.js';

/** A reader that closes the pipe early (head, less) is no error; talk that cannot be said is lost, and the work goes on. */
export function guardStreams(): void {
  process.stderr.on('error', () => undefined);
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (errorCode(error) === 'EPIPE') process.exit(process.exitCode ?? 0);
    reportError(outputLost(error), false);
  });
}

/** Our own warnings in our own words; those of Node and of libraries as Node says them. */
export function sayWarnings(): void {
  const others = process.listeners('warning');
  process.removeAllListeners('warning');
  process.on('warning', (warning) => {
    if (warning.name === warningName) say(`warning: ${warning.message}`);
    else for (const listener of others) listener(warning);
  });
}

function outputLost(cause: Error): LetheError {
  return new LetheError('LETHE_STDOUT_UNWRITABLE', 'what is printed to stdout is lost', {
    received: cause.message,
    action: 'Is the disk full that stdout goes to? Files that were written are whole, and the same command finds them.',
    exitCode: ExitCode.environment,
    cause,
  });
}
