/** The program of a child process that fits once and reports its times: node fitProcess.js REQUEST.json */
import fs from 'node:fs/promises';
import { fitDatamodels } from '../datamodels/fit.js';
import { nativeAddon } from '../native/addon.js';
import { encodeDatamodels } from '../store/contents/datamodels.js';
import { readNpy, toFloat32 } from '../store/formats/npy.js';
import { publishFile } from '../store/disk/publish.js';
import type { FitOptions } from '../types.js';

export interface FitRequest {
  /** .npy uint8 (numModels, ceil(numTrain / 8)): packed bits */
  bits: string;
  numTrain: number;
  /** .npy float32 (numModels, at least numTargets); the first numTargets are fitted */
  outputs: string;
  numTargets: number;
  options: FitOptions;
  threads: number;
  /** Where the datamodels go. */
  result: string;
}

export interface FitAnswer {
  /** Of the fit call alone, set-up included, file reading excluded. */
  cpuSeconds: number;
  wallSeconds: number;
  isa: string;
  threads: number;
  maxRssBytes: number;
}

function firstColumns(values: Float32Array, rows: number, columns: number): Float32Array {
  const stride = values.length / rows;
  if (stride === columns) return values;
  const kept = new Float32Array(rows * columns);
  for (let row = 0; row < rows; row++) kept.set(values.subarray(row * stride, row * stride + columns), row * columns);
  return kept;
}

async function main(file: string): Promise<void> {
  const request = JSON.parse(await fs.readFile(file, 'utf8')) as FitRequest;
  const { shape, data } = await readNpy(request.bits);
  const masks = { numModels: shape[0]!, numTrain: request.numTrain, bits: data as Uint8Array };
  const outputs = firstColumns(toFloat32(await readNpy(request.outputs)), masks.numModels, request.numTargets);
  const { isa, threads } = nativeAddon().systemInfo();
  const cpu = process.cpuUsage();
  const started = performance.now();
  const fitted = await fitDatamodels({ masks, outputs, numTargets: request.numTargets }, request.options, { threads: request.threads });
  const wallSeconds = (performance.now() - started) / 1000;
  const { user, system } = process.cpuUsage(cpu);
  await publishFile(request.result, encodeDatamodels(fitted));
  const answer: FitAnswer = {
    cpuSeconds: (user + system) / 1e6,
    wallSeconds,
    isa,
    threads: request.threads || threads,
    maxRssBytes: process.resourceUsage().maxRSS * 1024,
  };
  process.stdout.write(JSON.stringify(answer));
}

await main(process.argv[2]!);
