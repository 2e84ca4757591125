/**
 * Attributors put together: weights are sums of the members' weights, each times a factor chosen on held-out models for all targets of a group.
 * 'average': every member is fitted to the outputs. 'remainder': each is fitted to what those before it leave over, so that they are its
 * prior; where the last one alone does better on held-out models, it stands alone.
 */
import { selectRows } from '../data/masks.js';
import { abortFlag, nativeAddon } from '../native/addon.js';
import type { NativeFits } from '../native/types.js';
import { type FitOptions, fitStatuses, type Masks, type PenaltyChoice, type RunOptions, type TargetGroups } from '../types.js';
import type { AttributionSource, Attributor, Design, DesignOptions, SampleBlock } from './attributor.js';
import { modelRows, refuseRowWeights, varies } from './dense.js';
import { HeldOutScales, unscaled } from './heldOutScales.js';
import { membersOf } from './pooled.js';
import { holdoutModels, modelsBut } from './selection.js';

export interface Member {
  attributor: Attributor;
  /** Complete. */
  options: FitOptions;
}

export type Combination = 'average' | 'remainder';

interface StackedOptions {
  members: readonly Member[];
  combine: Combination;
  holdoutFraction: number;
  /** Of the whole. */
  options: FitOptions;
}

export function openStacked(
  source: AttributionSource,
  { members, combine, holdoutFraction, options }: StackedOptions,
  where: DesignOptions,
): Design {
  const { masks } = source;
  const { numModels, numTrain } = masks;
  const { threads = 0 } = where;
  const heldOut = holdoutModels(numModels, { select: 'pooled', holdoutFraction, seed: options.seed });
  const names = members.map(({ attributor }) => attributor.name);
  const open = (on: AttributionSource): Design[] => members.map(({ attributor, options: own }) => attributor.open(on, own, where));
  const designs = open(source);
  const sum = (of: (design: Design) => number): number => designs.reduce((total, design) => total + of(design), 0);
  return {
    numModels,
    numTrain,
    options,
    pooled: true,
    heldOut,
    chosenOn: `${heldOut.length} held-out models`,
    describeChoice: ({ scales = {}, members: chosen = {} }) =>
      names.map((name, k) => `${name} ${(scales[name] ?? NaN).toPrecision(2)}${inWords(designs[k]!, chosen[name])}`).join(', '),
    backend: [...new Set(designs.map(({ backend }) => backend))].join(' and '),
    memoryBytes: 2 * sum(({ memoryBytes }) => memoryBytes),
    weightsPerTarget: Math.min(
      sum(({ weightsPerTarget }) => weightsPerTarget),
      numTrain,
    ),
    mostTargets: designs.reduce((least, { mostTargets }) => Math.min(least, mostTargets), Infinity),
    gram: () => designs.map((design) => design.gram()).find((gram) => gram !== undefined),
    async choose(sample, groups, run = {}) {
      refuseRowWeights(options.estimator, sample);
      if (heldOut.length === 0) {
        const own = await Promise.all(designs.map(async (design) => (design.pooled ? design.choose(sample, groups, run) : undefined)));
        return membersOf(sample.sample, groups).map(({ group }, index) => ({
          ...unscaled(group, names),
          members: Object.fromEntries(own.flatMap((choices, k) => (choices ? [[names[k]!, choices[index]!]] : []))),
        }));
      }
      const fitted = modelsBut(heldOut, numModels);
      const on = { designs: open(someModels(source, fitted)), masks: selectRows(masks, fitted) };
      const trial = new Trial(names, on, selectRows(masks, heldOut), { sample, groups, run: { ...run, threads } });
      const outputs = modelRows(sample.outputs, sample.numTargets, fitted);
      const actual = modelRows(sample.outputs, sample.numTargets, heldOut);
      return combine === 'average' ? trial.average(outputs, actual) : trial.remainder(outputs, actual);
    },
    async fit(block, run = {}, chosen = []) {
      refuseRowWeights(options.estimator, block);
      const parts: Part[] = [];
      let { outputs } = block;
      for (const [k, design] of designs.entries()) {
        const name = names[k]!;
        const of = chosen.map(({ members: own = {} }) => own[name]!);
        const fits = await design.fit({ ...block, outputs }, shareOf(run, k, names.length), design.pooled ? of : undefined);
        const factors = Float64Array.from(chosen, ({ scales = {} }) => scales[name] ?? 0);
        parts.push({ fits, factors, means: meansOf(outputs, block.numTargets) });
        if (combine === 'remainder') outputs = less(outputs, await predictions(fits, masks, { ...run, threads }), factors);
      }
      return sumOf(parts, numTrain);
    },
  };
}

