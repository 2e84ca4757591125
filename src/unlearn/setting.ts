/** Hyper-parameters of a method: checks that teach, defaults, typed access. */
import { didYouMean, LetheError } from '../errors.js';
import type { MethodSetting } from '../types.js';
import type { MethodParameter, ParameterValue, UnlearnMethod } from './method.js';

/**
 * The complete setting: given values checked, defaults filled in, keys in the method's order (equal settings give equal JSON).
 * Complete settings pass unchanged. `base`: a complete setting that stands for the defaults.
 * @throws LETHE_SETTING_UNKNOWN, LETHE_SETTING_INVALID, LETHE_SETTING_UNUSED
 */
export function checkSetting(method: UnlearnMethod, given: MethodSetting, base: MethodSetting = {}): MethodSetting {
  for (const name of Object.keys(given)) parameterOf(method, name);
  const complete: MethodSetting = {};
  for (const [name, parameter] of Object.entries(method.parameters)) {
    const value = Object.hasOwn(given, name) ? given[name] : undefined;
    if (applies(parameter, complete)) {
      if (value !== undefined) checkValue(method, name, value);
      const settled = value ?? base[name] ?? parameter.default;
      if (settled !== undefined) complete[name] = settled;
    } else if (value !== undefined) {
      throw new LetheError('LETHE_SETTING_UNUSED', `${name} has no effect on ${method.name} in this setting`, {
        expected: `${name} only with ${describe(parameter.when!)}`,
        received: `${name} = ${value}`,
        action: `Remove ${name}.`,
      });
    }
  }
  return complete;
}

/** @throws LETHE_SETTING_UNKNOWN */
export function parameterOf(method: UnlearnMethod, name: string): MethodParameter {
  const known = Object.keys(method.parameters);
  if (known.includes(name)) return method.parameters[name]!;
  throw new LetheError('LETHE_SETTING_UNKNOWN', `${method.name} has no parameter "${name}"`, {
    action: known.length === 0 ? 'Remove it: the method has no parameters.' : didYouMean(name, known),
  });
}

/** @throws LETHE_SETTING_UNKNOWN, LETHE_SETTING_INVALID */
export function checkValue(method: UnlearnMethod, name: string, value: ParameterValue): void {
  const parameter = parameterOf(method, name);
  const expected = parameter.check(value);
  if (expected === undefined) return;
  throw new LetheError('LETHE_SETTING_INVALID', `${name} of ${method.name} (${parameter.description})`, {
    expected,
    received: JSON.stringify(value),
    ...(parameter.default === undefined ? {} : { action: `The default is ${parameter.default}.` }),
  });
}

/** The values of `when` are those of parameters that come before in the method's order. */
function applies(parameter: MethodParameter, setting: MethodSetting): boolean {
  return Object.entries(parameter.when ?? {}).every(([name, value]) => setting[name] === value);
}

function describe(setting: MethodSetting): string {
  return Object.entries(setting)
    .map(([name, value]) => `${name} = ${value}`)
    .join(', ');
}

// ---- parameter kinds

export function wholeNumber(defaultValue: number, description: string, minimum = 1): MethodParameter {
  const check = (value: ParameterValue) =>
    Number.isSafeInteger(value) && (value as number) >= minimum ? undefined : `a whole number of at least ${minimum}`;
  return { default: defaultValue, description, check };
}

export function positive(defaultValue: number, description: string, maximum = Infinity): MethodParameter {
  const check = (value: ParameterValue) => {
    if (typeof value === 'number' && Number.isFinite(value) && value > 0 && value <= maximum) return undefined;
    return maximum === Infinity ? 'a finite number above 0' : `a number above 0, at most ${maximum}`;
  };
  return { default: defaultValue, description, check };
}

export function choice(values: readonly ParameterValue[], description: string): MethodParameter {
  const check = (value: ParameterValue) => (values.includes(value) ? undefined : `one of ${values.join(', ')}`);
  return { default: values[0]!, description, check };
}

// ---- typed access to a complete setting

export function numberOf(setting: MethodSetting, name: string): number {
  const value = setting[name];
  if (typeof value !== 'number') throw incomplete(name);
  return value;
}

export function stringOf(setting: MethodSetting, name: string): string {
  const value = setting[name];
  if (typeof value !== 'string') throw incomplete(name);
  return value;
}

export function booleanOf(setting: MethodSetting, name: string): boolean {
  const value = setting[name];
  if (typeof value !== 'boolean') throw incomplete(name);
  return value;
}

function incomplete(name: string): LetheError {
  return new LetheError('LETHE_SETTING_INVALID', `the setting has no usable value of ${name}`, {
    action: 'Complete settings with checkSetting first.',
  });
}
