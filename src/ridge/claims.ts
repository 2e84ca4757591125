/** The paper's sentences about its linear experiments, each answered from the numbers: yes or no, and by how much. */
import type {
  RidgeBatch,
  RidgeClaim,
  RidgeCurve,
  RidgeEntry,
  RidgeGeometry,
  RidgeMethodName,
  RidgeSpanCurve,
  RidgeSettings,
} from '../types.js';
import { arrivedBelow, stepGrid } from './settings.js';

/** What the claims look at. */
export interface Evidence {
  settings: RidgeSettings;
  geometry: RidgeGeometry[];
  entries: RidgeEntry[];
  spanCurves: RidgeSpanCurve[];
}

const batches = ['full', 'stochastic'] as const;

export function judgeClaims(evidence: Evidence): RidgeClaim[] {
  const { settings } = evidence;
  const claims = [
    fasterInFullBatch(evidence),
    descentAtLargeLambda(evidence),
    retainOnlyStalls(evidence),
    ascentStalls(evidence),
    ascentTurnsAway(evidence),
    ...settings.lambdas.map((lambda) => fasterInBatches(evidence, lambda)),
  ];
  const ofExample1 = [smallerStep(evidence), similarFullStep(evidence), ...spans(evidence)];
  if (settings.example === 1) return [...masses(evidence), ...claims, ...ofExample1];
  // the paper claims the same patterns for example 2, but says these only of example 1
  return [...claims, ...ofExample1.map((claim) => ({ ...claim, statement: `as in example 1: ${claim.statement}` }))];
}

/** The entry of a method in a setting, of descent-ascent the representative weight. */
function entryOf({ entries }: Evidence, method: RidgeMethodName, batch: RidgeBatch, lambda: number): RidgeEntry {
  return entries.find((each) => each.method === method && each.batch === batch && each.lambda === lambda && each.representative)!;
}

const small = (value: number): string => (Number.isFinite(value) ? value.toExponential(1) : 'infinity');
const iterations = (value: number): string => (Number.isFinite(value) ? value.toFixed(0) : 'never');
const settingName = (batch: RidgeBatch, lambda: number): string => `${batch}, lambda ${lambda}`;

function masses({ geometry, settings }: Evidence): RidgeClaim[] {
  const [{ forgetMassInSpan, updateMassInSpan, lambda }] = geometry as [RidgeGeometry];
  const forget = forgetMassInSpan.p50;
  const update = updateMassInSpan.p50;
  return [
    {
      name: 'forget-mass-in-span',
      statement: '24 % of the mass of the forget points lies in the span of the retain set',
      holds: Math.abs(forget - 0.24) <= 0.02,
      numbers: `${(100 * forget).toFixed(1)} % (retain points / dimension = ${((100 * (settings.numTrain - settings.numForget)) / settings.dimension).toFixed(1)} %)`,
    },
    {
      name: 'update-mass-in-span',
      statement: 'the span captures less than 0.01 % of the mass of theta_* - theta_full (small lambda)',
      holds: update < 1e-4,
      numbers: `${(100 * update).toPrecision(2)} % at lambda ${lambda}`,
    },
  ];
}

function fasterInFullBatch(evidence: Evidence): RidgeClaim {
  const lambda = evidence.settings.lambdas[0];
  const om = entryOf(evidence, 'oracle-matching', 'full', lambda).iterationsToTolerance.p50;
  const gd = entryOf(evidence, 'gradient-descent', 'full', lambda).iterationsToTolerance.p50;
  return {
    name: 'full-small-lambda',
    statement: `full batch, small lambda (${lambda}): OM converges faster than GD`,
    holds: om < gd,
    numbers: `R <= ${small(arrivedBelow)} after ${iterations(om)} iterations against ${iterations(gd)}`,
  };
}

function descentAtLargeLambda(evidence: Evidence): RidgeClaim {
  const lambda = evidence.settings.lambdas[1];
  const om = entryOf(evidence, 'oracle-matching', 'full', lambda).iterationsToTolerance.p50;
  const gd = entryOf(evidence, 'gradient-descent', 'full', lambda).iterationsToTolerance.p50;
  return {
    name: 'full-large-lambda',
    statement: `full batch, large lambda (${lambda}): GD converges slightly faster than OM`,
    holds: gd < om,
    numbers: `R <= ${small(arrivedBelow)} after ${iterations(gd)} iterations against ${iterations(om)}, ${(om / gd).toFixed(1)} times fewer`,
  };
}

/** Lowest median R at the end of any step size of any entry. */
function lowestFinal(entries: readonly RidgeEntry[]): number {
  return entries.flatMap(({ steps }) => steps.map(({ finalDistance }) => finalDistance)).reduce((a, b) => Math.min(a, b), Infinity);
}

/** A method that ends above R = 1e-6 at every step size (and weight) in every setting. */
function stalls(evidence: Evidence, method: RidgeMethodName): { holds: boolean; numbers: string } {
  const parts = batches.flatMap((batch) =>
    evidence.settings.lambdas.map((lambda) => {
      const entries = evidence.entries.filter((each) => each.method === method && each.batch === batch && each.lambda === lambda);
      return { setting: settingName(batch, lambda), lowest: lowestFinal(entries) };
    }),
  );
  const held = parts.filter(({ lowest }) => lowest > arrivedBelow).length;
  return {
    holds: held === parts.length,
    numbers: `holds in ${held} of ${parts.length} settings; lowest final R of any step size: ${parts.map(({ setting, lowest }) => `${lowest < 0.01 ? small(lowest) : lowest.toFixed(3)} (${setting})`).join(', ')}`,
  };
}

