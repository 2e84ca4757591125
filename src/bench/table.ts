/** The report as tables for people. */
import { renderBudget } from './budget.js';
import type { BenchResult, LassoBenchReport, PeerResult } from './types.js';

export function renderReport({ machine, results, kernels, peerProblems, budget }: LassoBenchReport): string {
  const { cpu, cores, caches, node, compiler } = machine;
  const blocks = [`${cpu}, ${cores} cores, ${caches.join(', ')}; node ${node}, ${compiler}\n`];
  const peaks = machine.peaks.map(({ isa, ...peak }) => [
    isa,
    ...[peak.fmaGflops, peak.popcountGwords, peak.copyGbytes, peak.copyCachedGbytes].map((value) => value.toPrecision(3)),
  ]);
  blocks.push(table(['peaks', 'fp32 FMA GF/s', 'popcount Gword/s', 'copy GB/s', 'copy in L2 GB/s'], peaks));
  blocks.push(
    table(
      ['kernel', 'shape', 'backend', 'rate', 'unit', 'share of peak'],
      kernels.map(({ kernel, shape, backend, rate, unit, shareOfPeak }) => [
        kernel,
        shape,
        backend,
        rate.toPrecision(3),
        unit,
        `${(100 * shareOfPeak).toFixed(0)} %`,
      ]),
    ),
  );
  blocks.push(
    table(['op', 'shape', 'mode', 'backend', 'threads', 'median', 'MAD', 'n', 'max gap', 'peer', 'ratio'], results.flatMap(rows)),
  );
  const used = new Map(results.flatMap(({ peers }) => peers.map(({ name, version }) => [name.split(' ')[0]!, version] as const)));
  const notes = [...used].map(([name, version]) => `${name}: ${version}`);
  if (results.some(({ peers }) => peers.some(({ equalAccuracy }) => !equalAccuracy))) {
    notes.push('* less accurate than ours: not a comparison at equal gap');
  }
  blocks.push([...notes, ...peerProblems].map((line) => `${line}\n`).join(''), renderBudget(budget));
  return blocks.filter((block) => block !== '').join('\n');
}

function rows(result: BenchResult): string[][] {
  const { m, n, numTargets, mode, backend, threads, secondsPerTarget, madSecondsPerTarget, repeats, maxRelativeGap, peers } = result;
  const first = ['lasso', `${m} x ${n} x ${numTargets}`, mode];
  return [
    [
      ...first,
      backend,
      String(threads),
      milliseconds(secondsPerTarget),
      milliseconds(madSecondsPerTarget),
      String(repeats),
      gap(maxRelativeGap),
      '',
      '',
    ],
    ...peers.map((peer) => [...first, '', '1', ...peerColumns(peer)]),
  ];
}

function peerColumns({ name, secondsPerTarget, madSecondsPerTarget, repeats, maxRelativeGap, equalAccuracy, ratio }: PeerResult): string[] {
  const shown = equalAccuracy ? name : `${name} *`;
  return [
    milliseconds(secondsPerTarget),
    milliseconds(madSecondsPerTarget),
    String(repeats),
    gap(maxRelativeGap),
    shown,
    `${ratio.toPrecision(3)}x`,
  ];
}

const milliseconds = (seconds: number): string => `${seconds < 0.1 ? (1000 * seconds).toPrecision(3) : (1000 * seconds).toFixed(0)} ms`;
const gap = (value: number): string => value.toExponential(1);

/** Columns as wide as their widest cell, two spaces apart. */
export function table(head: string[], body: string[][]): string {
  const widths = head.map((title, column) => body.reduce((widest, row) => Math.max(widest, row[column]!.length), title.length));
  return [head, ...body]
    .map(
      (row) =>
        `${row
          .map((cell, column) => cell.padEnd(widths[column]!))
          .join('  ')
          .trimEnd()}\n`,
    )
    .join('');
}
