/** The training report as tables for people. */
import { renderBudget } from '../budget.js';
import { table } from '../table.js';
import { renderLayers } from './layers.js';
import type { TrainBenchReport, TrainBenchResult } from './types.js';

export function renderTrainReport({ machine, results, layers, modelsPerHour, peerProblems, budget }: TrainBenchReport): string {
  const { cpu, cores, caches, node, compiler } = machine;
  const blocks = [`${cpu}, ${cores} cores, ${caches.join(', ')}; node ${node}, ${compiler}\n`];
  blocks.push(
    table(
      ['peaks', 'fp32 FMA GF/s', 'bf16 dot GF/s', 'bf16 tile GF/s'],
      machine.peaks.map(({ isa, ...peak }) => [isa, ...[peak.fmaGflops, peak.dotBf16Gflops, peak.amxBf16Gflops].map(shownPeak)]),
    ),
  );
  blocks.push(
    table(
      [
        'network',
        'batch',
        'backend',
        'precision',
        'threads',
        'images/s',
        'MAD',
        'n',
        'GF/s',
        'of peak',
        'memory',
        'check',
        'peer',
        'images/s',
        'MAD',
        'n',
        'ours / peer',
      ],
      results.map(row),
    ),
  );
  for (const layer of layers) blocks.push(renderLayers(layer));
  if (modelsPerHour.length > 0) {
    blocks.push(
      table(
        ['plan', 'network', 'batch', 'images a model', 'backend', 'precision', 'threads', 'models an hour'],
        modelsPerHour.map((each) => [
          each.plan,
          each.net,
          String(each.batchSize),
          String(each.imagesPerModel),
          each.backend,
          each.precision,
          String(each.threads),
          each.modelsPerHour.toPrecision(3),
        ]),
      ),
    );
  }
  const versions = new Set(results.flatMap(({ peers }) => peers.map(({ version }) => version)));
  const failures = results.flatMap(({ check }) => (check.passed || check.reason === undefined ? [] : [check.reason]));
  blocks.push([...versions, ...new Set(failures), ...peerProblems].map((line) => `${line}\n`).join(''), renderBudget(budget));
  return blocks.filter((block) => block !== '').join('\n');
}

function row({ peers, check, ...result }: TrainBenchResult): string[] {
  // the best of the peers of this precision
  const peer = [...peers].sort((a, b) => b.imagesPerSecond - a.imagesPerSecond)[0];
  const speedUp = result.speedUp === null ? '' : ` (${result.speedUp.toFixed(2)}x)`;
  return [
    result.net,
    String(result.batchSize),
    result.backend,
    result.precision,
    `${result.threads}${speedUp}`,
    number(result.imagesPerSecond),
    number(result.mad, 2),
    String(result.repeats),
    number(result.gflops, 3),
    result.shareOfPeak === null ? '' : `${(100 * result.shareOfPeak).toFixed(0)} %`,
    result.memoryBytes === null ? '' : `${(result.memoryBytes / 2 ** 20).toFixed(0)} MiB`,
    !check.passed ? 'FAILED' : check.against === undefined ? 'none' : `${check.gradientDifference!.toExponential(0)} ${check.against}`,
    peer ? peer.name : '',
    number(peer?.imagesPerSecond ?? null),
    number(peer?.mad ?? null, 2),
    peer ? String(peer.repeats) : '',
    peer ? `${peer.ratio.toPrecision(3)}x` : '',
  ];
}

/** 0 says that there are no such instructions. */
function shownPeak(value: number): string {
  return value === 0 ? '' : value.toPrecision(3);
}

function number(value: number | null, digits = 4): string {
  if (value === null) return '';
  return value >= 10 ** (digits - 1) ? value.toFixed(0) : value.toPrecision(digits);
}
