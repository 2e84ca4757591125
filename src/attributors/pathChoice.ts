/**
 * The choice of lambda and relaxation for many targets together: held-out scores of one target are mostly noise, their mean over a hundred
 * targets is not. What is shared is lambda as a share of each target's lambda_max.
 */
import { type ChoiceCriterion, defaultCriterion, type LassoOptions, type PenaltyChoice, type TargetGroups } from '../types.js';
import type { SampleBlock } from './attributor.js';
import { membersOf } from './pooled.js';

/** (numTargets, pathLength, relaxations) on the held-out models; NaN where a path did not get to. */
export interface PathScores {
  error: Float32Array;
  correlation: Float32Array;
}

/** A correlation over fewer held-out models says nothing: then squared errors choose. */
const fewestForCorrelation = 3;

/** What a choice is made among, and on. */
export interface ScoredPaths {
  sample: SampleBlock;
  groups: TargetGroups | undefined;
  relaxations: readonly number[];
  numHeldOut: number;
  /** Of the sample on the held-out models; absent where there are none. */
  scores?: PathScores;
}

/** One choice a group, in the order of their names. */
export function choosePenalties(
  options: LassoOptions,
  { sample: { sample }, groups, relaxations, numHeldOut, scores }: ScoredPaths,
): PenaltyChoice[] {
  const criterion = numHeldOut < fewestForCorrelation ? 'error' : (options.criterion ?? defaultCriterion);
  return membersOf(sample, groups).map(({ group, members }) => {
    const pooled = scores && poolScores(scores, members, options.pathLength, relaxations.length);
    // nothing to learn from: all weights are zero
    if (!pooled) return { group, lambdaRatio: 1, relaxation: 0, criterion, numSampled: 0, correlation: 0, error: 1 };
    const best = bestOf(pooled, criterion, relaxations.length);
    const step = Math.floor(best / relaxations.length) / Math.max(options.pathLength - 1, 1);
    return {
      group,
      lambdaRatio: options.lambdaMinRatio ** step,
      relaxation: relaxations[best % relaxations.length]!,
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
