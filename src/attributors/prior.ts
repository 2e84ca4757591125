/** An attributor that starts from another: it is fitted to what its prior leaves over (its weights are the sum of both). */
import type { FitOptions } from '../types.js';
import type { Attributor } from './attributor.js';
import { completeOptions, word } from './options.js';
import { openStacked } from './stacked.js';

/** Of an attributor without a share of its own. */
const defaultHoldoutFraction = 0.1;

/** With the option `prior`. `priors`: that it may start from; each with its defaults. */
export function withPrior(attributor: Attributor, priors: readonly Attributor[]): Attributor {
  const others = priors.filter(({ name }) => name !== attributor.name);
  const priorOf = (options: FitOptions): Attributor | undefined => others.find(({ name }) => name === options['prior']);
  return {
    ...attributor,
    options: {
      ...attributor.options,
      prior: word(
        others.map(({ name }) => name),
        'an attributor to start from: only what it leaves over is fitted',
      ),
    },
    needs: (options) => [...new Set([...attributor.needs(options), ...(priorOf(options)?.needs(options) ?? [])])],
    isDense: (options) => attributor.isDense(options) || priorOf(options)?.isDense(options) === true,
    isPooled: (options) => priorOf(options) !== undefined || attributor.isPooled(options),
    describe: (options) => {
      const prior = priorOf(options);
      return attributor.describe(options) + (prior ? `, on what ${prior.title} leaves over` : '');
    },
    cost: (options, numModels) => attributor.cost(options, numModels) + (priorOf(options)?.cost(options, numModels) ?? 0),
    open(source, options, where) {
      const prior = priorOf(options);
      if (!prior) return attributor.open(source, options, where);
      const own = { ...options };
      delete own['prior'];
      const members = [
        { attributor: prior, options: completeOptions(prior, { seed: options.seed }) },
        { attributor, options: own },
      ];
      const holdoutFraction = (options['holdoutFraction'] as number | undefined) ?? defaultHoldoutFraction;
      return openStacked(source, { members, combine: 'remainder', holdoutFraction, options }, where);
    },
  };
}
