/**
 * The unlearning methods, one file each. Plans, stages, commands and the report draw on this list for all they know of a method: adding
 * one is its file and its place here, which is that in tables and figures.
 */
import { didYouMean, LetheError } from '../errors.js';
import type { MethodName } from '../types.js';
import { dmDirect } from './dmDirect.js';
import { gradientAscent, gradientDescent } from './gradient.js';
import type { UnlearnMethod } from './method.js';
import { datamodelMatching, oracleMatching } from './oracleMatching.js';
import { doNothing, fullRetrain, partialRetrain } from './retraining.js';
import { randomLabels } from './randomLabels.js';
import { scrub } from './scrub.js';

export { dmDirect, doNothing, fullRetrain };

export const methods: readonly UnlearnMethod[] = [
  doNothing,
  fullRetrain,
  partialRetrain,
  gradientAscent,
  gradientDescent,
  scrub,
  randomLabels,
  oracleMatching,
  dmDirect,
  datamodelMatching,
];

export const methodNames: readonly MethodName[] = methods.map(({ name }) => name);

/** @throws LETHE_METHOD_UNKNOWN */
export function unlearnMethod(name: MethodName): UnlearnMethod {
  const method = methods.find((each) => each.name === name);
  if (method) return method;
  throw new LetheError('LETHE_METHOD_UNKNOWN', `there is no unlearning method "${name}"`, { action: didYouMean(name, methodNames) });
}

/** Shorter retrainings do not: their margins are those of a run's matched oracles at fewer epochs. */
export function makesModels({ kind, parameters }: UnlearnMethod): boolean {
  return kind !== 'reference' || !Object.hasOwn(parameters, 'epochs');
}

/** Fine-tunes originals towards retrained models. */
export function trainsOnOracles({ kind, needs }: UnlearnMethod): boolean {
  return kind === 'job' && needs.matchedOracles;
}
