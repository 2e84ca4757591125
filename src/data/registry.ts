/**
 * Data sets by name. A further one is added from TypeScript before a plan that names it is run:
 *
 *   registerDataset({ name: 'my-images', describe: 'what it is', load: async (options) => createDataset({ ... }) });
 */
import { didYouMean, LetheError } from '../errors.js';
import type { Dataset } from '../types.js';
import { cifar10Source } from './cifar10.js';
import { npySource } from './npyImages.js';
import type { DataSelection, DataSource, DataSourceOptions } from './source.js';
import { syntheticDataset } from './synthetic.js';

const syntheticSource: DataSource = {
  name: 'synthetic',
  describe: 'built-in 16 x 16 colour textures in 5 classes, made on the fly',
  load({ trainPerClass, validationPerClass }) {
    // 0 asks for "all": the default size, as there is no end to what can be made
    return Promise.resolve(
      syntheticDataset({
        ...(trainPerClass > 0 ? { trainPerClass } : {}),
        ...(validationPerClass > 0 ? { validationPerClass } : {}),
      }).dataset,
    );
  },
};

const sources = new Map<string, DataSource>([syntheticSource, cifar10Source, npySource].map((source) => [source.name, source]));

/** @throws LETHE_DATA_NAME for a name that is taken or cannot stand in a plan */
export function registerDataset(source: DataSource): void {
  if (!/^[a-z0-9][a-z0-9._-]{0,63}$/.test(source.name) || sources.has(source.name)) {
    throw new LetheError('LETHE_DATA_NAME', 'this data set cannot be registered', {
      expected: 'a new name of lower-case letters, digits, ".", "_" and "-"',
      received: sources.has(source.name) ? `${source.name}, which is taken` : JSON.stringify(source.name),
    });
  }
  sources.set(source.name, source);
}

/** What can be named in a plan. */
export function listDatasets(): { name: string; describe: string }[] {
  return [...sources.values()].map(({ name, describe }) => ({ name, describe }));
}

/**
 * @throws LETHE_DATA_UNKNOWN for a name that is not registered, LETHE_DATA_OPTION for counts that are no whole numbers;
 * errors of the source itself
 */
export async function loadDataset(
  selection: DataSelection & { name: string },
  options: Pick<DataSourceOptions, 'directory' | 'note'> = {},
): Promise<Dataset> {
  const { name, trainPerClass, validationPerClass } = selection;
  const source = sources.get(name);
  if (!source) {
    throw new LetheError('LETHE_DATA_UNKNOWN', 'there is no such data set', {
      expected: `one of ${[...sources.keys()].join(', ')}`,
      received: JSON.stringify(name),
      action: didYouMean(name, [...sources.keys()]),
    });
  }
  for (const [key, value] of Object.entries({ trainPerClass, validationPerClass })) {
    if (Number.isSafeInteger(value) && value >= 0) continue;
    throw new LetheError('LETHE_DATA_OPTION', `${key} is no count`, { expected: 'a whole number, 0 for all', received: String(value) });
  }
  return source.load({ trainPerClass, validationPerClass, ...options });
}

/** The data directory: `--data` first, then LETHE_DATA, else none. */
export function resolveDataDirectory(option?: string, environment: NodeJS.ProcessEnv = process.env): string | undefined {
  return [option, environment['LETHE_DATA']].find((value) => value !== undefined && value !== '');
}
