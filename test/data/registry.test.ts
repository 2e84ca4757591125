import { createDataset } from '../../src/data/dataset.js';
import { listDatasets, loadDataset, registerDataset, resolveDataDirectory } from '../../src/data/registry.js';
import type { Dataset } from '../../src/types.js';

const selection = { trainPerClass: 2, validationPerClass: 1 };

function tiny(labels: number[]): Dataset {
  return createDataset({
    name: 'tiny',
    description: 'two grey pixels',
    height: 1,
    width: 1,
    channels: 1,
    numClasses: 2,
    classNames: ['dark', 'light'],
    numTrain: 1,
    numValidation: labels.length - 1,
    pixels: Uint8Array.from(labels, (label) => 255 * label),
    labels: Int32Array.from(labels),
    mean: [0.5],
    std: [0.5],
  });
}

describe('data sets by name', () => {
  it('loads the built-in set; 0 takes its default size', async () => {
    expect(await loadDataset({ name: 'synthetic', ...selection })).toMatchObject({ numTrain: 10, numValidation: 5 });
    const all = await loadDataset({ name: 'synthetic', trainPerClass: 0, validationPerClass: 0 });
    expect(all).toMatchObject({ numTrain: 300, numValidation: 150 });
  });

  it('says how to get data when CIFAR-10 has no directory', async () => {
    await expect(loadDataset({ name: 'cifar10', ...selection })).rejects.toThrow(
      /LETHE_DATA_DIRECTORY.*--data.*LETHE_DATA.*lethe data fetch/,
    );
  });

  it('takes a further set and gives it what the plan and the command line say', async () => {
    const seen: unknown[] = [];
    registerDataset({
      name: 'tiny',
      describe: 'two grey pixels',
      load(options) {
        seen.push(options);
        return Promise.resolve(tiny([0, 1]));
      },
    });
    expect(listDatasets().map(({ name }) => name)).toEqual(['synthetic', 'cifar10', 'npy', 'tiny']);
    expect(await loadDataset({ name: 'tiny', ...selection }, { directory: '/somewhere' })).toMatchObject({ numTrain: 1, numValidation: 1 });
    expect(seen).toEqual([{ ...selection, directory: '/somewhere' }]);
    const again = { name: 'tiny', describe: '', load: () => Promise.resolve(tiny([0])) };
    expect(() => {
      registerDataset(again);
    }).toThrow(/LETHE_DATA_NAME.*taken/);
    expect(() => {
      registerDataset({ ...again, name: '../x' });
    }).toThrow(/LETHE_DATA_NAME/);
  });

  it('lists the known names for an unknown one and refuses wrong counts', async () => {
    await expect(loadDataset({ name: 'cifar', ...selection })).rejects.toThrow(
      /LETHE_DATA_UNKNOWN.*synthetic, cifar10.*Did you mean cifar10/,
    );
    await expect(loadDataset({ name: 'synthetic', trainPerClass: -1, validationPerClass: 0 })).rejects.toThrow(/LETHE_DATA_OPTION/);
  });

  it('resolves the data directory: the option, then LETHE_DATA, then none', () => {
    expect(resolveDataDirectory('a', { LETHE_DATA: 'b' })).toBe('a');
    expect(resolveDataDirectory(undefined, { LETHE_DATA: 'b' })).toBe('b');
    expect(resolveDataDirectory('', { LETHE_DATA: '' })).toBeUndefined();
  });
});

describe('createDataset', () => {
  it('changes the identity with any pixel, label or split, and nothing else', () => {
    expect(tiny([0, 1]).sha256).toBe(tiny([0, 1]).sha256);
    const { sha256, ...parts } = tiny([0, 1, 1]);
    const others = [
      { ...parts, pixels: Uint8Array.from([0, 255, 254]) },
      { ...parts, labels: Int32Array.from([0, 1, 0]) },
      { ...parts, numTrain: 2, numValidation: 1 },
      { ...parts, numClasses: 3 },
    ].map((changed) => createDataset(changed).sha256);
    expect(new Set([sha256, ...others]).size).toBe(5);
    expect(createDataset({ ...parts, description: 'other words' }).sha256).toBe(sha256);
  });

  it('refuses parts that do not fit', () => {
    const parts = tiny([0, 1]);
    expect(() => createDataset({ ...parts, pixels: new Uint8Array(3) })).toThrow(/LETHE_DATA_SHAPE/);
    expect(() => createDataset({ ...parts, labels: Int32Array.from([0, 2]) })).toThrow(/LETHE_DATA_LABEL.*2 at point 1/);
  });
});
