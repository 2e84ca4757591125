import fs from 'node:fs';
import path from 'node:path';
import { fillModelFolder, publishModel, readFinishedModel } from '../../../src/store/folders/modelFolder.js';
import type { ParameterTensor } from '../../../src/types.js';
import { temporaryFolder } from '../../helpers/temporary.js';

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

describe('a folder of models', () => {
  const fill = (out: string, models: { first: number; end: number }, command: object, checkpoints = true): Promise<void> =>
    fillModelFolder(out, { models, command: { ...command }, checkpoints }, () => Promise.resolve());
  const at = (name: string): string => path.join(folder, name);
  const refused = { code: 'LETHE_MODELS_CHANGED', exitCode: 2 };

  it('has no place for models beyond those of the command', async () => {
    await publishModel(folder, of(1), layout, { seed: 1 }, {});
    await expect(fill(folder, { first: 0, end: 1 }, { seed: 1 })).rejects.toMatchObject(refused);
    await expect(fill(folder, { first: 0, end: 2 }, { seed: 1 })).resolves.toBeUndefined();
  });

  it.each([true, false])('belongs to the command that came first, also before any model is made (checkpoints: %s)', async (checkpoints) => {
    const out = at(`claimed-${checkpoints}`);
    const commands = [0, 1, 2, 3].map((seed) => fill(out, { first: 0, end: 2 }, { seed }, checkpoints));
    const ends = await Promise.allSettled(commands);
    const first = ends.findIndex(({ status }) => status === 'fulfilled');
    expect(ends.filter(({ status }) => status === 'rejected').map((end) => (end as PromiseRejectedResult).reason as unknown)).toEqual(
      Array.from({ length: 3 }, () => expect.objectContaining(refused) as unknown),
    );
    await expect(fill(out, { first: 0, end: 2 }, { seed: first }, checkpoints)).resolves.toBeUndefined();
    await expect(fill(out, { first: 0, end: 3 }, { seed: first }, checkpoints)).rejects.toThrow(/models: "0 to 1" -> "0 to 2"/);
  });

  it('does not take over arrays that do not say what made them', async () => {
    fs.mkdirSync(at('old'));
    fs.writeFileSync(at('old/logits.npy'), '');
    await expect(fill(at('old'), { first: 0, end: 2 }, { seed: 1 }, false)).rejects.toMatchObject(refused);
  });

  it('is free again when a command ends before it has made anything, and goes when it was not there', async () => {
    const failing = (out: string, work: () => Promise<void>): Promise<void> =>
      fillModelFolder(out, { models: { first: 0, end: 1 }, command: { seed: 1 }, checkpoints: true }, async () => {
        await work();
        throw new TypeError('no engine');
      });
    await expect(failing(at('never'), () => Promise.resolve())).rejects.toThrow(TypeError);
    expect(fs.existsSync(at('never'))).toBe(false);
    const publish = (): Promise<void> => publishModel(at('begun'), of(0), layout, { seed: 1 }, {});
    await expect(failing(at('begun'), publish)).rejects.toThrow(TypeError);
    await expect(fill(at('begun'), { first: 0, end: 1 }, { seed: 2 })).rejects.toMatchObject(refused);
  });
});
