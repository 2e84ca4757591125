/** Child processes of a benchmark: pinned to given cores, never through a shell. */
import { spawn } from 'node:child_process';
import fs from 'node:fs/promises';
import { ExitCode, LetheError } from '../errors.js';

export interface ChildOptions {
  /** Processors the child may use; empty: all that this process may use. */
  cores: readonly number[];
  environment?: NodeJS.ProcessEnv;
  signal?: AbortSignal | undefined;
}

const keptOutput = 2000;

/**
 * Runs a program to its end; gives what it printed to stdout.
 * @throws LETHE_BENCH_PROCESS (exit code 1) with the end of its stderr; LETHE_TASK_ABORTED (75)
 */
export async function runChild(command: string, args: readonly string[], { cores, environment, signal }: ChildOptions): Promise<string> {
  const [program, ...rest] = cores.length === 0 ? [command, ...args] : ['taskset', '-c', cores.join(','), command, ...args];
  const child = spawn(program, rest, {
    env: environment ?? process.env,
    stdio: ['ignore', 'pipe', 'pipe'],
    ...(signal ? { signal } : {}),
  });
  const printed = { stdout: '', stderr: '' };
  child.stdout.on('data', (chunk: Buffer) => (printed.stdout += chunk.toString()));
  child.stderr.on('data', (chunk: Buffer) => (printed.stderr = (printed.stderr + chunk.toString()).slice(-keptOutput)));
  const end = await new Promise<string>((resolve) => {
    child.once('error', (error) => {
      resolve(error.message);
    });
    child.once('close', (code, killed) => {
      resolve(code === 0 ? '' : `${killed ?? `exit code ${String(code)}`}\n${printed.stderr.trim()}`);
    });
  });
  if (signal?.aborted) throw new LetheError('LETHE_TASK_ABORTED', 'the benchmark was stopped', { exitCode: ExitCode.interrupted });
  if (end !== '') {
    throw new LetheError('LETHE_BENCH_PROCESS', `${program} ${rest.slice(0, 4).join(' ')} ... failed`, {
      received: end,
      exitCode: ExitCode.taskFailed,
    });
  }
  return printed.stdout;
}

/** The processors this process may run on, ascending; empty where the system does not say. */
export async function allowedCores(): Promise<number[]> {
  const status = await fs.readFile('/proc/self/status', 'utf8').catch(() => '');
  const list = /^Cpus_allowed_list:\s*(\S+)/m.exec(status)?.[1] ?? '';
  return list.split(',').flatMap((range) => {
    const [from, to = from] = range.split('-').map(Number);
    return from === undefined || !Number.isInteger(from) ? [] : Array.from({ length: to! - from + 1 }, (_, k) => from + k);
  });
}
