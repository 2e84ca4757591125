/** What is chosen for many targets together: which targets, and what of the choice goes to each. */
import { Purpose, Random } from '../native/random.js';
import type { PenaltyChoice, TargetGroups } from '../types.js';
import type { DesignBlock } from './attributor.js';

/** Targets of a group that the choice is made on: with half as many the lambda of validation points still moves from split to split. */
export const sampleSize = 256;

/** The group of targets without groups. */
const everything = 'all targets';

/** Up to `sampleSize` random targets of each group, ascending. */
export function sampleTargets(numTargets: number, groups: TargetGroups | undefined, seed: number): Int32Array {
  const members = (groups?.names ?? [everything]).map((): number[] => []);
  for (let target = 0; target < numTargets; target++) members[groups?.of[target] ?? 0]!.push(target);
  const chosen = members.flatMap((targets, group) => {
    const random = new Random(seed, Purpose.holdout, 1 + group);
    const count = Math.min(sampleSize, targets.length);
    for (let drawn = 0; drawn < count; drawn++) {
      const other = drawn + random.below(targets.length - drawn);
      [targets[drawn], targets[other]] = [targets[other]!, targets[drawn]!];
    }
    return targets.slice(0, count);
  });
  return Int32Array.from(chosen).sort();
}

/** The columns of some targets of a block, each with its row weights. */
export function columnsOf(block: DesignBlock, numModels: number, targets: Int32Array): DesignBlock {
  const { outputs, rowWeights, numTargets, targetsPerRowWeight } = block;
  const pick = <T extends Float32Array | Uint8Array>(from: T, to: T, width: number, column: (target: number) => number): T => {
    for (let model = 0; model < numModels; model++) {
      targets.forEach((target, k) => (to[model * targets.length + k] = from[model * width + column(target)]!));
    }
    return to;
  };
  const size = numModels * targets.length;
  const weights =
    rowWeights && pick(rowWeights, new Uint8Array(size), numTargets / targetsPerRowWeight, (t) => Math.floor(t / targetsPerRowWeight));
  return {
    outputs: pick(outputs, new Float32Array(size), numTargets, (target) => target),
    numTargets: targets.length,
    ...(weights ? { rowWeights: weights } : {}),
    targetsPerRowWeight: 1,
  };
}

/** Positions in a sample of the members of each group, in the order of their names. */
export function membersOf(sample: Int32Array, groups: TargetGroups | undefined): { group: string; members: number[] }[] {
  return (groups?.names ?? [everything]).map((group, index) => ({
    group,
    members: [...sample.keys()].filter((k) => (groups?.of[sample[k]!] ?? 0) === index),
  }));
}

/** The choice of each of the targets [first, end). */
export function choicesOf(
  choices: readonly PenaltyChoice[],
  groups: TargetGroups | undefined,
  first: number,
  end: number,
): PenaltyChoice[] {
  return Array.from({ length: end - first }, (_, k) => choices[groups?.of[first + k] ?? 0]!);
}
