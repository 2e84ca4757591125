/** Runs one verb in this process (helpers/lethe.ts: the command line in one of its own): what it prints, and the exit code it would give. */
import { Command, CommanderError } from 'commander';
import { reportError } from '../../src/cli/common.js';

export interface VerbResult {
  stdout: string;
  stderr: string;
  exitCode: typeof process.exitCode;
}

export async function runVerb(register: (program: Command) => void, args: string[]): Promise<VerbResult> {
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
  } catch (error) {
    if (error instanceof CommanderError) throw error;
    reportError(error, false);
  } finally {
    for (const undo of restore) undo();
  }
  const { exitCode } = process;
  process.exitCode = before;
  return { ...printed, exitCode };
}
