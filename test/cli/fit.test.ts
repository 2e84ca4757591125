import { Command } from 'commander';
import fs from 'node:fs';
import path from 'node:path';
import { registerFit } from '../../src/cli/fit.js';
import { nativeAddon } from '../../src/native/addon.js';
import { nativeMargins } from '../../src/native/margins.js';
import { Purpose, Random } from '../../src/native/random.js';
import { readDatamodels } from '../../src/store/contents/datamodels.js';
import { readNpy, writeNpy } from '../../src/store/formats/npy.js';
import { randomProblem } from '../datamodels/problem.js';
import { temporaryFolder } from '../helpers/temporary.js';
import { runVerb } from './runVerb.js';

const folder = temporaryFolder();
const file = (name: string): string => path.join(folder, name);
const problem = randomProblem(80, 30, 6, 4);

/** Runs the verb; gives what it printed to stdout and the exit code it set. */
async function lethe(...args: string[]): Promise<{ code: number; document: Record<string, unknown> }> {
  let text = '';
  const writeOut = process.stdout.write.bind(process.stdout);
  const writeError = process.stderr.write.bind(process.stderr);
  process.stdout.write = (chunk: string | Uint8Array): boolean => {
    text += String(chunk);
    return true;
  };
  process.stderr.write = () => true;
  const program = new Command().exitOverride();
  registerFit(program);
  try {
    await program.parseAsync(['node', 'lethe', 'fit', ...args, '--json']);
    return { code: Number(process.exitCode ?? 0), document: JSON.parse(text) as Record<string, unknown> };
  } finally {
    process.exitCode = 0;
    process.stdout.write = writeOut;
    process.stderr.write = writeError;
  }
}

const inputs = (): string[] => ['--masks', file('masks.npy'), '--outputs', file('outputs.npy'), '--threads', '1'];

beforeAll(async () => {
  await writeNpy(file('masks.npy'), [80, 30], problem.dense, { bool: true });
  await writeNpy(file('outputs.npy'), [80, 6], problem.outputs);
});

