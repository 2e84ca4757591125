/** Weighted averages of attributors; the weights are least squares on held-out models. */
import type { FitOptions } from '../types.js';
import type { Attributor } from './attributor.js';
import { completeOptions, fraction, seed, words } from './options.js';
import { type Member, openStacked } from './stacked.js';

/** `all`: that it may consist of; each with its defaults. */
export function ensembleOf(all: readonly Attributor[], usual: readonly string[]): Attributor {
  const namesOf = (options: FitOptions): readonly string[] => options['members'] as string[];
  const chosen = (options: FitOptions): Attributor[] => namesOf(options).flatMap((wanted) => all.filter(({ name }) => name === wanted));
  const members = (options: FitOptions): Member[] =>
    chosen(options).map((attributor) => ({ attributor, options: completeOptions(attributor, { seed: options.seed }) }));
  return {
    name: 'ensemble',
    title: 'ensemble',
    mark: { color: '#56b4e9', shape: 'triangle-down' },
    description: 'a sum of other attributors, each with a factor that is chosen on held-out models',
    needs: (options) => [...new Set(members(options).flatMap(({ attributor, options: own }) => attributor.needs(own)))],
    devices: ['cpu'],
    isDense: (options) => members(options).some(({ attributor, options: own }) => attributor.isDense(own)),
    options: {
      members: words(
        all.map(({ name }) => name),
        'attributors that it consists of',
        { default: [...usual] },
      ),
      holdoutFraction: fraction('share of the models that choose the factors', { default: 0.1 }),
      seed,
    },
    *rules(options, numModels) {
      for (const { attributor, options: own } of members(options)) yield* attributor.rules(own, numModels);
    },
    isPooled: () => true,
    describe: (options) =>
      `${namesOf(options).join(' + ')}, factors of a kind of target by least squares on ${100 * (options['holdoutFraction'] as number)} % of the models`,
    cost: (options, numModels) => members(options).reduce((sum, { attributor, options: own }) => sum + attributor.cost(own, numModels), 0),
    open(source, options, where) {
      const holdoutFraction = options['holdoutFraction'] as number;
      return openStacked(source, { members: members(options), combine: 'average', holdoutFraction, options }, where);
    },
  };
}
