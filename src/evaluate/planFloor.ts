/** KLOM of the models of a plan, and its floor. */
import type { TaskContext } from '../jobs/task.js';
import type { KlomFloor, Plan, SplitName } from '../types.js';
import { trainsOnOracles, unlearnMethod } from '../unlearn/registry.js';
import { klomFloor } from './floor.js';
import { type Divergences, divergences, klom, type KlomResult } from './klom.js';
import { numPointsOf, type Outputs } from './outputs.js';
import { summariseSplits } from './percentile.js';

/** NaN where no model is left. */
export async function klomOf(
  context: TaskContext,
  oracles: Outputs,
  unlearned: Outputs,
): Promise<Pick<KlomResult, 'scores' | 'numNonFinite'>> {
  const numPoints = numPointsOf(context);
  const [numOracles, numUnlearned] = [oracles.models.length, unlearned.models.length];
  if (numUnlearned === 0) return { scores: new Float64Array(numPoints).fill(NaN), numNonFinite: 0 };
  const margins = { oracleMargins: oracles.margins, unlearnedMargins: unlearned.margins };
  return klom({ ...margins, numOracles, numUnlearned, numPoints }, context.plan.klom, context);
}

/** NaN where no model is left. */
export async function divergencesOf(context: TaskContext, oracles: Outputs, unlearned: Outputs): Promise<Divergences> {
  const numPoints = numPointsOf(context);
  const [numOracles, numUnlearned] = [oracles.models.length, unlearned.models.length];
  if (numOracles === 0 || numUnlearned === 0) {
    const nothing = (): Float64Array => new Float64Array(numPoints).fill(NaN);
    return { gaussian: nothing(), neighbours: nothing() };
  }
  const margins = { oracleMargins: oracles.margins, unlearnedMargins: unlearned.margins };
  return divergences({ ...margins, numOracles, numUnlearned, numPoints }, context.plan.klom.clip, context);
}

/** Matched oracles scored as if they were unlearned models: what perfection looks like with these numbers of models. */
export async function floorOf(
  context: TaskContext,
  forgetSet: string,
  { scored, matched }: { scored: Outputs; matched: Outputs },
  splits: Record<SplitName, Int32Array>,
): Promise<KlomFloor> {
  const { plan } = context;
  const [numOracles, numHeldOut] = [scored.models.length, matched.models.length];
  const result = await klomOf(context, scored, matched);
  const tabulated = numHeldOut === 0 ? { mean: NaN, p95: NaN } : await klomFloor({ numOracles, numUnlearned: numHeldOut }, plan.klom);
  return {
    forgetSet,
    numOracles,
    numHeldOut,
    measured: summariseSplits(result.scores, splits),
    tabulatedMean: tabulated.mean,
    tabulatedP95: tabulated.p95,
    ...(await copiesFloor(plan)),
  };
}

/** What oracle matching would score at best, were all models of the plan scored. */
async function copiesFloor({ methods, originals, oracles, klom: options }: Plan): Promise<Pick<KlomFloor, 'copies'>> {
  const [numUnlearned, numDistinct] = [Math.min(originals.count, oracles.scored), oracles.matched];
  if (numDistinct >= numUnlearned || !methods.some(({ method }) => trainsOnOracles(unlearnMethod(method)))) return {};
  const floor = await klomFloor({ numOracles: numUnlearned, numUnlearned, numDistinct }, options);
  return { copies: { numUnlearned, numDistinct, ...floor } };
}