describe('lethe fit', () => {
  it('writes datamodels, a description and dense arrays, and prints the contract', async () => {
    const out = file('out');
    const { code, document } = await lethe(...inputs(), '--out', out, '--export', 'npy', '--seed', '3');
    expect(code).toBe(0);
    expect(document).toMatchObject({
      document: 'lethe.fit',
      version: 1,
      numModels: 80,
      numTrain: 30,
      numTargets: 6,
      numConverged: 6,
      threads: 1,
    });
    for (const name of ['seconds', 'secondsPerTarget', 'maxRelativeGap']) expect(document[name]).toEqual(expect.any(Number));
    expect(document['backend']).toMatch(/^cpu-/);
    const datamodels = readDatamodels(fs.readFileSync(path.join(out, 'datamodels.arrow')));
    const weights = await readNpy(path.join(out, 'weights.npy'));
    expect(weights.shape).toEqual([6, 30]);
    for (let k = datamodels.rowStart[2]!; k < datamodels.rowStart[3]!; k++) {
      expect(weights.data[2 * 30 + datamodels.indices[k]!]).toBe(datamodels.weights[k]);
    }
    expect(weights.data.filter((weight) => weight !== 0).length).toBe(datamodels.weights.length);
    for (const name of ['bias', 'lambda', 'gap'] as const) {
      const array = await readNpy(path.join(out, `${name}.npy`));
      expect(array).toMatchObject({ dtype: 'float32', shape: [6], data: datamodels[name] });
    }
    const description = JSON.parse(fs.readFileSync(path.join(out, 'fit.json'), 'utf8')) as { holdoutModels: number[]; options: object };
    expect(description.holdoutModels.length).toBe(10);
    expect(description.options).toMatchObject({ estimator: 'lasso', select: 'pooled', seed: 3, refit: true });
  });

  it('reads logits (models, points, classes) in float64 and uint8 masks, and fits at one lambda', async () => {
    await writeNpy(file('masks8.npy'), [80, 30], problem.dense);
    await writeNpy(file('logits.npy'), [80, 2, 3], Float64Array.from(problem.outputs));
    const { document } = await lethe(
      '--masks',
      file('masks8.npy'),
      '--outputs',
      file('logits.npy'),
      '--out',
      file('one'),
      '--lambda',
      '0.05',
    );
    expect(document).toMatchObject({ numTargets: 6, numConverged: 6 });
    const datamodels = readDatamodels(fs.readFileSync(path.join(file('one'), 'datamodels.arrow')));
    expect(datamodels.lambda).toEqual(new Float32Array(6).fill(0.05));
  });

  it('fits by the attributor it is told, with the options of that one only', async () => {
    const fit = (out: string, ...args: string[]) => lethe(...inputs(), '--out', file(out), '--estimator', 'ridge', ...args);
    const { document, code } = await fit('ridge', '--device', 'auto', '--export', 'npy');
    expect(code).toBe(0);
    expect(document).toMatchObject({ numConverged: 6, meanNonzero: 30, maxRelativeGap: 0, backend: 'cpu' });
    expect(document['choices']).toMatchObject([{ criterion: 'generalised cross-validation', numSampled: 6 }]);
    const description = JSON.parse(fs.readFileSync(path.join(file('ridge'), 'fit.json'), 'utf8')) as object;
    expect(description).toMatchObject({ options: { estimator: 'ridge', seed: 0 }, holdoutModels: [] });
    for (const wrong of [['--relaxation', '1'], ['--no-refit'], ['--device', 'cuda'], ['--lambda-ratio', '-1']]) {
      const refused = await fit('never', ...wrong);
      // a machine without a GPU says that first
      expect([['LETHE_FIT_OPTION', 'LETHE_GPU_UNAVAILABLE'].includes(String(refused.document['code'])), refused.code > 0]).toEqual([
        true,
        true,
      ]);
    }
    expect(fs.existsSync(file('never'))).toBe(false);
  });

  it('fails when no target is fitted, and only then; the folder stays', async () => {
    const fitted = async (name: string, outputs: Float32Array, ...more: string[]) => {
      await writeNpy(file(`${name}.npy`), [80, 6], outputs);
      return lethe('--masks', file('masks.npy'), '--outputs', file(`${name}.npy`), '--out', file(name), ...more);
    };
    const diverged = new Float32Array(80 * 6).fill(NaN);
    await fitted('nan', diverged);
    const { code, document } = await fitted('nan', diverged); // found finished
    expect([code, document['code'], document['received']]).toEqual([
      1,
      'LETHE_FIT_FAILED',
      '6 targets with NaN or infinite outputs, 0 unconverged',
    ]);
    expect(fs.existsSync(path.join(file('nan'), 'datamodels.arrow'))).toBe(true);
    const one = diverged.map((value, k) => (k % 6 === 4 ? problem.outputs[k]! : value));
    expect((await fitted('one-left', one)).document).toMatchObject({ document: 'lethe.fit', numConverged: 1, numNonFinite: 5 });
    expect((await fitted('constant', new Float32Array(80 * 6).fill(2))).document).toMatchObject({ document: 'lethe.fit', numConstant: 6 });
  });

  it('teaches what is wrong', async () => {
    await writeNpy(file('short.npy'), [79, 6], problem.outputs.subarray(0, 79 * 6));
    await writeNpy(file('none.npy'), [80, 0], new Float32Array(0));
    await writeNpy(
      file('counts.npy'),
      [80, 30],
      problem.dense.map((bit) => 2 * bit),
    );
    const cases: [string[], string, number][] = [
      [['--outputs', file('short.npy')], 'LETHE_SHAPE_MISMATCH', 2],
      [['--masks', file('counts.npy')], 'LETHE_MASKS_VALUE', 2],
      [['--outputs', file('masks.npy')], 'LETHE_OUTPUTS_SHAPE', 2],
      [['--outputs', file('none.npy')], 'LETHE_OUTPUTS_SHAPE', 2],
      [['--masks', file('outputs.npy')], 'LETHE_MASKS_SHAPE', 2],
      [['--select', 'none'], 'LETHE_FIT_OPTION', 2],
      [['--select', 'holdout', '--lambda', '1'], 'LETHE_FIT_OPTION', 2],
      [['--estimator', 'laso'], 'LETHE_OPTION_UNKNOWN', 2],
      [['--masks', file('absent.npy')], 'LETHE_FILE_MISSING', 2],
      [['--device', 'gpu'], 'LETHE_OPTION_UNKNOWN', 2],
    ];
    for (const [args, expected, exitCode] of cases) {
      const { code, document } = await lethe(...inputs(), '--out', file('never'), ...args);
      expect([document['code'], code]).toEqual([expected, exitCode]);
    }
    expect(fs.existsSync(file('never'))).toBe(false);
  });

  it('fits on the device it is told, and says so', async () => {
    const { cuda } = nativeAddon().systemInfo();
    const automatic = await lethe(...inputs(), '--out', file('automatic'), '--device', 'auto');
    expect(automatic.document['backend']).toMatch(cuda.devices.length > 0 ? /^cuda$/ : /^cpu-/);
    const told = await lethe(...inputs(), '--out', file('told'), '--device', 'cuda');
    if (cuda.devices.length > 0) {
      expect(told.document).toMatchObject({ backend: 'cuda', numConverged: 6 });
    } else {
      expect([told.document['code'], told.code]).toEqual(['LETHE_GPU_UNAVAILABLE', 4]);
      expect(String(told.document['message'])).toContain('Use --device cpu');
      expect(fs.existsSync(file('told'))).toBe(false);
    }
  });
});

