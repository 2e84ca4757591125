/** From samples to the rows of the report. */
import { median, medianDeviation } from '../statistics.js';
import type { Precision } from '../../native/types.js';
import type { Machine } from '../types.js';
import { type Backend, backendName, memoryOf } from './engines.js';
import type { StepAnswer } from './stepProcess.js';
import type { TorchRate } from './torch.js';
import type { ModelsPerHour, StepCase, TrainBenchResult, TrainCheck, TrainPeerResult } from './types.js';
import { flopsPerImage } from './work.js';

export interface Samples {
  ours: { backend: Backend; threads: number; answers: StepAnswer[] }[];
  peers: { name: string; answers: { version: string; rates: TorchRate[] }[] }[];
}

/** What a plan asks for: how its models are trained, and on how many images each. */
export interface PlanWork {
  name: string;
  width: number;
  batchSize: number;
  epochs: number;
  imagesPerModel: number;
}

const ratesOf = ({ threads, answers }: Samples['ours'][number]): number[] =>
  answers.map(({ imagesPerCpuSecond, imagesPerWallSecond }) => (threads === 1 ? imagesPerCpuSecond : imagesPerWallSecond));

export function assembleRows(
  of: StepCase,
  checks: ReadonlyMap<Backend, TrainCheck>,
  samples: Samples,
  machine: Machine,
): TrainBenchResult[] {
  const flops = flopsPerImage(of.net);
  return samples.ours.map((sample) => {
    const { backend, threads, answers } = sample;
    const rates = ratesOf(sample);
    const rate = rates.length === 0 ? null : median(rates);
    const gflops = rate === null ? null : rate * flops * 1e-9;
    const peak = peakOf(machine, backend);
    const alone = samples.ours.find((other) => other.backend === backend && other.threads === 1 && other.answers.length > 0);
    return {
      net: of.net.name,
      width: of.width,
      batchSize: of.batchSize,
      engine: backend.engine,
      backend: backendName(backend),
      precision: backend.precision,
      threads,
      imagesPerSecond: rate,
      mad: rate === null ? null : medianDeviation(rates),
      repeats: rates.length,
      flopsPerImage: flops,
      gflops,
      shareOfPeak: gflops === null || peak === undefined ? null : gflops / (peak * threads),
      memoryBytes: memoryOf(backend, of.net, of.batchSize),
      maxRssBytes: rate === null ? null : answers.reduce((most, { maxRssBytes }) => Math.max(most, maxRssBytes), 0),
      speedUp: rate === null || threads === 1 || !alone ? null : rate / median(ratesOf(alone)),
      check: checks.get(backend)!,
      peers: threads === 1 && rate !== null ? samples.peers.flatMap((peer) => peerRows(peer, backend.precision, rate)) : [],
    };
  });
}

/** GF/s of one core, of the fastest instructions for the precision that is trained in; undefined where the level was not measured. */
export function peakOf({ peaks, isa: best }: Machine, { isa, precision }: Pick<Backend, 'isa' | 'precision'>): number | undefined {
  const peak = peaks.find((each) => each.isa === (isa || best));
  return peak && (precision === 'fp32' ? peak.fmaGflops : peak.amxBf16Gflops || peak.dotBf16Gflops || peak.fmaGflops);
}

function peerRows({ name, answers }: Samples['peers'][number], precision: Precision, ours: number): TrainPeerResult[] {
  const rates = answers
    .flatMap((answer) => answer.rates.filter((rate) => rate.precision === precision))
    .map((rate) => rate.imagesPerCpuSecond);
  if (rates.length === 0) return [];
  const imagesPerSecond = median(rates);
  const { version } = answers[0]!;
  return [{ name, version, precision, imagesPerSecond, mad: medianDeviation(rates), repeats: rates.length, ratio: ours / imagesPerSecond }];
}

export function modelsPerHour(
  { name, batchSize, epochs, imagesPerModel }: PlanWork,
  { net }: StepCase,
  { ours }: Samples,
): ModelsPerHour[] {
  return ours
    .filter(({ answers }) => answers.length > 0)
    .map((sample) => {
      const imagesPerSecond = median(ratesOf(sample));
      return {
        plan: name,
        net: net.name,
        batchSize,
        epochs,
        imagesPerModel,
        backend: backendName(sample.backend),
        precision: sample.backend.precision,
        threads: sample.threads,
        imagesPerSecond,
        modelsPerHour: (3600 * imagesPerSecond) / imagesPerModel,
      };
    });
}
