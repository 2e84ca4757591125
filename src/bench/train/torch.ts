/** PyTorch as the rival and as the independent check, in processes of its own. */
import fs from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { readNpy, toFloat32, writeNpy } from '../../store/formats/npy.js';
import type { Dataset, ParameterTensor } from '../../types.js';
import { peerEnvironment, type Rival } from '../peers.js';
import { runChild } from '../process.js';
import type { Precision } from '../../native/types.js';
import type { CheckInputs, CheckRun } from './check.js';
import type { StepCase } from './types.js';

export interface TorchPlace {
  cores: readonly number[];
  signal?: AbortSignal | undefined;
}

export interface TorchRate {
  precision: Precision;
  imagesPerCpuSecond: number;
  steps: number;
}

/** Images a CPU second in each precision, one thread. @throws LETHE_BENCH_PROCESS (exit code 1) */
export function timeTorch(
  peer: Rival,
  { width, batchSize }: StepCase,
  precisions: readonly Precision[],
  seconds: number,
  place: TorchPlace,
): Promise<{ version: string; rates: TorchRate[] }> {
  return inFolder(async (folder) => {
    await fs.writeFile(path.join(folder, 'request.json'), JSON.stringify({ width, batchSize, precisions, seconds }));
    return JSON.parse(await runTorch(peer, 'time', folder, place)) as { version: string; rates: TorchRate[] };
  });
}

/** The same steps in PyTorch's fp32. @throws LETHE_BENCH_PROCESS (exit code 1) */
export function checkTorch(
  peer: Rival,
  of: StepCase,
  { dataset, parameters, settings }: CheckInputs,
  layout: readonly ParameterTensor[],
  place: TorchPlace,
): Promise<CheckRun> {
  return inFolder(async (folder) => {
    const { mean, std } = dataset;
    const request = { width: of.width, batchSize: of.batchSize, layout, mean, std, ...settings, precision: 'fp32' };
    await fs.writeFile(path.join(folder, 'request.json'), JSON.stringify(request));
    await writeNpy(path.join(folder, 'parameters.npy'), [parameters.length], parameters);
    await writeImages(folder, dataset);
    const { losses } = JSON.parse(await runTorch(peer, 'check', folder, place)) as { losses: number[] };
    const read = async (name: string): Promise<Float32Array> => toFloat32(await readNpy(path.join(folder, name)));
    const loss = losses.reduce((sum, value) => sum + value, 0) / losses.length;
    return { loss, gradient: await read('gradient.npy'), updated: await read('updated.npy') };
  });
}

async function writeImages(folder: string, { pixels, labels, height, width, channels }: Dataset): Promise<void> {
  await writeNpy(path.join(folder, 'pixels.npy'), [labels.length, height, width, channels], pixels);
  await writeNpy(path.join(folder, 'labels.npy'), [labels.length], labels);
}

function runTorch(peer: Rival, mode: string, folder: string, place: TorchPlace): Promise<string> {
  return runChild(peer.command, [peer.script, mode, '--folder', folder], { ...place, environment: peerEnvironment() });
}

async function inFolder<T>(work: (folder: string) => Promise<T>): Promise<T> {
  const folder = await fs.mkdtemp(path.join(os.tmpdir(), 'lethe-bench-'));
  try {
    return await work(folder);
  } finally {
    await fs.rm(folder, { recursive: true, force: true });
  }
}