/** Progress of one member of several. */
function shareOf(run: RunOptions, k: number, members: number): RunOptions {
  const { onProgress } = run;
  if (!onProgress) return run;
  return {
    ...run,
    onProgress: ({ done, total }) => {
      onProgress({ done: (k * total + done) / members, total });
    },
  };
}

function inWords({ pooled, describeChoice }: Design, choice: PenaltyChoice | undefined): string {
  return pooled && choice ? ` (${describeChoice(choice)})` : '';
}

/** What is known of these models only. */
function someModels({ masks, points, ...rest }: AttributionSource, models: Int32Array): AttributionSource {
  const known = points && {
    ...points,
    trainMargins: async () => modelRows(await points.trainMargins(), masks.numTrain, models),
  };
  return { ...rest, masks: selectRows(masks, models), ...(known ? { points: known } : {}) };
}

/** (masks.numModels, targets) weights times masks: what differs between models */
async function predictions({ rowStart, indices, weights, bias }: NativeFits, masks: Masks, run: RunOptions): Promise<Float32Array> {
  const { numModels, numTrain, bits } = masks;
  const predicted = new Float32Array(numModels * bias.length);
  const given = { bias, rowStart, indices, weights, numModels, numTrain, numTargets: bias.length, bits };
  await nativeAddon().predict({ ...given, isa: '', threads: run.threads ?? 0, predicted }, undefined, abortFlag(run.signal));
  return predicted;
}

/** Outputs less factor times prediction, by target. */
function less(outputs: Float32Array, predicted: Float32Array, factors: Float64Array): Float32Array {
  return outputs.map((value, at) => value - factors[at % factors.length]! * predicted[at]!);
}

/** Members fitted on some models and looked at on others. */
class Trial {
  private readonly numTargets: number;

  constructor(
    private readonly names: readonly string[],
    private readonly on: { designs: readonly Design[]; masks: Masks },
    private readonly heldOut: Masks,
    private readonly where: { sample: SampleBlock; groups: TargetGroups | undefined; run: RunOptions },
  ) {
    this.numTargets = where.sample.numTargets;
  }

  /** Least squares of all members together. */
  async average(outputs: Float32Array, actual: Float32Array): Promise<PenaltyChoice[]> {
    const fitted: FittedMember[] = [];
    for (const design of this.on.designs) fitted.push(await this.member(design, outputs));
    const scales = this.scales(
      this.names,
      fitted.map(({ ahead }) => ahead),
      { outputs, actual },
    );
    return scales.map((choice, group) => ({ ...choice, members: this.choicesOf(fitted, group) }));
  }

  /** One after the other; then whether the last one does better alone. */
  async remainder(outputs: Float32Array, actual: Float32Array): Promise<PenaltyChoice[]> {
    const last = this.names.at(-1)!;
    const alone = await this.member(this.on.designs.at(-1)!, outputs);
    const aloneScales = this.scales([last], [alone.ahead], { outputs, actual });
    const fitted: FittedMember[] = [];
    const steps: PenaltyChoice[][] = [];
    let left = { outputs, actual };
    for (const [k, design] of this.on.designs.entries()) {
      const member = await this.member(design, left.outputs);
      const step = this.scales([this.names[k]!], [member.ahead], left);
      fitted.push(member);
      steps.push(step);
      const factors = Float64Array.from(this.perTarget(step.map(({ scales }) => scales![this.names[k]!]!)));
      left = {
        outputs: less(left.outputs, await predictions(member.fits, this.on.masks, this.where.run), factors),
        actual: less(left.actual, member.ahead, factors),
      };
    }
    return aloneScales.map((single, group) => {
      const numSampled = single.numSampled;
      // each step says its error as a share of what it was given
      const error = steps.reduce((product, step) => product * step[group]!.error, 1);
      const isAlone = single.error < error;
      const factor = (k: number): number => (isAlone ? (k === this.names.length - 1 ? 1 : 0) : steps[k]![group]!.scales![this.names[k]!]!);
      return {
        group: single.group,
        scales: Object.fromEntries(this.names.map((name, k) => [name, factor(k)])),
        members: { ...this.choicesOf(fitted, group), ...(isAlone ? this.choicesOf([alone], group, [last]) : {}) },
        criterion: 'error',
        numSampled,
        error: Math.min(single.error, error),
      };
    });
  }

