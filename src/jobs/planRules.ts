/** Rules between the values of a plan, and the values that follow from others. */
import { completeOptions, optionMistakes } from '../attributors/options.js';
import { attributorsOf, canBeFitted } from '../attributors/planned.js';
import { attributorOf, defaultAttributor } from '../attributors/registry.js';
import { didYouMean } from '../errors.js';
import { isName, reservedForgetSetNames } from '../store/folders/layout.js';
import { ldsSplit } from './ldsSplit.js';
import {
  type AttributorPlan,
  type FitOptions,
  type ForgetSetSpec,
  largestForgetSeed,
  type MethodName,
  type MethodPlan,
  type Plan,
  type PlanNet,
  type Schedule,
  type TrainRecipe,
} from '../types.js';
import { unlearnMethod } from '../unlearn/registry.js';
import { planDefaults as defaults } from './planDefaults.js';
import type { Mistake } from './planMistakes.js';
import type { ParsedPlan } from './planSchema.js';

/** Writes out what the file left to others: name, seeds, peak of the schedule. */
export function resolve(parsed: ParsedPlan, fileStem: string): Plan {
  const { fit, attributors, calibration, ...rest } = parsed;
  const { recipe, seed, tuning } = rest;
  const { ceiling, ...lds } = rest.lds;
  return {
    ...rest,
    version: 1,
    name: parsed.name ?? fileStem,
    net: resolveNet(parsed.net),
    recipe: resolveRecipe(recipe),
    // absent when false: plans of earlier versions keep their hashes
    lds: { ...lds, ...(ceiling ? { ceiling } : {}) },
    ...(calibration ? { calibration } : {}),
    ...resolveAttributors({ fit, attributors, seed }),
    forgetSets: parsed.forgetSets.map((set): ForgetSetSpec => (set.kind === 'random' ? { ...set, seed: set.seed ?? seed } : set)),
    methods: parsed.methods.map(({ method, grid }): MethodPlan => ({ method, grid })),
    tuning: { numModels: tuning.numModels, criterion: tuning.criterion },
  };
}

/** An augmentation that does nothing is none, so that it is the same plan. */
function resolveRecipe({ augment, ...recipe }: ParsedPlan['recipe']): TrainRecipe {
  const augments = augment !== undefined && (augment.cropPadding > 0 || augment.flip);
  return { ...recipe, schedule: resolveSchedule(recipe.schedule, recipe.epochs), ...(augments ? { augment } : {}) };
}

/** The sha256 of a file is filled in by who reads it. */
function resolveNet({ name, width, file, sha256 = '' }: ParsedPlan['net']): PlanNet {
  return file === undefined ? { name: name ?? defaults.net.name, width: width ?? defaults.net.width } : { file, sha256 };
}

function resolveSchedule(schedule: ParsedPlan['recipe']['schedule'], epochs: number): Schedule {
  if (schedule.kind !== 'triangle' && schedule.kind !== 'cosine') return schedule;
  return { ...schedule, peakEpoch: schedule.peakEpoch ?? defaults.schedule.peakFraction * epochs };
}

/** One attributor is a fit, as in plans of earlier versions, which keep their hashes. Where both are given the plan is refused. */
function resolveAttributors({
  fit,
  attributors,
  seed,
}: Pick<ParsedPlan, 'fit' | 'attributors' | 'seed'>): Pick<Plan, 'fit' | 'attributors'> {
  const complete = (given: Partial<FitOptions> = {}): FitOptions => {
    const attributor = given.estimator === undefined ? defaultAttributor : attributorOf({ estimator: given.estimator });
    return completeOptions(attributor, { seed, ...given });
  };
  const entries = (attributors ?? []).map(({ name, models, ...given }): AttributorPlan => ({
    ...complete(given),
    name: name ?? given.estimator,
    ...(models === undefined ? {} : { models }),
  }));
  const [only] = entries;
  if (!only) return { fit: complete(fit) };
  if (entries.length > 1 || only.name !== only.estimator || only.models !== undefined) return { attributors: entries };
  const { name: same, ...options } = only;
  return { fit: { ...options, estimator: same } };
}

/** Attributors are a fit or a list, not both. */
export function* attributorMistakes({ fit, attributors }: ParsedPlan): Generator<Mistake> {
  if (fit === undefined || attributors === undefined) return;
  const action = 'Move the options of fit into an entry of attributors.';
  yield { keys: ['fit'], expected: 'nothing beside attributors, which lists them all', received: 'both', action };
}

