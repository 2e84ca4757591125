/** `lethe doctor`: what this machine offers, what is missing, and what to do about it. */
import { execFile } from 'node:child_process';
import fs from 'node:fs/promises';
import os from 'node:os';
import { promisify } from 'node:util';
import pc from 'picocolors';
import { findCifar10 } from '../data/cifar10.js';
import { findNpyImages, holdsNpyImages } from '../data/npyImages.js';
import { resolveDataDirectory } from '../data/registry.js';
import { ExitCode, LetheError } from '../errors.js';
import { onnxRuntime } from '../models/onnxRuntime.js';
import { addonPath, buildCommand, nativeAddon } from '../native/addon.js';
import { freeMemory, memoryLimit } from '../native/limits.js';
import type { CudaInfo, SystemInfo } from '../native/types.js';
import { action, type Command, emitJson, jsonHelp } from './common.js';

export interface Check {
  name: string;
  /** problem: something needed is broken; warning: works, but not as well as it could. */
  status: 'ok' | 'warning' | 'problem';
  found: string;
  /** What to do; absent when there is nothing to do. */
  action?: string;
}

const leastNode = [20, 19] as const;
const smallMemoryBytes = 2 * 2 ** 30;
const smallDiskBytes = 2 ** 30;

export function registerDoctor(program: Command): void {
  program
    .command('doctor')
    .description('check this machine: Node, addon, instruction sets, threads, memory, GPU, disk, data')
    .option('--data <dir>', 'folder of a data set to check (default: LETHE_DATA)')
    .option('--json', jsonHelp)
    .action(
      action(async (options: { data?: string; json?: boolean }) => {
        const checks = await runChecks(options.data);
        if (options.json) emitJson('doctor', { checks });
        else process.stdout.write(describe(checks));
        if (checks.some(({ status }) => status === 'problem')) process.exitCode = ExitCode.environment;
      }),
    );
}

async function runChecks(dataOption: string | undefined): Promise<Check[]> {
  const checks = [checkNode(process.versions.node)];
  let system: SystemInfo | undefined;
  try {
    system = nativeAddon().systemInfo();
    checks.push({ name: 'addon', status: 'ok', found: addonPath() });
  } catch (error) {
    // the message names the file or the instruction sets, and the way out
    checks.push({ name: 'addon', status: 'problem', found: error instanceof Error ? error.message : String(error) });
  }
  if (system) {
    checks.push(checkInstructionSet(system, process.env['LETHE_ISA']));
    checks.push(checkThreads(system.threads, os.cpus().length));
  }
  checks.push(checkMemory(os.totalmem(), freeMemory(), memoryLimit()));
  checks.push(checkCuda(system?.cuda, await driverDevices()));
  checks.push(await checkDisk(process.cwd()), checkOnnxRuntime(), await checkData(resolveDataDirectory(dataOption)));
  return checks;
}

function checkNode(version: string): Check {
  const [major = 0, minor = 0] = version.split('.').map(Number);
  const enough = major > leastNode[0] || (major === leastNode[0] && minor >= leastNode[1]);
  const found = `Node ${version}, ${process.platform} ${process.arch}`;
  return enough
    ? { name: 'node', status: 'ok', found }
    : { name: 'node', status: 'problem', found, action: `Install Node >= ${leastNode.join('.')}.` };
}

function checkInstructionSet({ isa, availableIsas }: SystemInfo, cap: string | undefined): Check {
  const best = availableIsas.at(-1)!;
  const found = `${isa} (available: ${availableIsas.join(', ')})`;
  if (isa !== best) {
    return {
      name: 'instruction set',
      status: 'warning',
      found: `${found}, capped by LETHE_ISA=${cap ?? ''}`,
      action: `Unset LETHE_ISA to use ${best}.`,
    };
  }
  if (isa !== 'portable') return { name: 'instruction set', status: 'ok', found };
  return { name: 'instruction set', status: 'warning', found, action: 'A processor with AVX2 is several times faster.' };
}

function checkThreads(threads: number, processors: number): Check {
  const found =
    threads < processors ? `${threads} of ${processors} processors (affinity, cgroup quota or SLURM_CPUS_PER_TASK)` : `${threads}`;
  return { name: 'threads', status: 'ok', found };
}

