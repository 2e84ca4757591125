import fs from 'node:fs';
import path from 'node:path';
import { syntheticDataset } from '../../src/data/synthetic.js';
import { NativeEngine } from '../../src/engines/native.js';
import { buildNet } from '../../src/models/index.js';
import { readCheckpoint } from '../../src/store/contents/checkpoint.js';
import { readNpy, writeNpy } from '../../src/store/formats/npy.js';
import { readSafetensors } from '../../src/store/formats/safetensors.js';
import { registerTrain } from '../../src/cli/train.js';
import { temporaryFolder } from '../helpers/temporary.js';
import { runVerb } from './runVerb.js';

const folder = temporaryFolder();
const { dataset } = syntheticDataset({ trainPerClass: 6, validationPerClass: 2 });
const small = ['--dataset', 'synthetic', '--train-per-class', '6', '--validation-per-class', '2', '--net', 'smallcnn'];
const recipe = ['--epochs', '2', '--batch-size', '8', '--learning-rate', '0.1'];
const train = (...more: string[]) => runVerb(registerTrain, ['train', ...small, ...recipe, ...more]);

interface TrainDocument {
  document: string;
  recipe: { epochs: number; schedule: { peakEpoch: number } };
  models: { model: number; status: string; gradientImages: number; accuracy: { train: number; validation: number } }[];
}