/** A network is named or a file, not both. */
export function* netMistakes({ net: { name, width, file, sha256 } }: ParsedPlan): Generator<Mistake> {
  if (file !== undefined && (name !== undefined || width !== undefined)) {
    const key = name === undefined ? 'width' : 'name';
    yield { keys: ['net', key], expected: 'nothing beside net.file, which holds the whole network', received: String(name ?? width) };
  }
  if (file === undefined && sha256 !== undefined)
    yield { keys: ['net', 'sha256'], expected: 'a net.file that it belongs to', received: 'none' };
}

/** What is wrong with a resolved plan beyond single values. */
export function planMistakes(plan: Plan): Mistake[] {
  return [...nameMistakes(plan), ...recipeMistakes(plan), ...countMistakes(plan), ...methodMistakes(plan), ...forgetSetMistakes(plan)];
}

function* nameMistakes(plan: Plan): Generator<Mistake> {
  if (!isName(plan.name)) {
    const action = 'Give the plan a name: name: my-run';
    yield { keys: ['name'], expected: 'a name, as the name of the file is none', received: JSON.stringify(plan.name), action };
  }
}

/** What is wrong with a recipe beyond single values; keys count from what holds it. */
export function* recipeMistakes({ recipe }: { recipe: TrainRecipe }): Generator<Mistake> {
  const keys = ['recipe', 'schedule'];
  const { schedule, epochs } = recipe;
  if ('peakEpoch' in schedule && schedule.peakEpoch > epochs) {
    yield { keys: [...keys, 'peakEpoch'], expected: `at most the ${epochs} epochs of the recipe`, received: String(schedule.peakEpoch) };
  }
  if (schedule.kind === 'steps' && !isIncreasing(schedule.atEpochs)) {
    yield { keys: [...keys, 'atEpochs'], expected: 'increasing epochs', received: JSON.stringify(schedule.atEpochs) };
  }
  if (schedule.kind === 'steps' && schedule.atEpochs.some((epoch) => epoch >= epochs)) {
    const received = JSON.stringify(schedule.atEpochs);
    yield { keys: [...keys, 'atEpochs'], expected: `epochs before the last of ${epochs}`, received };
  }
}

function isIncreasing(values: readonly number[]): boolean {
  return values.every((value, index) => index === 0 || value > values[index - 1]!);
}

function* countMistakes(plan: Plan): Generator<Mistake> {
  const { count, modelsPerShard } = plan.subsetModels;
  const files = 2 * Math.ceil(count / modelsPerShard); // shard and manifest
  const allowed = Math.max(50, Math.ceil(count / 20));
  if (files > allowed) {
    const expected = `at least ${Math.ceil((2 * count) / allowed)}, for at most 50 files per 1,000 models`;
    yield { keys: ['subsetModels', 'modelsPerShard'], expected, received: String(modelsPerShard) };
  }
  const { firstHeldOut, heldOut, numModels: curve } = ldsSplit(plan);
  if (count > 0 && firstHeldOut < 1) {
    const expected = `0 or more than ${heldOut} models, as so many are held out for LDS (lds.heldOutFraction)`;
    yield { keys: ['subsetModels', 'count'], expected, received: String(count) };
  }
  const { heldOutFraction, numModels } = plan.lds;
  const fitted = Math.floor(count * (1 - heldOutFraction) + 1e-9);
  if (!isIncreasing(numModels)) {
    yield { keys: ['lds', 'numModels'], expected: 'increasing numbers', received: JSON.stringify(numModels) };
  }
  if (numModels.some((value) => value > fitted)) {
    const expected = `at most the ${fitted} subset models that are not held out`;
    yield { keys: ['lds', 'numModels'], expected, received: JSON.stringify(numModels) };
  }
  yield* optionsMistakes(plan, curve[0] ?? 0);
}

/** numModels: of the smallest fit. */
function* optionsMistakes(plan: Plan, numModels: number): Generator<Mistake> {
  const seen = new Set<string>();
  for (const [index, { name, attributor, options, models }] of attributorsOf(plan).entries()) {
    const at = plan.fit ? ['fit'] : ['attributors', index];
    if (seen.has(name)) {
      const action = 'Give one of them another name.';
      yield { keys: [...at, 'name'], expected: 'every name once', received: `"${name}" a second time`, action };
    }
    seen.add(name);
    const { count } = plan.subsetModels;
    if (models !== undefined && models > count) {
      yield { keys: [...at, 'models'], expected: `at most the ${count} subset models of the plan`, received: String(models) };
    }
    for (const { option, ...mistake } of optionMistakes(attributor, options, Math.min(numModels, models ?? Infinity)))
      yield { keys: [...at, option], ...mistake };
  }
}

