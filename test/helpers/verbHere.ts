/** Runs one verb in this process and collects what it prints; exit codes as the process would give them. */
import { Command } from 'commander';

export interface VerbHereResult {
  stdout: string;
  stderr: string;
  exitCode: typeof process.exitCode;
}

export async function runVerbHere(register: (program: Command) => void, args: string[]): Promise<VerbHereResult> {
  const printed = { stdout: '', stderr: '' };
  const restore = (['stdout', 'stderr'] as const).map((name) => {
    const stream = process[name];
    const write = stream.write.bind(stream);
    stream.write = (chunk: string | Uint8Array): boolean => {
      printed[name] += String(chunk);
      return true;
    };
    return () => (stream.write = write);
  });
  const before = process.exitCode;
  process.exitCode = 0;
  try {
    const program = new Command().exitOverride();
    register(program);
    await program.parseAsync(args, { from: 'user' });
    return { ...printed, exitCode: process.exitCode };
  } finally {
    process.exitCode = before;
    for (const undo of restore) undo();
  }
}
