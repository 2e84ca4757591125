/** Runs one verb in a process of its own, as the command line would. */
import { spawn } from 'node:child_process';
import path from 'node:path';
import { compiled } from './compiled.js';

export interface VerbResult {
  code: number | null;
  stdout: string;
  stderr: string;
}

/** `registration` is "<module in src/cli>:<exported register function>", e.g. "doctor:registerDoctor". */
export async function runVerb(registration: string, args: string[], environment: Record<string, string> = {}): Promise<VerbResult> {
  const [module, register] = registration.split(':') as [string, string];
  const file = path.join(compiled(), 'cli', `${module}.js`);
  const script = `
    import { Command } from 'commander';
    import { ${register} } from ${JSON.stringify(file)};
    const program = new Command();
    ${register}(program);
    await program.parseAsync(['node', 'lethe', ...${JSON.stringify(args)}]);`;
  const child = spawn(process.execPath, ['--input-type=module', '-e', script], {
    env: { ...process.env, LETHE_DATA: '', LETHE_ISA: '', NO_COLOR: '1', ...environment },
  });
  const result: VerbResult = { code: null, stdout: '', stderr: '' };
  child.stdout.on('data', (chunk: Buffer) => (result.stdout += chunk.toString()));
  child.stderr.on('data', (chunk: Buffer) => (result.stderr += chunk.toString()));
  result.code = await new Promise((resolve) => child.on('close', resolve));
  return result;
}
