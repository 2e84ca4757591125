/** Options of attributors: kinds, defaults filled in, and every mistake in one form, whoever reports it. */
import { didYouMean, LetheError } from '../errors.js';
import type { FitOptions, OptionValue } from '../types.js';
import type { Attributor, AttributorOption, OptionMistake } from './attributor.js';

/** Given options and defaults; neither values nor names are checked. */
export function completeOptions(attributor: Attributor, given: Partial<FitOptions> = {}): FitOptions {
  const complete: FitOptions = { seed: 0, ...given, estimator: attributor.name };
  for (const [name, option] of Object.entries(attributor.options)) {
    const fallback = typeof option.default === 'function' ? option.default(given, complete) : option.default;
    const value = given[name] ?? fallback;
    // what is off unless it is asked for is the same when it is said to be off
    if (value === undefined || (value === false && fallback === undefined)) Reflect.deleteProperty(complete, name);
    else complete[name] = value;
  }
  return complete;
}

/** The options of `given` that the attributor has too, completed. */
export function sharedOptions(attributor: Attributor, given: FitOptions): FitOptions {
  return completeOptions(attributor, Object.fromEntries(Object.entries(given).filter(([name]) => Object.hasOwn(attributor.options, name))));
}

/** All that is wrong with complete options. numModels: of the smallest fit. */
export function* optionMistakes(attributor: Attributor, options: FitOptions, numModels: number): Generator<OptionMistake> {
  let values = true;
  for (const [option, value] of Object.entries(options)) {
    if (option === 'estimator' || value === undefined) continue;
    const declared = Object.hasOwn(attributor.options, option) ? attributor.options[option] : undefined;
    const expected = declared ? declared.check(value) : `an option of ${attributor.name}`;
    if (expected === undefined) continue;
    values = false;
    const action = declared ? {} : { action: didYouMean(option, Object.keys(attributor.options)) };
    yield { option, expected, received: JSON.stringify(value), ...action };
  }
  if (values) yield* attributor.rules(options, numModels);
}

/** @throws LETHE_FIT_OPTION (exit code 2) */
export function checkOptions(attributor: Attributor, options: FitOptions, numModels: number): void {
  for (const { option, ...details } of optionMistakes(attributor, options, numModels)) {
    throw new LetheError('LETHE_FIT_OPTION', `option ${option} of ${attributor.name} does not fit`, details);
  }
}

// ---- kinds

type Fallback = Pick<AttributorOption, 'default'>;

export function number(description: string, expected: string, isRight: (value: number) => boolean, more: Fallback = {}): AttributorOption {
  const check = (value: unknown) => (typeof value === 'number' && Number.isFinite(value) && isRight(value) ? undefined : expected);
  return { kind: 'number', description, check, ...more };
}

export function whole(minimum: number, description: string, more: Fallback = {}): AttributorOption {
  return number(description, `a whole number from ${minimum} on`, (value) => Number.isSafeInteger(value) && value >= minimum, more);
}

export function fraction(description: string, more: Fallback = {}): AttributorOption {
  return number(description, 'a fraction between 0 and 1, both excluded', (value) => value > 0 && value < 1, more);
}

export function positive(description: string, more: Fallback = {}): AttributorOption {
  return number(description, 'a number above 0', (value) => value > 0, more);
}

export function word(words: readonly string[], description: string, more: Fallback = {}): AttributorOption {
  const check = (value: unknown) => (words.includes(value as string) ? undefined : `one of ${words.join(', ')}`);
  return { kind: 'word', description, check, words, ...more };
}

/** Some of them, each once. */
export function words(known: readonly string[], description: string, more: Fallback = {}): AttributorOption {
  const isRight = (value: unknown): boolean =>
    Array.isArray(value) &&
    value.length > 0 &&
    value.every((each) => known.includes(each as string)) &&
    new Set(value).size === value.length;
  const check = (value: unknown) => (isRight(value) ? undefined : `some of ${known.join(', ')}, none twice`);
  return { kind: 'words', description, check, words: known, ...more };
}

export function truth(description: string, more: Fallback = {}): AttributorOption {
  return { kind: 'truth', description, check: (value) => (typeof value === 'boolean' ? undefined : 'true or false'), ...more };
}

/** Of held-out models, samples: an attributor that draws nothing takes it too, so that plans need not know. */
export const seed = whole(0, 'seed of what is drawn: held-out models, targets of a sample', { default: 0 });

export function isPositiveNumber(value: OptionValue): boolean {
  return typeof value === 'number' && Number.isFinite(value) && value > 0;
}
