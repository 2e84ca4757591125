/** Exit codes of the command line (DESIGN): scripts rely on them. */
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

  constructor(code: `LETHE_${string}`, summary: string, details: ErrorDetails = {}) {
    const parts = [summary];
    if (details.expected !== undefined) parts.push(`expected ${details.expected}`);
    if (details.received !== undefined) parts.push(`received ${details.received}`);
    const action = details.action === undefined ? '' : ` ${details.action}`;
    super(`${code}: ${parts.join('; ')}.${action}`, details.cause === undefined ? {} : { cause: details.cause });
    this.name = 'LetheError';
    this.code = code;
    this.exitCode = details.exitCode ?? ExitCode.usage;
  }
}

/** True for our errors and for errors settled by the addon, which carry a LETHE_ code but are plain Errors. */
export function errorCode(error: unknown): string | undefined {
  if (error instanceof Error && 'code' in error && typeof error.code === 'string') return error.code;
  return undefined;
}
