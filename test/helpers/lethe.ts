/** The real command line in a process of its own. */
import { type ChildProcess, spawn } from 'node:child_process';
import path from 'node:path';
import { compiled } from './compiled.js';

export interface LetheResult {
  code: number | null;
  signal: NodeJS.Signals | null;
  stdout: string;
  stderr: string;
}

export function startLethe(
  args: string[],
  environment: Record<string, string> = {},
): { child: ChildProcess; result: Promise<LetheResult> } {
  const child = spawn(process.execPath, [path.join(compiled(), 'cli', 'main.js'), ...args], {
    env: { ...process.env, LETHE_DATA: '', NO_COLOR: '1', NODE_OPTIONS: '', ...environment },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const printed = { stdout: '', stderr: '' };
  child.stdout.on('data', (chunk: Buffer) => (printed.stdout += chunk.toString()));
  child.stderr.on('data', (chunk: Buffer) => (printed.stderr += chunk.toString()));
  const result = new Promise<LetheResult>((resolve) => {
    child.once('close', (code, signal) => {
      resolve({ code, signal, ...printed });
    });
  });
  return { child, result };
}

export function lethe(args: string[], environment: Record<string, string> = {}): Promise<LetheResult> {
  return startLethe(args, environment).result;
}