describe('outputs that are not all numbers, or more than float32 can hold', () => {
  const one = ['--lambda', '0.01', '--threads', '1', '--export', 'npy'];
  const load = async (out: string, name: string): Promise<Float32Array> =>
    (await readNpy(path.join(file(out), `${name}.npy`))).data as Float32Array;

  it('a model that diverged is named with the way to leave it out, which gives the fit without it', async () => {
    const outputs = problem.outputs.slice().fill(NaN, 17 * 6, 18 * 6);
    await writeNpy(file('nan.npy'), [80, 6], outputs);
    const files = ['--masks', file('masks.npy'), '--outputs', file('nan.npy')];
    const program = (out: string, ...rest: string[]) => runVerb(registerFit, ['fit', ...files, '--out', file(out), ...one, ...rest]);
    for (let attempt = 0; attempt < 2; attempt++) {
      const { exitCode, stderr } = await program('refused'); // the second time it is found finished
      expect(exitCode).toBe(1);
      expect(stderr).toMatch(/LETHE_FIT_FAILED.*row 17 of the outputs.*--row-weights/);
    }
    await writeNpy(
      file('weights-8.npy'),
      [80, 6],
      BigInt64Array.from(outputs, (value) => (Number.isNaN(value) ? 0n : 1n)),
    );
    expect((await program('kept', '--row-weights', file('weights-8.npy'))).exitCode).toBe(0);
    const left = (values: Uint8Array | Float32Array, width: number) => values.filter((_, at) => Math.floor(at / width) !== 17);
    await writeNpy(file('m79.npy'), [79, 30], left(problem.dense, 30));
    await writeNpy(file('y79.npy'), [79, 6], left(problem.outputs, 6));
    await runVerb(registerFit, ['fit', '--masks', file('m79.npy'), '--outputs', file('y79.npy'), '--out', file('without'), ...one]);
    const [kept, without] = [await load('kept', 'weights'), await load('without', 'weights')];
    kept.forEach((weight, k) => {
      expect(weight).toBeCloseTo(without[k]!, 4);
    });
  });

  it('a row weight that does not fit a byte is refused', async () => {
    await writeNpy(file('heavy.npy'), [80, 6], new Int32Array(480).fill(1).fill(256, 7, 8));
    const args = ['fit', ...inputs(), '--out', file('heavy'), '--row-weights', file('heavy.npy')];
    const { exitCode, stderr } = await runVerb(registerFit, args);
    expect(exitCode).toBe(2);
    expect(stderr).toMatch(/LETHE_ROW_WEIGHTS_VALUE.*256 of model 1, column 1/);
  });

  it('float64 outputs give the same weights at any offset; the bias moves, and lost digits are said', async () => {
    const fit = async (offset: number): Promise<{ weights: Float32Array; bias: Float32Array; stderr: string }> => {
      const out = `offset-${offset}`;
      await writeNpy(
        file('y64.npy'),
        [80, 6],
        Float64Array.from(problem.outputs, (value) => value + offset),
      );
      const args = ['fit', '--masks', file('masks.npy'), '--outputs', file('y64.npy'), '--out', file(out), ...one];
      const { stderr, exitCode } = await runVerb(registerFit, args);
      expect(exitCode).toBe(0);
      return { weights: await load(out, 'weights'), bias: await load(out, 'bias'), stderr };
    };
    const plain = await fit(0);
    expect(plain.stderr).not.toContain('lose digits');
    for (const offset of [1e6, -1e8]) {
      const { weights, bias, stderr } = await fit(offset);
      expect(Math.max(...weights.map((weight, k) => Math.abs(weight - plain.weights[k]!)))).toBeLessThan(1e-6);
      bias.forEach((value, target) => {
        expect(Math.abs(value - offset - plain.bias[target]!)).toBeLessThanOrEqual(Math.abs(offset) * 2 ** -24);
      });
      expect(stderr).toMatch(/6 biases lose digits, as they are stored as float32/);
    }
  });

  it('outputs that differ by their offset only are not the same fit', async () => {
    const args = (name: string) => ['fit', '--masks', file('masks.npy'), '--outputs', file(name), '--out', file('moved'), ...one];
    await writeNpy(file('a64.npy'), [80, 6], Float64Array.from(problem.outputs));
    await writeNpy(
      file('b64.npy'),
      [80, 6],
      Float64Array.from(problem.outputs, (value) => value + 1024),
    );
    expect((await runVerb(registerFit, args('a64.npy'))).exitCode).toBe(0);
    expect((await runVerb(registerFit, args('b64.npy'))).stderr).toContain('LETHE_FIT_CHANGED');
  });
});

