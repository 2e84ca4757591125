/** The program of a child process that times training steps of one engine: node stepProcess.js REQUEST.json */
import fs from 'node:fs/promises';
import type { Dataset, Engine, TrainJob } from '../../types.js';
import { type Backend, makeEngine } from './engines.js';
import type { StepCase } from './types.js';
import { randomImages, stepsJob } from './work.js';

export interface StepRequest {
  backend: Backend;
  of: StepCase;
  threads: number;
  /** About so many seconds of steps are timed. */
  seconds: number;
}

export interface StepAnswer {
  /** Of all models together. */
  imagesPerCpuSecond: number;
  imagesPerWallSecond: number;
  /** Timed steps of each model. */
  steps: number;
  maxRssBytes: number;
}

interface Elapsed {
  cpu: number;
  wall: number;
}

/** Batches of different images: enough that they do not all stay in the first caches. */
const distinctBatches = 4;

async function main(file: string): Promise<void> {
  const { backend, of, threads, seconds } = JSON.parse(await fs.readFile(file, 'utf8')) as StepRequest;
  const { batchSize } = of;
  const dataset = randomImages(of.net, distinctBatches * batchSize);
  const engine = makeEngine(backend, threads);
  const run = (steps: number): Promise<Elapsed> =>
    timed(async () => {
      const jobs = Array.from({ length: threads }, (_, model) => ({ ...walk(steps, batchSize), modelIndex: model }));
      await train(engine, of, dataset, jobs);
    });
  await run(1); // the first call pays for pages and caches
  // setting up a call is no part of a step: it is measured with one step and subtracted
  const first = await run(1);
  let steps = Math.max(2, Math.ceil(seconds / first.wall));
  let all = await run(steps + 1);
  while (all.wall - first.wall < seconds / 2) {
    steps *= Math.max(2, Math.ceil(seconds / Math.max(all.wall - first.wall, seconds / 8)));
    all = await run(steps + 1);
  }
  const images = threads * steps * batchSize;
  const answer: StepAnswer = {
    imagesPerCpuSecond: images / (all.cpu - first.cpu),
    imagesPerWallSecond: images / (all.wall - first.wall),
    steps,
    maxRssBytes: process.resourceUsage().maxRSS * 1024,
  };
  process.stdout.write(JSON.stringify(answer));
}

/** One epoch of `steps` batches; a rate at which nothing diverges. */
function walk(steps: number, batchSize: number): TrainJob {
  const job = stepsJob([Int32Array.from({ length: steps * batchSize }, (_, i) => i % (distinctBatches * batchSize))], {
    learningRate: 1e-3,
    momentum: 0.9,
    weightDecay: 5e-4,
  });
  job.passes[0]!.terms[0]!.batchSize = batchSize;
  return job;
}

async function train(engine: Engine, { net }: StepCase, dataset: Dataset, jobs: TrainJob[]): Promise<void> {
  const outputs = { evalPoints: new Int32Array(0), evalEpochs: [], parameters: false };
  const results = await engine.trainMany(net, dataset, jobs, outputs, { threads: jobs.length });
  if (results.some(({ status }) => status !== 'trained')) throw new Error('a timed model diverged');
}

async function timed(work: () => Promise<void>): Promise<Elapsed> {
  const cpu = process.cpuUsage();
  const started = performance.now();
  await work();
  const wall = (performance.now() - started) / 1000;
  const { user, system } = process.cpuUsage(cpu);
  return { cpu: (user + system) / 1e6, wall };
}

await main(process.argv[2]!);
