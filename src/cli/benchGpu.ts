/**
 * lethe bench gpu: runs the program beside the addon that measures a GPU. A program and not the addon, because the same one runs on machines
 * without Node (bench/gpu/run.sh), and because what a GPU does to a process stays there.
 */
import { spawn } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { ExitCode, LetheError } from '../errors.js';
import { addonPath, buildCommand } from '../native/addon.js';
import { chooseDevice } from '../native/device.js';
import { publishResult, requireFree } from '../store/folders/claim.js';
import { split } from './benchOptions.js';
import { action, type Command, compact, jsonHelp, optionWithDefault, oneOf } from './common.js';

const suites = ['evaluate', 'lasso', 'train'] as const;

interface GpuBenchVerbOptions {
  suites: string[];
  whole?: boolean;
  data?: string;
  out?: string;
  json?: boolean;
}

interface GpuBenchReport {
  machine: Record<string, string | number | null>;
  results: Record<string, string | number | null>[];
}

export function registerBenchGpu(bench: Command): void {
  bench
    .command('gpu')
    .description('the ops of a GPU: peaks, KLOM and ranks, the Lasso, training; checked against the processor before they are timed')
    .addOption(optionWithDefault('--suites <list>', 'suites to run', split, suites.join()))
    .option('--whole', "all 60,000 targets of the paper's scale instead of 2,048")
    .option('--data <dir>', "CIFAR-10's binary files: also trains whole models and reports their accuracy")
    .option('--out <file>', 'also write the JSON document here')
    .option('--json', jsonHelp)
    .action(action(gpuVerb));
}

async function gpuVerb(verb: GpuBenchVerbOptions): Promise<void> {
  const chosen = verb.suites.map((suite) => oneOf('--suites', suite, suites));
  chooseDevice('cuda');
  await requireFree(verb.out);
  const { code, stdout } = await run([
    '--suites',
    chosen.join(','),
    ...(verb.whole ? ['--whole'] : []),
    ...(verb.data === undefined ? [] : ['--data', verb.data]),
  ]);
  if (code !== 0 && code !== 1) {
    throw new LetheError('LETHE_BENCH_PROCESS', 'the GPU benchmark ended without a result', {
      expected: 'exit code 0 or 1',
      received: String(code),
      exitCode: code === 4 ? ExitCode.environment : ExitCode.taskFailed,
    });
  }
  if (verb.out !== undefined) await publishResult(verb.out, Buffer.from(stdout));
  process.stdout.write(verb.json ? stdout : render(JSON.parse(stdout) as GpuBenchReport));
  // a check failed: the rows say which
  process.exitCode = code;
}

/** Its progress goes to our stderr. */
async function run(args: string[]): Promise<{ code: number | null; stdout: string }> {
  const program = path.join(path.dirname(addonPath()), 'lethe_gpu_bench');
  if (!fs.existsSync(program)) {
    throw new LetheError('LETHE_BENCH_MISSING', 'the GPU benchmark is not built', {
      expected: program,
      received: 'no such file',
      action: `Run: ${buildCommand('LETHE_CUDA=ON')}`,
      exitCode: ExitCode.environment,
    });
  }
  const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'inherit'] });
  const parts: Buffer[] = [];
  child.stdout.on('data', (part: Buffer) => parts.push(part));
  const code = await new Promise<number | null>((resolve, reject) => {
    child.on('error', reject);
    child.on('close', resolve);
  });
  return { code, stdout: Buffer.concat(parts).toString() };
}

function render({ machine, results }: GpuBenchReport): string {
  const line = (row: Record<string, string | number | null>): string =>
    Object.entries(row)
      .map(([name, value]) => (name === 'name' ? String(value) : `${name} ${typeof value === 'number' ? compact(value) : String(value)}`))
      .join('  ');
  return `${[machine, ...results].map(line).join('\n')}\n`;
}