test('covariance takes labels of points, train examples first, and says what does not fit', async () => {
  const [numModels, numTrain, numPoints] = [60, 12, 16];
  const random = new Random(5, Purpose.synthetic, 0);
  const dense = Uint8Array.from({ length: numModels * numTrain }, () => random.below(2));
  const logits = Float32Array.from({ length: numModels * numPoints * 2 }, (_, at) => {
    const [model, point] = [Math.floor(at / (2 * numPoints)), Math.floor(at / 2) % numPoints];
    return random.normal() + (point < numTrain && at % 2 === point % 2 ? 3 * dense[model * numTrain + point]! : 0);
  });
  await writeNpy(file('points-masks.npy'), [numModels, numTrain], dense);
  await writeNpy(file('points-logits.npy'), [numModels, numPoints, 2], logits);
  const labels = Int32Array.from({ length: numPoints }, (_, point) => point % 2);
  await writeNpy(file('labels.npy'), [numPoints], labels);
  const { margins } = await nativeMargins({ logits, labels, numClasses: 2 });
  await writeNpy(file('points-margins.npy'), [numModels, numPoints], margins);
  const of = (outputs: string, out: string): string[] => {
    return ['--masks', file('points-masks.npy'), '--outputs', file(outputs), '--estimator', 'covariance', '--out', file(out)];
  };
  const { code, document } = await lethe(...of('points-logits.npy', 'of-logits'), '--labels', file('labels.npy'));
  expect({ code, document }).toMatchObject({ code: 0, document: { numTargets: 2 * numPoints, numConverged: 2 * numPoints } });
  expect(await lethe(...of('points-margins.npy', 'of-margins'), '--labels', file('labels.npy'))).toMatchObject({ code: 0 });
  const own = readDatamodels(fs.readFileSync(file('of-margins/datamodels.arrow')));
  // training on an example adds 3 to its margin
  for (let i = 0; i < numTrain; i++) expect(Math.abs(own.weights[own.rowStart[i]! + i]! - 3)).toBeLessThan(1.5);
  expect(await lethe(...of('points-logits.npy', 'none'))).toMatchObject({ code: 2, document: { code: 'LETHE_FIT_OPTION' } });
  await writeNpy(file('short.npy'), [numTrain], labels.subarray(0, numTrain));
  expect(await lethe(...of('points-logits.npy', 'short'), '--labels', file('short.npy'))).toMatchObject({
    code: 2,
    document: { code: 'LETHE_SHAPE_MISMATCH' },
  });
  const changed = labels.map((label) => 1 - label);
  await writeNpy(file('labels.npy'), [numPoints], changed);
  expect(await lethe(...of('points-logits.npy', 'of-logits'), '--labels', file('labels.npy'))).toMatchObject({
    code: 2,
    document: { code: 'LETHE_FIT_CHANGED' },
  });
});