  private async member(design: Design, outputs: Float32Array): Promise<FittedMember> {
    const { sample, groups, run } = this.where;
    const block = { ...sample, outputs };
    const quiet = { ...run };
    delete quiet.onProgress;
    const choices = design.pooled ? await design.choose(block, groups, quiet) : undefined;
    const fits = await design.fit(block, quiet, choices && this.perTarget(choices));
    return { fits, ahead: await predictions(fits, this.heldOut, run), ...(choices ? { choices } : {}) };
  }

  private scales(
    parts: readonly string[],
    ahead: readonly Float32Array[],
    { outputs, actual }: { outputs: Float32Array; actual: Float32Array },
  ): PenaltyChoice[] {
    const { sample, groups } = this.where;
    const scales = new HeldOutScales(parts, sample.sample, groups);
    const column = (values: Float32Array, target: number): Float64Array =>
      Float64Array.from({ length: values.length / this.numTargets }, (_, row) => values[row * this.numTargets + target]!);
    for (let target = 0; target < this.numTargets; target++) {
      const predicted = ahead.map((values) => column(values, target));
      scales.add(target, predicted, column(actual, target), deviation(column(outputs, target)));
    }
    return scales.choices();
  }

  /** Of the group of each target of the sample. */
  private perTarget<T>(ofGroups: readonly T[]): T[] {
    const { sample, groups } = this.where;
    return Array.from(sample.sample, (number) => ofGroups[groups?.of[number] ?? 0]!);
  }

  private choicesOf(fitted: readonly FittedMember[], group: number, names = this.names): Record<string, PenaltyChoice> {
    return Object.fromEntries(fitted.flatMap(({ choices }, k) => (choices ? [[names[k]!, choices[group]!]] : [])));
  }
}

interface FittedMember {
  fits: NativeFits;
  /** (held out, targets) */
  ahead: Float32Array;
  /** Of a pooled design: one a group. */
  choices?: PenaltyChoice[];
}

function deviation(values: Float64Array): number {
  if (!varies(values)) return 0;
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
  return Math.sqrt(values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / values.length);
}

/** What a member gave, times what. */
interface Part {
  fits: NativeFits;
  /** (numTargets) */
  factors: Float64Array;
  /** (numTargets) means of the outputs that it was fitted to */
  means: Float64Array;
}

/** Sums of weights; predictions keep the means of the outputs. A gap is that of the member that is furthest from its optimum. */
function sumOf(parts: readonly Part[], numTrain: number): NativeFits {
  const numTargets = parts[0]!.means.length;
  const rowStart = new Float64Array(numTargets + 1);
  const [bias, lambda, gap] = [new Float32Array(numTargets), new Float32Array(numTargets), new Float32Array(numTargets)];
  const status = new Uint8Array(numTargets);
  const indices: number[] = [];
  const weights: number[] = [];
  const row = new Float64Array(numTrain);
  for (let target = 0; target < numTargets; target++) {
    row.fill(0);
    let base = parts[0]!.means[target]!;
    for (const { fits, factors, means } of parts) {
      const factor = factors[target]!;
      base += factor * (fits.bias[target]! - means[target]!);
      gap[target] = Math.max(gap[target]!, fits.gap[target]!);
      if (factor === 0) continue;
      for (let k = fits.rowStart[target]!; k < fits.rowStart[target + 1]!; k++) row[fits.indices[k]!]! += factor * fits.weights[k]!;
    }
    row.forEach((weight, example) => {
      if (weight === 0) return;
      indices.push(example);
      weights.push(weight);
    });
    bias[target] = base;
    lambda[target] = parts.at(-1)!.fits.lambda[target]!;
    status[target] = worst(parts.map(({ fits }) => fits.status[target]!));
    rowStart[target + 1] = weights.length;
  }
  return { status, bias, lambda, gap, rowStart, indices: Int32Array.from(indices), weights: Float32Array.from(weights) };
}

/** A target is constant where all members say so. */
function worst(codes: readonly number[]): number {
  const order = ['nonfinite', 'unconverged', 'converged', 'constant'] as const;
  return fitStatuses.indexOf(order.find((status) => codes.includes(fitStatuses.indexOf(status)))!);
}

/** (numTargets) over models */
function meansOf(outputs: Float32Array, numTargets: number): Float64Array {
  const means = new Float64Array(numTargets);
  const numModels = outputs.length / numTargets;
  outputs.forEach((value, at) => (means[at % numTargets]! += value / numModels));
  return means;
}
