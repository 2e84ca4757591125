/** The engines that can be benchmarked, by name: a further one is one entry here. */
import { type EngineName, engineNames } from '../../engines/index.js';
import { NativeEngine } from '../../engines/native.js';
import { OrtEngine } from '../../engines/ort.js';
import type { IsaName, Precision } from '../../native/types.js';
import type { Engine, NetSpec } from '../../types.js';

/** One way to train: where and in which numbers. */
export interface Backend {
  engine: EngineName;
  /** '' for engines that choose their own instructions. */
  isa: IsaName;
  precision: Precision;
}

interface BenchEngine {
  make(backend: Backend, threads: number): Engine;
  precisions: readonly Precision[];
  /** It runs at the instruction set it is told to. */
  takesIsa: boolean;
  /** Buffers of one model in training. */
  memoryBytes?(backend: Backend, net: NetSpec, batchSize: number): number;
}

function nativeEngine({ isa, precision }: Backend, threads: number): NativeEngine {
  return new NativeEngine({ ...(isa === '' ? {} : { isa }), precision, threads });
}

const engines: Record<EngineName, BenchEngine> = {
  native: {
    make: nativeEngine,
    precisions: ['fp32', 'bf16'],
    takesIsa: true,
    memoryBytes: (backend, net, batchSize) => nativeEngine(backend, 1).describeNet(net, batchSize).memoryBytes,
  },
  ort: { make: (_backend, threads) => new OrtEngine({ threads }), precisions: ['fp32'], takesIsa: false },
};

/** What some engine here can do. */
export const precisions: readonly Precision[] = [...new Set(engineNames.flatMap((name) => engines[name].precisions))];

/** Every combination that exists, engines first. */
export function backendsOf(names: readonly EngineName[], isas: readonly IsaName[], wanted: readonly Precision[]): Backend[] {
  return names.flatMap((engine) => {
    const { takesIsa, precisions: known } = engines[engine];
    const levels = takesIsa ? isas : (['' as const] satisfies ''[]);
    return levels.flatMap((isa) =>
      wanted.filter((precision) => known.includes(precision)).map((precision) => ({ engine, isa, precision })),
    );
  });
}

export function makeEngine(backend: Backend, threads: number): Engine {
  return engines[backend.engine].make(backend, threads);
}

export function memoryOf(backend: Backend, net: NetSpec, batchSize: number): number | null {
  return engines[backend.engine].memoryBytes?.(backend, net, batchSize) ?? null;
}

/** "native-avx512", "ort" */
export function backendName({ engine, isa }: Backend): string {
  return isa === '' ? engine : `${engine}-${isa}`;
}