/** limit: bytes that this process may use, of the machine's `total`. */
export function checkMemory(total: number, available: number, limit: number): Check {
  const limited = limit < total;
  const found = `${gib(available)} available of ${gib(total)}${limited ? `, cgroup limit ${gib(limit)}` : ''}`;
  if (available >= smallMemoryBytes) return { name: 'memory', status: 'ok', found };
  return { name: 'memory', status: 'warning', found, action: 'Large fits need more: end other programs or raise the limit.' };
}

/** GPUs the driver lists, whatever the addon thinks; empty without a driver. */
async function driverDevices(): Promise<string[]> {
  const query = ['--query-gpu=name,driver_version', '--format=csv,noheader'];
  const answer = await promisify(execFile)('nvidia-smi', query, { timeout: 10_000 }).catch(() => undefined);
  return answer?.stdout.split('\n').filter((line) => line.trim() !== '') ?? [];
}

/** cuda: absent when the addon does not load. */
export function checkCuda(cuda: CudaInfo | undefined, driver: string[]): Check {
  const name = 'cuda';
  if (cuda && cuda.devices.length > 0) {
    const devices = cuda.devices.map((device) => `${device.name} (compute ${device.computeCapability}, ${gib(device.freeBytes)} free)`);
    return { name, status: 'ok', found: `${devices.join(', ')}; built with CUDA ${cuda.toolkit}` };
  }
  const build =
    cuda === undefined ? 'addon not loaded' : cuda.built ? `built with CUDA ${cuda.toolkit}, ${cuda.problem}` : 'built without CUDA';
  if (driver.length === 0) return { name, status: 'ok', found: `no GPU (${build}): everything runs on the CPU` };
  const found = `the driver lists ${driver.join('; ')}, but the addon cannot use it (${build})`;
  const advice = cuda?.built
    ? 'Update the driver or check CUDA_VISIBLE_DEVICES.'
    : `Install the CUDA toolkit (nvcc), then run: ${buildCommand()}`;
  return { name, status: 'warning', found, action: advice };
}

async function checkDisk(folder: string): Promise<Check> {
  const name = 'disk';
  const { bavail, bsize, files, ffree } = await fs.statfs(folder);
  const free = bavail * bsize;
  const found = `${gib(free)} free in ${folder}`;
  const writable = await fs.access(folder, fs.constants.W_OK).then(
    () => true,
    () => false,
  );
  if (!writable) return { name, status: 'warning', found: `${found}, not writable`, action: 'Run Lethe where run folders can be written.' };
  if (files > 0 && ffree === 0) return { name, status: 'warning', found: `${found}, no inodes left`, action: 'Remove files.' };
  if (free < smallDiskBytes)
    return { name, status: 'warning', found, action: 'Free some space: a run needs 4 bytes a model, point and class.' };
  return { name, status: 'ok', found };
}

function checkOnnxRuntime(): Check {
  const name = 'onnxruntime-node';
  try {
    const { env } = onnxRuntime();
    return { name, status: 'ok', found: `version ${env.versions.node ?? env.versions.common}` };
  } catch (error) {
    const found = `does not load: ${error instanceof LetheError ? error.received : String(error)}`;
    return { name, status: 'warning', found, action: 'Only the ort engine needs it. Run: npm ci' };
  }
}

async function checkData(directory: string | undefined): Promise<Check> {
  const name = 'data directory';
  if (directory === undefined) {
    return {
      name,
      status: 'ok',
      found: 'none set: the built-in synthetic images work; CIFAR-10 comes with lethe data fetch cifar10 --to DIR',
    };
  }
  try {
    if (holdsNpyImages(directory)) {
      findNpyImages(directory);
      return { name, status: 'ok', found: `images in .npy files in ${directory}` };
    }
    const files = await findCifar10(directory);
    return { name, status: 'ok', found: `CIFAR-10 (${files.layout} layout) in ${files.directory}` };
  } catch (error) {
    return { name, status: 'warning', found: error instanceof Error ? error.message : String(error) };
  }
}

function describe(checks: Check[]): string {
  const colour = { ok: pc.green, warning: pc.yellow, problem: pc.red };
  const lines = checks.flatMap(({ name, status, found, action: advice }) => [
    `${colour[status](status.padEnd(8))} ${name.padEnd(18)} ${found}`,
    ...(advice === undefined ? [] : [`${' '.repeat(28)}${advice}`]),
  ]);
  return `${lines.join('\n')}\n`;
}

function gib(bytes: number): string {
  return `${(bytes / 2 ** 30).toFixed(1)} GiB`;
}
