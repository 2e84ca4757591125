/**
 * The choice of lambda and relaxation for many targets together: held-out scores of one target are mostly noise, their mean over a hundred
 * targets is not. What is shared is lambda as a share of each target's lambda_max.
 */
import { Purpose, Random } from '../native/random.js';
import { type ChoiceCriterion, defaultCriterion, type PenaltyChoice, type RunOptions, type TargetGroups } from '../types.js';
import type { Design, DesignBlock, PathScores, Penalties } from './design.js';

/** Targets of a group that the choice is made on: with half as many the lambda of validation points still moves from split to split. */
export const sampleSize = 256;

/** Shares of least squares to choose from. */
export const relaxations: readonly number[] = [0, 0.25, 0.5, 0.75, 1];

/** A correlation over fewer held-out models says nothing: then squared errors choose. */
const fewestForCorrelation = 3;

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

/** A block of sampled targets. */
export interface SampleBlock extends DesignBlock {
  /** Their numbers. */
  sample: Int32Array;
}

/** One choice a group, in the order of their names. @throws LETHE_TASK_ABORTED (75) */
export async function choosePenalties(
  design: Design,
  { sample, ...block }: SampleBlock,
  groups: TargetGroups | undefined,
  run: RunOptions = {},
): Promise<PenaltyChoice[]> {
  const { options, numHeldOut } = design;
  const candidates = options.estimator === 'marginal' ? [0] : options.relaxation === undefined ? relaxations : [options.relaxation];
  const criterion = numHeldOut < fewestForCorrelation ? 'error' : (options.criterion ?? defaultCriterion);
  const scores = numHeldOut === 0 ? undefined : await design.score(block, candidates, run);
  return (groups?.names ?? [everything]).map((group, index) => {
    const members = [...sample.keys()].filter((k) => (groups?.of[sample[k]!] ?? 0) === index);
    const pooled = scores && poolScores(scores, members, options.pathLength, candidates.length);
    // nothing to learn from: all weights are zero
    if (!pooled) return { group, lambdaRatio: 1, relaxation: 0, criterion, numSampled: 0, correlation: 0, error: 1 };
    const best = bestOf(pooled, criterion, candidates.length);
    const step = Math.floor(best / candidates.length) / Math.max(options.pathLength - 1, 1);
    return {
      group,
      lambdaRatio: options.lambdaMinRatio ** step,
      relaxation: candidates[best % candidates.length]!,
      criterion,
      numSampled: pooled.numSampled,
      correlation: pooled.correlation[best]!,
      error: pooled.error[best]!,
    };
  });
}

/** Over the targets of a group, each (reached lambdas, relaxations). */
interface Pooled extends Record<ChoiceCriterion, Float64Array> {
  numSampled: number;
}

/**
 * Lambdas down to those that half of the targets have reached; a target whose path has ended before keeps its last scores, as what would
 * come is no better. Targets without a path are left out.
 */
function poolScores(scores: PathScores, members: number[], pathLength: number, numRelaxations: number): Pooled | undefined {
  const size = pathLength * numRelaxations;
  const reached = (k: number): number => {
    let lambdas = 0;
    while (lambdas < pathLength && !Number.isNaN(scores.error[k * size + lambdas * numRelaxations]!)) lambdas++;
    return lambdas;
  };
  const paths = members.map((k) => ({ from: k * size, lambdas: reached(k) })).filter(({ lambdas }) => lambdas > 0);
  if (paths.length === 0) return undefined;
  const lengths = paths.map(({ lambdas }) => lambdas).sort((a, b) => a - b);
  const width = lengths[Math.floor(lengths.length / 2)]! * numRelaxations;
  const mean = (score: Float32Array): Float64Array =>
    Float64Array.from({ length: width }, (_, position) => {
      const relaxation = position % numRelaxations;
      const last = ({ from, lambdas }: (typeof paths)[0]): number => from + Math.min(position, (lambdas - 1) * numRelaxations + relaxation);
      return paths.reduce((total, path) => total + score[last(path)]!, 0) / paths.length;
    });
  return { numSampled: paths.length, correlation: mean(scores.correlation), error: mean(scores.error) };
}

/**
 * Scores with this share of the highest correlation, and among them of the most explained variance, are as good. Of these the largest
 * relaxation, as a method adds up many weights of a forget set: noise averages out in the sum, shrinkage stays.
 */
const asGood = 0.97;

/** Of equals the first: the largest lambda. */
function bestOf({ correlation, error }: Pooled, criterion: ChoiceCriterion, numRelaxations: number): number {
  const least = (positions: number[]): number =>
    positions.reduce((best, position) => (error[position]! < error[best]! ? position : best), positions[0]!);
  const positions = [...error.keys()];
  if (criterion === 'error') return least(positions);
  const most = correlation.reduce((largest, score) => Math.max(largest, score), 0);
  const correlated = positions.filter((position) => correlation[position]! >= asGood * most);
  const first = least(correlated);
  const explained = Math.max(0, asGood * (1 - error[first]!));
  const good = [first, ...correlated.filter((position) => 1 - error[position]! >= explained)];
  const relaxation = good.reduce((largest, position) => Math.max(largest, position % numRelaxations), 0);
  return least(good.filter((position) => position % numRelaxations === relaxation));
}

/** Of targets [first, end). */
export function penaltiesOf(choices: readonly PenaltyChoice[], groups: TargetGroups | undefined, first: number, end: number): Penalties {
  const choiceOf = (k: number): PenaltyChoice => choices[groups?.of[first + k] ?? 0]!;
  return {
    lambdaRatio: Float64Array.from({ length: end - first }, (_, k) => choiceOf(k).lambdaRatio),
    relaxation: Float64Array.from({ length: end - first }, (_, k) => choiceOf(k).relaxation),
  };
}