function retainOnlyStalls(evidence: Evidence): RidgeClaim {
  const statement = 'OM on the retain set alone does not converge';
  return { name: 'om-retain-stalls', statement, ...stalls(evidence, 'oracle-matching-retain') };
}

function ascentStalls(evidence: Evidence): RidgeClaim {
  const statement = 'GD + ascent does not converge, whatever the weight';
  return { name: 'ascent-stalls', statement, ...stalls(evidence, 'descent-ascent') };
}

function ascentTurnsAway(evidence: Evidence): RidgeClaim {
  const parts = batches.flatMap((batch) =>
    evidence.settings.lambdas.map((lambda) => {
      const { lowestDistance, finalDistance, ascentWeight } = entryOf(evidence, 'descent-ascent', batch, lambda);
      const weights = evidence.entries.filter((each) => each.method === 'descent-ascent' && each.batch === batch && each.lambda === lambda);
      const lost = weights.filter((each) => each.finalDistance.p50 > 1).map((each) => each.ascentWeight!);
      return {
        setting: settingName(batch, lambda),
        lowest: lowestDistance.p50,
        final: finalDistance.p50,
        ascentWeight: ascentWeight!,
        lost,
      };
    }),
  );
  const turns = ({ lowest, final }: (typeof parts)[number]): boolean => lowest < 0.5 && final > 2 * lowest;
  return {
    name: 'ascent-turns-away',
    statement: 'GD + ascent first comes nearer to theta_*, then moves away (at its best weight and step: final R above twice the lowest)',
    holds: parts.every(turns),
    numbers: `holds in ${parts.filter(turns).length} of ${parts.length} settings: ${parts
      .map(
        ({ setting, lowest, final, ascentWeight, lost }) =>
          `${small(lowest)} then ${small(final)} at weight ${ascentWeight} (${setting}; weights that end above R = 1: ${lost.join(', ') || 'none'})`,
      )
      .join(', ')}`,
  };
}

function fasterInBatches(evidence: Evidence, lambda: number): RidgeClaim {
  const om = entryOf(evidence, 'oracle-matching', 'stochastic', lambda);
  const gd = entryOf(evidence, 'gradient-descent', 'stochastic', lambda);
  const reached = `R <= ${small(arrivedBelow)} after ${iterations(om.iterationsToTolerance.p50)} iterations`;
  return {
    name: `stochastic-lambda-${lambda}`,
    statement: `stochastic, lambda ${lambda}: OM converges faster than GD`,
    holds: om.iterationsToTolerance.p50 < gd.iterationsToTolerance.p50 && om.finalDistance.p50 < gd.lowestDistance.p50,
    numbers: `OM has ${reached}, GD ${iterations(gd.iterationsToTolerance.p50)} (its lowest R in ${evidence.settings.iterations.stochastic} iterations is ${small(gd.lowestDistance.p50)})`,
  };
}

function stepRatio(evidence: Evidence, batch: RidgeBatch): { ratio: number; numbers: string } {
  const { lambdas, iterations: lengths } = evidence.settings;
  const [few, many] = lambdas.map((lambda) => entryOf(evidence, 'gradient-descent', batch, lambda)) as [RidgeEntry, RidgeEntry];
  const ratio = few.step / many.step;
  const step = ({ stepHalvings, lambda }: RidgeEntry): string => {
    return `10/2^${stepHalvings}${stepHalvings === stepGrid.length - 1 ? ', the smallest of the grid,' : ''} at lambda ${lambda}`;
  };
  return { ratio, numbers: `${ratio.toPrecision(3)} times in ${lengths[batch]} iterations: ${step(few)}, ${step(many)}` };
}

function smallerStep(evidence: Evidence): RidgeClaim {
  const { ratio, numbers } = stepRatio(evidence, 'stochastic');
  return {
    name: 'stochastic-step-ratio',
    statement: 'the best step of stochastic GD is about 100 times smaller at the large lambda (50 to 200 counts)',
    holds: ratio >= 50 && ratio <= 200,
    numbers,
  };
}

function similarFullStep(evidence: Evidence): RidgeClaim {
  const { ratio, numbers } = stepRatio(evidence, 'full');
  return {
    name: 'full-step-ratio',
    statement: 'the best step of full-batch GD is similar at both lambdas (at most a factor of 4)',
    holds: ratio <= 4 && ratio >= 0.25,
    numbers,
  };
}

/** Figure E.1: what a step size four times the best does inside and orthogonal to the retain span. */
function spans({ spanCurves }: Evidence): RidgeClaim[] {
  const at = (factor: number): RidgeSpanCurve => spanCurves.find((each) => each.factor === factor)!;
  const end = ({ p50 }: RidgeCurve): number => p50.at(-1)!;
  const early = ({ iterations: logged, p50 }: RidgeCurve): number => p50[logged.findIndex((t) => t >= logged.at(-1)! / 10)]!;
  const inside = [0.25, 1, 4].map((factor) => end(at(factor).inSpan)) as [number, number, number];
  const outside = [0.25, 1, 4].map((factor) => early(at(factor).orthogonal)) as [number, number, number];
  const row = (values: number[]): string => values.map(small).join(', ');
  return [
    {
      name: 'span-large-step',
      statement: 'stochastic GD, large lambda: a larger step does harm inside the span of the retain set (R in span at the end)',
      holds: inside[0] < inside[1] && inside[1] < inside[2],
      numbers: `${row(inside)} at 1/4, 1 and 4 times the best step`,
    },
    {
      name: 'orthogonal-large-step',
      statement: 'stochastic GD, large lambda: a larger step converges faster orthogonal to it (R at a tenth of the iterations)',
      holds: outside[0] > outside[1] && outside[1] > outside[2],
      numbers: `${row(outside)} at 1/4, 1 and 4 times the best step`,
    },
  ];
}
