/** What the numbers were measured on. */
import fs from 'node:fs/promises';
import os from 'node:os';
import { nativeAddon } from '../native/addon.js';
import type { IsaName } from '../native/types.js';
import { ExitCode, errorCode, LetheError } from '../errors.js';
import type { Machine, RatedKernel } from './types.js';

/** Measures the peaks of each instruction set: half a second each. */
export async function describeMachine(isas: readonly IsaName[]): Promise<Machine> {
  const { isa } = nativeAddon().systemInfo();
  const peaks: Machine['peaks'] = [];
  let compiler = '';
  for (const name of isas) {
    const { compiler: used, ...measured } = await nativeAddon().measurePeaks(name);
    compiler = used;
    peaks.push({ isa: name, ...measured });
  }
  return {
    cpu: os.cpus()[0]?.model ?? 'unknown',
    cores: os.cpus().length,
    memoryBytes: os.totalmem(),
    caches: await caches(),
    isa,
    node: process.version,
    compiler,
    peaks,
  };
}

/**
 * Rates of the datamodel kernels, each compared with a naive loop first.
 * @throws LETHE_KERNEL_WRONG (exit code 1)
 */
export async function kernelRates(isas: readonly IsaName[]): Promise<RatedKernel[]> {
  const rates: RatedKernel[] = [];
  for (const isa of isas) {
    const measured = await nativeAddon()
      .lassoKernelRates(isa)
      .catch((error: unknown) => {
        if (errorCode(error) !== 'LETHE_KERNEL_WRONG') throw error;
        const received = error instanceof Error ? error.message : String(error);
        throw new LetheError('LETHE_KERNEL_WRONG', `a kernel of ${isa} is wrong`, {
          received,
          exitCode: ExitCode.taskFailed,
          cause: error,
        });
      });
    for (const rate of measured) rates.push({ ...rate, backend: `cpu-${isa}` });
  }
  return rates;
}

/** Data caches of the first processor as the kernel lists them; empty where it does not. */
async function caches(): Promise<string[]> {
  const folder = '/sys/devices/system/cpu/cpu0/cache';
  const entries = await fs.readdir(folder).catch(() => []);
  const read = async (entry: string, name: string): Promise<string> =>
    (await fs.readFile(`${folder}/${entry}/${name}`, 'utf8').catch(() => '')).trim();
  const found: string[] = [];
  for (const entry of entries.filter((name) => name.startsWith('index')).sort()) {
    const type = await read(entry, 'type');
    if (type === 'Instruction' || type === '') continue;
    found.push(`L${await read(entry, 'level')}${type === 'Data' ? 'd' : ''} ${await read(entry, 'size')}`);
  }
  return found;
}
