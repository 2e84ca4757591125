/** The training benchmark: every row is checked, then timed, ours and PyTorch in turn on the same core. */
import { nativeAddon } from '../../native/addon.js';
import type { EngineName } from '../../engines/index.js';
import type { IsaName, Precision } from '../../native/types.js';
import { buildNet } from '../../models/index.js';
import { Budget } from '../budget.js';
import { describeMachine } from '../machine.js';
import { probePeers, type Rival } from '../peers.js';
import { allowedCores } from '../process.js';
import type { Machine } from '../types.js';
import { checkEngine, checkInputs, compareRuns } from './check.js';
import { type Backend, backendName, backendsOf, makeEngine } from './engines.js';
import { layerTable } from './layers.js';
import { timeSteps } from './steps.js';
import type { StepAnswer } from './stepProcess.js';
import { assembleRows, modelsPerHour, type PlanWork, type Samples } from './summarise.js';
import { checkTorch, timeTorch } from './torch.js';
import type { LayerTable, StepCase, TrainBenchReport, TrainBenchResult, TrainCheck } from './types.js';

export interface TrainBenchOptions {
  widths: readonly number[];
  batches: readonly number[];
  engines: readonly EngineName[];
  isas: readonly IsaName[];
  precisions: readonly Precision[];
  /** Models trained at the same time, each on a core; 0 for as many as there are cores. Peers run beside 1. */
  threads: readonly number[];
  repeats: number;
  /** About so many seconds of steps a sample. */
  seconds: number;
  peers: readonly Rival[];
  /** Also measure every layer of the native engine's steps. */
  perLayer: boolean;
  /** Whose models an hour are wanted; absent: nobody's. */
  plan?: PlanWork;
  /** For all of it; networks, tables of layers and the plan share it equally. */
  budgetSeconds: number;
  say: (line: string) => void;
  signal?: AbortSignal;
}

interface Session extends TrainBenchOptions {
  budget: Budget;
  backends: Backend[];
  cores: readonly number[];
  machine: Machine;
}

const input = { height: 32, width: 32, channels: 3 };
const numClasses = 10;

export function stepCase(width: number, batchSize: number): StepCase {
  return { net: buildNet({ name: 'resnet9', width, input, numClasses }), width, batchSize };
}

/**
 * A row whose check fails is not timed and says why. A peer that cannot be run is a problem in the report, not an error.
 * @throws LETHE_NET_INVALID for a width that no network has, LETHE_BENCH_PROCESS (exit code 1), LETHE_TASK_ABORTED (75)
 */
export async function benchTrain(options: TrainBenchOptions): Promise<TrainBenchReport> {
  const { say, signal: interrupt, plan } = options;
  const budget = new Budget({ seconds: options.budgetSeconds, say, interrupt });
  const cases = options.widths.flatMap((width) => options.batches.map((batchSize) => stepCase(width, batchSize)));
  const backends = backendsOf(options.engines, options.isas, options.precisions);
  const { available, problems: peerProblems } = await probePeers(options.peers, say);
  say('measuring peaks');
  const machine = await describeMachine(options.isas);
  const session: Session = { ...options, budget, peers: available, backends, cores: await allowedCores(), machine };
  const measured = options.perLayer ? backends.flatMap(({ isa, precision }) => (isa === '' ? [] : [{ isa, precision }])) : [];
  const tables = measured.flatMap((backend) => cases.map((of) => ({ of, backend })));
  let parts = cases.length + tables.length + (plan === undefined ? 0 : 1);
  const next = (): Session => ({ ...session, budget: budget.share(parts--) });
  const results: TrainBenchResult[] = [];
  for (const of of cases) for (const result of await benchCase(of, next())) results.push(result);
  const layers: LayerTable[] = [];
  for (const { of, backend } of tables) {
    const table = await next().budget.attempt(() => layerTable(of, backend, options.seconds, machine));
    if (table) layers.push(table);
    else budget.cut(`${labelOf(of)}: no table of layers`);
  }
  const perHour = plan === undefined ? [] : await planRows(plan, next());
  return { machine, results, layers, modelsPerHour: perHour, peerProblems, budget: budget.report() };
}

function labelOf({ net, batchSize }: StepCase): string {
  return `${net.name}, batch ${batchSize}`;
}

