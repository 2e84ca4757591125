/** Exit codes of the command line: scripts rely on them. */
export const ExitCode = { done: 0, taskFailed: 1, usage: 2, damagedInput: 3, environment: 4, interrupted: 75 } as const;
export type ExitCode = (typeof ExitCode)[keyof typeof ExitCode];

export interface ErrorDetails {
  /** What would have been right. */
  expected?: string;
  /** What was there instead. */
  received?: string;
  /** What the user can do about it: a sentence, preferably with a command. */
  action?: string;
  exitCode?: ExitCode;
  cause?: unknown;
}

/**
 * The only error type Lethe throws on purpose. `code` is `LETHE_NOUN_FACT`; the message reads
 * "CODE: summary; expected X; received Y. Do Z." so that it teaches wherever it is printed.
 */
export class LetheError extends Error {
  readonly code: string;
  readonly exitCode: ExitCode;
  readonly expected: string | undefined;
  readonly received: string | undefined;
  readonly action: string | undefined;

  constructor(code: `LETHE_${string}`, summary: string, details: ErrorDetails = {}) {
    const parts = [summary];
    if (details.expected !== undefined) parts.push(`expected ${details.expected}`);
    if (details.received !== undefined) parts.push(`received ${details.received}`);
    const action = details.action === undefined ? '' : ` ${details.action}`;
    const text = parts.join('; ');
    // a list of lines ends itself, and so does the message of another error
    super(
      `${code}: ${text}${/[.\n]$/.test(text) ? '' : '.'}${text.endsWith('\n') ? action.trimStart() : action}`,
      details.cause === undefined ? {} : { cause: details.cause },
    );
    this.name = 'LetheError';
    this.code = code;
    this.exitCode = details.exitCode ?? ExitCode.usage;
    this.expected = details.expected;
    this.received = details.received;
    this.action = details.action;
  }
}

/** For loops between awaits. @throws LETHE_TASK_ABORTED (exit code 75) */
export function requireRunning(signal: AbortSignal | undefined): void {
  if (signal?.aborted !== true) return;
  throw new LetheError('LETHE_TASK_ABORTED', 'stopped on request before the work was done', { exitCode: ExitCode.interrupted });
}

/** True for our errors and for errors settled by the addon, which carry a LETHE_ code but are plain Errors. */
export function errorCode(error: unknown): string | undefined {
  if (error instanceof Error && 'code' in error && typeof error.code === 'string') return error.code;
  return undefined;
}

/** What was thrown, in words. */
export function errorMessage(thrown: unknown): string {
  return thrown instanceof Error ? thrown.message : String(thrown);
}

const remedies: Record<string, string> = {
  EMFILE: 'Raise the limit of open files of this shell: ulimit -n 1024.',
  ENFILE: 'Too many files are open on this machine: end other programs.',
  ENOSPC: 'Free some space (or inodes), then run the same command again.',
  EDQUOT: 'Your quota of this disk is used up: free some space, then run the same command again.',
  EROFS: 'The disk is read-only: choose another folder.',
  ENAMETOOLONG: 'Choose a shorter name.',
  ENOENT: 'Check the path.',
  ENOTDIR: 'Check the path: a part of it is a file.',
};
for (const code of ['EACCES', 'EPERM']) remedies[code] = 'Check the permissions of the path and of the folders above it.';
for (const code of ['EIO', 'ESTALE', 'EREMOTEIO', 'EHOSTDOWN', 'ETIMEDOUT', 'ENXIO', 'ENODEV']) {
  remedies[code] = 'The disk or the network file system fails: see dmesg, or ask who runs it. Then run the same command again.';
}

/** What a person can do about an error of the operating system. */
export function remedyOf(cause: unknown): string {
  return remedies[errorCode(cause) ?? ''] ?? 'Check the path, its permissions and the disk, then run the same command again.';
}

/** An error of the operating system (it names its system call) that nobody has given a meaning, as one of ours; undefined for all others. */
export function systemError(error: unknown): LetheError | undefined {
  if (!(error instanceof Error) || !('syscall' in error) || error instanceof LetheError) return undefined;
  const where = 'path' in error && typeof error.path === 'string' ? ` of ${error.path}` : '';
  return new LetheError('LETHE_IO_FAILED', `the system refused ${String(error.syscall)}${where}`, {
    received: error.message,
    action: remedyOf(error),
    exitCode: ExitCode.environment,
    cause: error,
  });
}

/** "Did you mean X?" when a known name is close to the given one, otherwise the list of all: the action of an error about a name. */
export function didYouMean(given: string, known: readonly string[]): string {
  const ranked = known.map((name) => ({ name, distance: editDistance(given.toLowerCase(), name.toLowerCase()) }));
  const best = ranked.sort((a, b) => a.distance - b.distance)[0];
  if (best && best.distance <= Math.max(2, Math.floor(given.length / 3))) return `Did you mean ${best.name}?`;
  return `Use one of: ${known.join(', ')}.`;
}

function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const change = row[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1);
      next.push(Math.min(change, row[j]! + 1, next[j - 1]! + 1));
    }
    row = next;
  }
  return row[b.length]!;
}
