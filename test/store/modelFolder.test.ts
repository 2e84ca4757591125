import fs from 'node:fs';
import path from 'node:path';
import { publishModel, readFinishedModel, requireNoOtherModels } from '../../src/store/modelFolder.js';
import type { ParameterTensor } from '../../src/types.js';
import { temporaryFolder } from '../helpers/temporary.js';

const folder = path.join(temporaryFolder(), 'models');
const layout: ParameterTensor[] = [{ name: 'head.weight', shape: [2, 2], offset: 0, size: 4, trainable: true }];
const made = { model: 1, status: 'trained', loss: 0.5, gradientImages: 8 } as const;
const of = (first: number) => ({ made, parameters: Float32Array.of(first, 2, 3, 4) });

beforeEach(() => {
  fs.rmSync(folder, { recursive: true, force: true });
  fs.mkdirSync(folder);
});

it('keeps the models of the first of two commands that run at the same time', async () => {
  await publishModel(folder, of(1), layout, { seed: 1 }, {});
  await expect(publishModel(folder, of(9), layout, { seed: 2 }, {})).rejects.toMatchObject({ code: 'LETHE_MODELS_CHANGED' });
  expect(await readFinishedModel(folder, 1, layout, { seed: 1 })).toEqual(of(1));
});

it('makes a damaged model again', async () => {
  await publishModel(folder, of(1), layout, { seed: 1 }, {});
  const file = path.join(folder, fs.readdirSync(folder)[0]!);
  const bytes = fs.readFileSync(file);
  bytes[bytes.length - 1]! ^= 1;
  fs.writeFileSync(file, bytes);
  expect(await readFinishedModel(folder, 1, layout, { seed: 1 })).toBeUndefined();
  await publishModel(folder, of(1), layout, { seed: 1 }, {});
  expect(await readFinishedModel(folder, 1, layout, { seed: 1 })).toEqual(of(1));
});

it('has no place for models beyond those of the command', async () => {
  await publishModel(folder, of(1), layout, { seed: 1 }, {});
  await expect(requireNoOtherModels(folder, { first: 0, end: 2 })).resolves.toBeUndefined();
  await expect(requireNoOtherModels(folder, { first: 0, end: 1 })).rejects.toMatchObject({ code: 'LETHE_MODELS_CHANGED' });
  await expect(requireNoOtherModels(path.join(folder, 'absent'), { first: 0, end: 1 })).resolves.toBeUndefined();
});
