/** Our side: fits in processes of their own on files that are written once a problem. */
import fs from 'node:fs/promises';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import type { IsaName } from '../native/types.js';
import { maskRowBytes } from '../data/masks.js';
import { readDatamodels } from '../store/contents/datamodels.js';
import { writeNpy } from '../store/formats/npy.js';
import type { Datamodels, FitOptions } from '../types.js';
import type { FitAnswer, FitRequest } from './fitProcess.js';
import { runChild } from './process.js';
import type { BenchProblem } from './types.js';

export interface FitFiles {
  folder: string;
  bits: string;
  numTrain: number;
  outputs: string;
}

export interface FitRun {
  answer: FitAnswer;
  fitted: Datamodels;
}

export interface FitPlace {
  isa: IsaName;
  threads: number;
  cores: readonly number[];
}

const program = path.join(path.dirname(fileURLToPath(import.meta.url)), 'fitProcess.js');

/** Writes what the child processes read. */
export async function writeFitFiles(folder: string, { masks, outputs, numTargets }: BenchProblem): Promise<FitFiles> {
  const files = { folder, bits: path.join(folder, 'bits.npy'), numTrain: masks.numTrain, outputs: path.join(folder, 'fit-outputs.npy') };
  await writeNpy(files.bits, [masks.numModels, maskRowBytes(masks.numTrain)], masks.bits);
  await writeNpy(files.outputs, [masks.numModels, numTargets], outputs);
  return files;
}

/** Fits the first numTargets in a fresh process. @throws LETHE_BENCH_PROCESS (exit code 1); LETHE_TASK_ABORTED (75) */
export async function runFit(
  files: FitFiles,
  numTargets: number,
  options: FitOptions,
  place: FitPlace,
  signal: AbortSignal,
): Promise<FitRun> {
  const { folder, bits, numTrain, outputs } = files;
  const result = path.join(folder, 'datamodels.arrow');
  const request: FitRequest = { bits, numTrain, outputs, numTargets, options, threads: place.threads, result };
  const file = path.join(folder, 'fit-request.json');
  await fs.writeFile(file, JSON.stringify(request));
  const printed = await runChild(process.execPath, [program, file], {
    cores: place.cores,
    environment: { ...process.env, LETHE_ISA: place.isa },
    signal,
  });
  return { answer: JSON.parse(printed) as FitAnswer, fitted: readDatamodels(await fs.readFile(result)) };
}