describe('lethe train', () => {
  const out = path.join(folder, 'three');

  it('writes checkpoints that give the logits it wrote, and a summary', async () => {
    const { stdout, exitCode } = await train('--models', '3', '--out', out, '--json');
    expect(exitCode).toBe(0);
    const summary = JSON.parse(stdout) as TrainDocument;
    expect(summary.document).toBe('lethe.train');
    expect(summary.recipe.schedule.peakEpoch).toBeCloseTo(10 / 24, 12);
    expect(summary.models.map(({ model, status, gradientImages }) => [model, status, gradientImages])).toEqual(
      [0, 1, 2].map((model) => [model, 'trained', 60]),
    );

    const input = { height: 16, width: 16, channels: 3 };
    const net = buildNet({ name: 'smallcnn', width: 1, input, numClasses: dataset.numClasses });
    const engine = new NativeEngine();
    const file = path.join(out, 'model-00001.safetensors');
    const { parameters } = await readCheckpoint(file, engine.parameters(net));
    const points = Int32Array.from({ length: 40 }, (_, point) => point);
    const logits = await readNpy(path.join(out, 'logits.npy'));
    expect(logits.shape).toEqual([3, 40, 5]);
    expect(await engine.forwardMany(net, dataset, [parameters], points)).toEqual(logits.data.subarray(200, 400));
    expect((await readSafetensors(file)).metadata.get('dataset')).toBe(dataset.sha256);

    const row = Array.from(logits.data.subarray(200, 205));
    const label = dataset.labels[0]!;
    const others = row.filter((_, c) => c !== label).reduce((sum, logit) => sum + Math.exp(logit), 0);
    const margins = await readNpy(path.join(out, 'margins.npy'));
    expect(margins.data[40]).toBeCloseTo(row[label]! - Math.log(others), 4);
    const right = Array.from(margins.data.subarray(40, 70)).filter((_, point) => {
      const z = Array.from(logits.data.subarray(200 + 5 * point, 205 + 5 * point));
      return z.indexOf(Math.max(...z)) === dataset.labels[point];
    });
    expect(summary.models[1]!.accuracy.train).toBeCloseTo(right.length / 30, 12);
  });

  it('gives a model the same bytes alone, and on the examples of its mask', async () => {
    const masks = Uint8Array.from({ length: 3 * 30 }, (_, i) => (i < 30 ? i % 2 : 1));
    await writeNpy(path.join(folder, 'masks.npy'), [3, 30], masks, { bool: true });
    await train('--models', '0-1', '--masks', path.join(folder, 'masks.npy'), '--out', path.join(folder, 'masked'));
    const odd = Int32Array.from({ length: 15 }, (_, i) => 29 - 2 * i);
    await writeNpy(path.join(folder, 'odd.npy'), [15], odd);
    await train('--indices', path.join(folder, 'odd.npy'), '--out', path.join(folder, 'odd'));
    const bytes = (run: string, model: number) => fs.readFileSync(path.join(folder, run, `model-0000${model}.safetensors`));
    expect(bytes('masked', 1).equals(bytes('three', 1))).toBe(true);
    expect(bytes('masked', 0).equals(bytes('odd', 0))).toBe(true);
    expect(bytes('masked', 0).equals(bytes('three', 0))).toBe(false);
  });

  it('smooths labels and augments images when asked, and says so in the recipe', async () => {
    const run = async (name: string, ...more: string[]) => {
      const { stdout } = await train('--epochs', '15', ...more, '--out', path.join(folder, name), '--json');
      return JSON.parse(stdout) as { recipe: object; models: { loss: number }[] };
    };
    const plain = await run('plain');
    const smooth = await run('smooth', '--label-smoothing', '0.5');
    const augmented = await run('augmented', '--crop-padding', '3', '--flip');
    // no model does better than the entropy of the smoothed labels: 0.6 and four times 0.1
    const entropy = -(0.6 * Math.log(0.6) + 0.4 * Math.log(0.1));
    expect(plain.models[0]!.loss).toBeLessThan(entropy);
    expect(smooth.models[0]!.loss).toBeGreaterThan(entropy);
    expect(smooth.recipe).toMatchObject({ labelSmoothing: 0.5 });
    expect(plain.recipe).not.toHaveProperty('augment');
    expect(augmented.recipe).toMatchObject({ augment: { cropPadding: 3, flip: true } });
    expect(augmented.models[0]!.loss).toBeGreaterThan(plain.models[0]!.loss);
  });

  it('trains in bf16 when asked, and says so', async () => {
    const folderOf = path.join(folder, 'bf16');
    const { stdout } = await train('--models', '3', '--precision', 'bf16', '--out', folderOf, '--json');
    expect(JSON.parse(stdout)).toMatchObject({ engine: { engine: 'native', precision: 'bf16' } });
    const logits = await readNpy(path.join(folderOf, 'logits.npy'));
    const other = path.join(folder, 'fp32');
    await train('--models', '3', '--precision', 'fp32', '--out', other, '--json');
    const fp32 = await readNpy(path.join(other, 'logits.npy'));
    expect(logits.data).not.toEqual(fp32.data);
  });

  it('resumes: finished models stay, lost and damaged ones are made again, all files as without the interruption', async () => {
    const cut = path.join(folder, 'cut');
    fs.cpSync(out, cut, { recursive: true });
    for (const name of ['logits.npy', 'margins.npy', 'train.json', 'model-00001.safetensors']) fs.rmSync(path.join(cut, name));
    const damaged = path.join(cut, 'model-00002.safetensors');
    const bytes = fs.readFileSync(damaged);
    bytes[bytes.length - 2]! ^= 1;
    fs.writeFileSync(damaged, bytes);
    const kept = fs.statSync(path.join(cut, 'model-00000.safetensors'));
    const { stderr, exitCode } = await train('--models', '3', '--out', cut);
    expect([exitCode, stderr.includes('resuming, 1 of 3 models')]).toEqual([0, true]);
    expect(fs.statSync(path.join(cut, 'model-00000.safetensors')).ino).toBe(kept.ino);
    for (const name of fs.readdirSync(out)) {
      expect(fs.readFileSync(path.join(cut, name)).equals(fs.readFileSync(path.join(out, name)))).toBe(true);
    }
  });

  it('fails when no model has trained, found diverged or diverging now, and keeps what is on disk', async () => {
    const hot = path.join(folder, 'hot');
    const attempt = () => train('--learning-rate', '1e30', '--models', '2', '--out', hot, '--json');
    for (const { exitCode, stdout, stderr } of [await attempt(), await attempt()]) {
      expect(exitCode).toBe(1);
      expect(stderr).toMatch(/LETHE_MODELS_DIVERGED: all 2 models diverged.*learning rate.*--learning-rate/);
      expect(JSON.parse(stdout)).toMatchObject({
        document: 'lethe.error',
        code: 'LETHE_MODELS_DIVERGED',
        expected: 'a finite loss',
        received: expect.stringContaining('NaN') as string,
        action: expect.stringContaining('less than 1e+30') as string,
        exitCode: 1,
      });
    }
    const files = ['command.json', 'logits.npy', 'margins.npy', 'model-00000.safetensors', 'model-00001.safetensors', 'train.json'];
    expect(fs.readdirSync(hot).sort()).toEqual(files);
  });

  it('refuses a folder with models of another command, and leaves it as it is', async () => {
    const before = fs.readdirSync(out).map((name) => fs.statSync(path.join(out, name)).mtimeMs);
    const cases: [string[], string][] = [
      [['--models', '3', '--epochs', '3'], 'recipe.epochs: 2 -> 3'],
      [['--models', '3', '--seed', '1'], 'seed: 0 -> 1'],
      [['--models', '3', '--indices', path.join(folder, 'odd.npy')], 'subset: '],
      [['--models', '2'], 'models 0 to 1 only'],
    ];
    for (const [more, expected] of cases) {
      const { stderr, exitCode } = await train(...more, '--out', out);
      expect({ exitCode, code: stderr.includes('LETHE_MODELS_CHANGED'), why: stderr.includes(expected) }).toEqual({
        exitCode: 2,
        code: true,
        why: true,
      });
    }
    expect(fs.readdirSync(out).map((name) => fs.statSync(path.join(out, name)).mtimeMs)).toEqual(before);
  });

  it('teaches when an option is wrong', async () => {
    await writeNpy(path.join(folder, 'far.npy'), [2], Int32Array.of(3, 30));
    await writeNpy(path.join(folder, 'twice.npy'), [2], Int32Array.of(3, 3));
    const cases: [string[], string][] = [
      [['--models', '4-2'], 'LETHE_MODELS_RANGE'],
      [['--models', '0'], 'LETHE_MODELS_RANGE'],
      [['--schedule', 'linear'], 'LETHE_OPTION_INVALID'],
      [['--net', 'resnet8'], 'Did you mean resnet9'],
      [['--label-smoothing', '1.5'], '--label-smoothing is out of range; expected a number from 0 up to but not including 1; received 1.5'],
      [['--learning-rate', '-1'], '--learning-rate is out of range; expected a number above 0'],
      [['--weight-decay', '-1'], '--weight-decay is out of range; expected a number from 0 on'],
      [['--momentum', '2'], '--momentum is out of range'],
      [['--peak-epoch', '9'], '--peak-epoch is out of range; expected at most the 2 epochs'],
      [['--indices', path.join(folder, 'far.npy')], 'LETHE_INDICES_INVALID'],
      [['--indices', path.join(folder, 'twice.npy')], '1 repeats'],
      [['--models', '4', '--masks', path.join(folder, 'masks.npy')], 'LETHE_SHAPE_MISMATCH'],
      [['--indices', path.join(folder, 'odd.npy'), '--masks', path.join(folder, 'masks.npy')], 'exclude each other'],
    ];
    for (const [more, expected] of cases) {
      const { stderr, exitCode } = await train(...more, '--out', path.join(folder, 'never'));
      expect(stderr).toContain(expected);
      expect(exitCode).toBe(2);
    }
    expect(fs.existsSync(path.join(folder, 'never'))).toBe(false);
  });
});
