/** Options that the benchmarks share. */
import { defaultInterpreters } from '../bench/peers.js';
import { nativeAddon } from '../native/addon.js';
import type { IsaName } from '../native/types.js';
import { type Command, integerAtLeast, oneOf } from './common.js';

export const split = (text: string): string[] => text.split(',').map((part) => part.trim());

/** 0 stands for all. */
export function parseThreads(text: string): number[] {
  return split(text).map((count) => (count === 'all' ? 0 : integerAtLeast(1)(count)));
}

/** @throws LETHE_OPTION_UNKNOWN for a level that this machine has not */
export function instructionSets(names: string[] | undefined): IsaName[] {
  const { isa, availableIsas } = nativeAddon().systemInfo();
  return names === undefined ? [isa] : names.map((name) => oneOf('--isa', name, availableIsas));
}

export interface SuiteOptions {
  /** Seconds. */
  budget: number;
  python: string;
}

/** Of the suites that have rivals in Python. */
export function addSuiteOptions(suite: Command): Command {
  return suite
    .option('--budget <seconds>', 'for the whole suite; what does not fit is left out, and the report says so', integerAtLeast(1), 180)
    .option('--python <path>', 'the interpreter that has the peers', defaultInterpreters.python);
}