async function benchCase(of: StepCase, session: Session): Promise<TrainBenchResult[]> {
  session.say(`${labelOf(of)}: checking`);
  const checks = await session.budget.attempt((signal) => checkBackends(of, session, signal));
  if (!checks) {
    session.budget.cut(`${labelOf(of)}: not checked, so not timed`);
    return [];
  }
  session.say(`${labelOf(of)}: timing`);
  const samples = await timeCase(of, checks, session);
  const results = assembleRows(of, checks, samples, session.machine);
  for (const { backend, precision, threads, imagesPerSecond, check, peers } of results) {
    const rivals = peers.map(({ name, ratio }) => `, ${ratio.toPrecision(3)}x ${name}`).join('');
    const outcome = imagesPerSecond === null ? (check.reason ?? 'not timed') : `${imagesPerSecond.toPrecision(4)} images/s${rivals}`;
    session.say(`${labelOf(of)}: ${backend} ${precision}, ${threads} threads: ${outcome}`);
  }
  return results;
}

/** PyTorch is the other opinion where it is; else the native engine at another level, in fp32. */
async function checkBackends(of: StepCase, session: Session, signal: AbortSignal): Promise<Map<Backend, TrainCheck>> {
  const { backends, peers, cores } = session;
  const layout = nativeAddon().describeNet(of.net, '', 'fp32', of.batchSize);
  const inputs = await checkInputs(makeEngine(backends[0]!, 1), of, { signal });
  const torch = peers[0];
  const theirs = torch && (await checkTorch(torch, of, inputs, layout.parameters, { cores: cores.slice(0, 1), signal }));
  const checks = new Map<Backend, TrainCheck>();
  for (const backend of backends) {
    const ours = await checkEngine(makeEngine(backend, 1), of, inputs, layout.numTrainable, { signal });
    const other = theirs === undefined ? otherLevel(backend) : undefined;
    const expected = theirs ?? (other && (await checkEngine(makeEngine(other, 1), of, inputs, layout.numTrainable, { signal })));
    const against = torch?.name ?? (other && `${backendName(other)} ${other.precision}`);
    const { precision } = backend;
    checks.set(backend, expected && against ? compareRuns(against, precision, inputs.parameters, expected, ours) : { passed: true });
  }
  return checks;
}

/** Portable fp32, or for that itself the highest level; none on a machine that has no other. */
function otherLevel({ isa, precision }: Backend): Backend | undefined {
  const isPortable = isa === 'portable' && precision === 'fp32';
  const level = isPortable ? nativeAddon().systemInfo().isa : 'portable';
  return isPortable && level === 'portable' ? undefined : { engine: 'native', isa: level, precision: 'fp32' };
}

/** All of ours, the peer, all of ours, ... so that a change of the machine's speed meets both sides. */
async function timeCase(of: StepCase, checks: ReadonlyMap<Backend, TrainCheck>, session: Session): Promise<Samples> {
  const { budget, peers, precisions, cores, seconds, repeats } = session;
  const passed = session.backends.filter((backend) => checks.get(backend)!.passed);
  const samples: Samples = {
    ours: session.backends.flatMap((backend) =>
      threadCounts(session).map((threads) => ({ backend, threads, answers: [] as StepAnswer[] })),
    ),
    peers: peers.map(({ name }) => ({ name, answers: [] })),
  };
  await budget.repeat(passed.length === 0 ? 0 : repeats, labelOf(of), async (signal) => {
    for (const { backend, threads, answers } of samples.ours.filter((sample) => passed.includes(sample.backend))) {
      answers.push(await timeSteps({ backend, of, threads, seconds }, { cores: coresFor(threads, cores), signal }));
    }
    for (const [i, peer] of peers.entries()) {
      const place = { cores: cores.slice(0, 1), signal };
      samples.peers[i]!.answers.push(await timeTorch(peer, of, precisions, seconds, place));
    }
  });
  return samples;
}

function threadCounts({ threads }: TrainBenchOptions): number[] {
  const all = nativeAddon().systemInfo().threads;
  return [...new Set(threads.map((count) => (count === 0 ? all : count)))];
}

function coresFor(threads: number, cores: readonly number[]): readonly number[] {
  return threads < cores.length ? cores.slice(0, threads) : [];
}

/** The steps of the plan's own network and batch, a model on every core, and what they amount to. */
async function planRows(plan: PlanWork, session: Session): Promise<TrainBenchReport['modelsPerHour']> {
  const of = stepCase(plan.width, plan.batchSize);
  session.say(`${plan.name}: ${labelOf(of)} on all cores`);
  const threads = nativeAddon().systemInfo().threads;
  const checks = await session.budget.attempt((signal) => checkBackends(of, session, signal));
  if (!checks) {
    session.budget.cut(`${plan.name}: not checked, so not counted`);
    return [];
  }
  const ours = { backends: session.backends.filter((backend) => checks.get(backend)!.passed), peers: [], threads: [threads] };
  const samples = await timeCase(of, checks, { ...session, ...ours });
  return modelsPerHour(plan, of, samples);
}