/** What a method cannot work without. */
function* methodMistakes(plan: Plan): Generator<Mistake> {
  const seen = new Set<MethodName>();
  for (const [index, { method, grid }] of plan.methods.entries()) {
    const keys = ['methods', index];
    if (seen.has(method)) yield { keys: [...keys, 'method'], expected: 'every method once', received: `${method} a second time` };
    seen.add(method);
    if (plan.forgetSets.length > 0 && unlearnMethod(method).needs.datamodels && !canBeFitted(plan, attributorsOf(plan)[0])) {
      const action = 'Raise subsetModels.count or list other methods.';
      yield { keys, expected: `subset models, which ${method} needs`, received: 'subsetModels.count 0', action };
    }
    if (grid === 'paper') continue;
    yield* gridMistakes(grid, [...keys, 'grid']);
    if (unlearnMethod(method).needs.datamodels) yield* datamodelMistakes(plan, grid, [...keys, 'grid']);
  }
}

/** What methods take from datamodels is in the plan. */
function* datamodelMistakes(
  plan: Plan,
  { attributor = [], scale = [] }: Record<string, unknown[]>,
  keys: PropertyKey[],
): Generator<Mistake> {
  const names = attributorsOf(plan).map(({ name }) => name);
  for (const name of attributor.filter((each) => !names.includes(each as string))) {
    const action = typeof name === 'string' ? { action: didYouMean(name, names) } : {};
    yield {
      keys: [...keys, 'attributor'],
      expected: `attributors of the plan: ${names.join(', ')}`,
      received: JSON.stringify(name),
      ...action,
    };
  }
  if (scale.includes('calibrated') && plan.calibration === undefined) {
    const action = 'Add calibration: { forgetSet: NAME }.';
    yield { keys: [...keys, 'scale'], expected: 'a calibration beside a scale that is calibrated', received: 'none', action };
  }
}

function* gridMistakes(grid: Record<string, unknown[]>, keys: PropertyKey[]): Generator<Mistake> {
  for (const [parameter, values] of Object.entries(grid)) {
    const at = [...keys, parameter];
    if (values.length === 0) yield { keys: at, expected: 'at least one value', received: '[]' };
    if (new Set(values).size !== values.length) yield { keys: at, expected: 'every value once', received: JSON.stringify(values) };
    const isEpoch = (value: unknown): boolean => typeof value === 'number' && Number.isSafeInteger(value) && value >= 0;
    if (parameter === 'epochs' && !values.every(isEpoch)) {
      yield { keys: at, expected: 'whole numbers of epochs', received: JSON.stringify(values) };
    }
  }
}

function* forgetSetMistakes(plan: Plan): Generator<Mistake> {
  const names = plan.forgetSets.map(({ name }) => name);
  if (plan.calibration && !names.includes(plan.calibration.forgetSet)) {
    const received = JSON.stringify(plan.calibration.forgetSet);
    yield {
      keys: ['calibration', 'forgetSet'],
      expected: 'the name of a forget set of the plan',
      received,
      action: didYouMean(received, names),
    };
  }
  const seen = new Set<string>();
  for (const [index, set] of plan.forgetSets.entries()) {
    const keys = ['forgetSets', index];
    if (seen.has(set.name)) yield { keys: [...keys, 'name'], expected: 'every name once', received: `"${set.name}" a second time` };
    if (reservedForgetSetNames.includes(set.name)) {
      yield { keys: [...keys, 'name'], expected: 'a name that Lethe does not use itself', received: `"${set.name}"` };
    }
    seen.add(set.name);
    if (set.kind === 'random' && set.seed > largestForgetSeed) {
      const expected = `at most ${largestForgetSeed}, as numpy.random.seed takes`;
      yield { keys: [...keys, 'seed'], expected, received: String(set.seed), action: 'Give the set a seed of its own.' };
    }
    if (set.kind !== 'principalComponent') continue;
    if (set.top + set.bottom === 0) yield { keys, expected: 'examples at the top or the bottom', received: 'top 0 and bottom 0' };
    if (plan.subsetModels.count === 0) {
      yield { keys, expected: 'subset models, which principal components need', received: 'subsetModels.count 0' };
    }
  }
  if (plan.forgetSets.length === 0) return;
  if (plan.oracles.scored === 0) {
    yield { keys: ['oracles', 'scored'], expected: 'at least 1, as there are forget sets to score', received: '0' };
  }
  if (plan.oracles.matched === 0) {
    const expected = 'at least 1, as floor, retraining, oracle matching and the choice of settings need them';
    const action = `Train as many as are scored: matched: ${Math.max(1, plan.oracles.scored)}.`;
    yield { keys: ['oracles', 'matched'], expected, received: '0', action };
  }
}
