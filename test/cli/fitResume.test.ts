/** lethe fit by blocks: any cut, any interruption, the same bytes; other commands are refused. */
import { createHash } from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';
import { registerFit } from '../../src/cli/fit.js';
import { encodeNpy, readNpy, writeNpy } from '../../src/store/formats/npy.js';
import { randomProblem } from '../datamodels/problem.js';
import { lethe, startLethe } from '../helpers/lethe.js';
import { temporaryFolder } from '../helpers/temporary.js';
import { runVerb } from './runVerb.js';

const folder = temporaryFolder();
const file = (name: string): string => path.join(folder, name);
const [numModels, numTrain, numPoints, numClasses] = [300, 120, 40, 10];
const problem = randomProblem(numModels, numTrain, numPoints * numClasses, 6);
const results = ['datamodels.arrow', 'mask-rows.npy', 'weights.npy', 'bias.npy', 'lambda.npy', 'gap.npy'];

const inputs = (outputs = 'outputs.npy'): string[] => ['fit', '--masks', file('masks.npy'), '--outputs', file(outputs)];

async function fit(args: string[]): Promise<{ code: unknown; document: Record<string, unknown>; stderr: string }> {
  const { stdout, stderr, exitCode } = await runVerb(registerFit, [...args, '--json']);
  return { code: exitCode, document: JSON.parse(stdout) as Record<string, unknown>, stderr };
}

function hashes(out: string, names = results): Record<string, string> {
  return Object.fromEntries(
    names.map((name) => [
      name,
      createHash('sha256')
        .update(fs.readFileSync(path.join(file(out), name)))
        .digest('hex'),
    ]),
  );
}

let clean: Record<string, string>;

beforeAll(async () => {
  await writeNpy(file('masks.npy'), [numModels, numTrain], problem.dense, { bool: true });
  await writeNpy(file('outputs.npy'), [numModels, numPoints, numClasses], problem.outputs);
  const { code, document } = await fit([...inputs(), '--out', file('clean'), '--export', 'npy', '--threads', '1']);
  expect([code, document['numTargets'], document['resumedTargets']]).toEqual([0, 400, 0]);
  clean = hashes('clean');
});

describe('the same bytes', () => {
  it.each([
    ['--block', '30', '--threads', '2'],
    ['--block', '400', '--threads', '1'],
    ['--memory', '2GiB', '--threads', '2'],
  ])('with %s %s %s %s', async (...args) => {
    const out = `cut${args[1]}`;
    const { code, stderr } = await fit([...inputs(), '--out', file(out), '--export', 'npy', ...args]);
    expect(code).toBe(0);
    expect(stderr).toMatch(/in \d+ blocks? of at most \d+\n.*about .* of memory .* of disk/);
    expect(stderr).toMatch(/first \d+ targets after .*targets\/s, about .* left/);
    expect(hashes(out)).toEqual(clean);
    expect(fs.readdirSync(file(out)).sort()).toEqual([...results, 'fit.json'].sort());
  });

  it('from a file in Fortran order', async () => {
    // (models, points, classes) with the first index fastest
    const values = new Float32Array(problem.outputs.length);
    for (let k = 0; k < values.length; k++) {
      const [model, point, label] = [Math.floor(k / 400), Math.floor((k % 400) / 10), k % 10];
      values[model + numModels * (point + numPoints * label)] = problem.outputs[k]!;
    }
    const bytes = Buffer.from(encodeNpy([numModels, numPoints, numClasses], values));
    const header = bytes.subarray(0, 128).toString('latin1').replace("'fortran_order': False", "'fortran_order': True ");
    fs.writeFileSync(file('fortran.npy'), Buffer.concat([Buffer.from(header, 'latin1'), bytes.subarray(128)]));
    const { code } = await fit([...inputs('fortran.npy'), '--out', file('fortran'), '--block', '90']);
    expect(code).toBe(0);
    expect(hashes('fortran', ['datamodels.arrow'])['datamodels.arrow']).toBe(clean['datamodels.arrow']);
  });

  it('after kills at any time, with other blocks each time', async () => {
    const out = file('killed');
    let kills = 0;
    // a kill between fit.json and the end leaves blocks, which the next attempt removes
    for (let attempt = 0, ended = false; attempt < 40 && !ended; attempt++) {
      const block = String(10 * (1 + (attempt % 3)));
      const { child, result } = startLethe([...inputs(), '--out', out, '--export', 'npy', '--block', block, '--threads', '1']);
      const timer = setTimeout(() => child.kill('SIGKILL'), 400 + 150 * attempt);
      const { signal } = await result;
      clearTimeout(timer);
      ended = signal !== 'SIGKILL';
      if (!ended) kills++;
    }
    expect(kills).toBeGreaterThan(0);
    expect(hashes('killed')).toEqual(clean);
    expect(fs.existsSync(path.join(out, 'blocks'))).toBe(false);
    expect(fs.readdirSync(out).filter((name) => name.endsWith('.tmp'))).toEqual([]);
  });
});

describe('interruption', () => {
  it('SIGTERM: exit 75 within a second, finished blocks kept, verified and used', async () => {
    const out = file('stopped');
    const blocks = path.join(out, 'blocks');
    const args = [...inputs(), '--out', out, '--block', '10', '--threads', '1', '--export', 'npy'];
    const { child, result } = startLethe(args);
    let finished: string[] = [];
    while (finished.length < 2) {
      await new Promise((resolve) => setTimeout(resolve, 5));
      finished = fs.existsSync(blocks) ? fs.readdirSync(blocks).filter((name) => /^targets-.*\.arrow$/.test(name)) : [];
    }
    const asked = performance.now();
    child.kill('SIGTERM');
    expect((await result).code).toBe(75);
    expect(performance.now() - asked).toBeLessThan(2000); // a busy machine ends processes slowly
    const kept = fs.readdirSync(path.join(blocks, 'manifest')).length;
    expect(kept).toBeGreaterThanOrEqual(1);
    // a damaged block is fitted again
    const damaged = path.join(blocks, finished.sort()[0]!);
    const bytes = fs.readFileSync(damaged);
    bytes[bytes.length >> 1]! ^= 1;
    fs.writeFileSync(damaged, bytes);
    const { code, stderr, stdout } = await lethe([...args, '--json']);
    expect(code).toBe(0);
    expect(stderr).toMatch(/resuming, \d+ of 400 targets are finished/);
    const { resumedTargets, foundFinished, seconds } = JSON.parse(stdout) as {
      resumedTargets: number;
      foundFinished: boolean;
      seconds: number;
    };
    expect([foundFinished, resumedTargets > 0, seconds > 0]).toEqual([false, true, true]);
    expect(resumedTargets % 10).toBe(0);
    expect(resumedTargets).toBeLessThanOrEqual(10 * (kept + 1));
    expect(hashes('stopped')).toEqual(clean);
  });
});

describe('the same folder', () => {
  it('finished: nothing is done again, missing exports are made, damaged datamodels too', async () => {
    const out = file('again');
    const first = await fit([...inputs(), '--out', out]);
    expect(first.document).toMatchObject({ resumedTargets: 0, foundFinished: false });
    const { seconds, secondsPerTarget } = first.document;
    expect(secondsPerTarget).toBe((seconds as number) / 400);
    const before = fs.statSync(path.join(out, 'datamodels.arrow')).mtimeMs;
    const { document } = await fit([...inputs(), '--out', out, '--export', 'npy', '--threads', '2']);
    expect(document).toMatchObject({
      resumedTargets: 400,
      foundFinished: true,
      seconds,
      secondsPerTarget,
      meanNonzero: expect.any(Number) as number,
    });
    expect(fs.statSync(path.join(out, 'datamodels.arrow')).mtimeMs).toBe(before);
    expect(hashes('again')).toEqual(clean);
    fs.truncateSync(path.join(out, 'datamodels.arrow'), 5000);
    expect((await fit([...inputs(), '--out', out])).document).toMatchObject({ resumedTargets: 0 });
    expect(hashes('again')).toEqual(clean);
  });

  it('a description that says otherwise than the datamodels is put right', async () => {
    const record = path.join(file('again'), 'fit.json');
    const sound = fs.readFileSync(record, 'utf8');
    fs.writeFileSync(record, sound.replace(/"numConverged": \d+/, '"numConverged": 900'));
    const { document, stderr } = await fit([...inputs(), '--out', file('again')]);
    expect(document).toMatchObject({ foundFinished: true, numTargets: 400 });
    expect(document['numConverged']).toBeLessThanOrEqual(400);
    expect(stderr).toMatch(/is not that of its datamodels.*\n.*numConverged: 900 -> \d+/);
    expect(fs.readFileSync(record, 'utf8')).toBe(sound);
  });

  it('other options or inputs are refused with the difference, finished or not', async () => {
    const { code, document } = await fit([...inputs(), '--out', file('again'), '--path-length', '50', '--gap-tolerance', '1e-5']);
    expect([code, document['code']]).toEqual([2, 'LETHE_FIT_CHANGED']);
    expect(document['message']).toMatch(/2 differences.*\n.*options\.gapTolerance: 0\.0001 -> 0\.00001\n.*options\.pathLength: 100 -> 50/);
    const other = problem.outputs.slice();
    other[0]! += 1;
    await writeNpy(file('other.npy'), [numModels, numPoints, numClasses], other);
    expect((await fit([...inputs('other.npy'), '--out', file('again')])).document['message']).toMatch(/outputs\.fingerprint: "/);
    await writeNpy(
      file('masks2.npy'),
      [numModels, numTrain],
      problem.dense.map((bit, k) => (k === 7 ? 1 - bit : bit)),
      { bool: true },
    );
    const changed = await fit([...inputs(), '--masks', file('masks2.npy'), '--out', file('again')]);
    expect(changed.document['message']).toMatch(/masks\.sha256: "/);
  });

  it('a single value that changed under a finished block is found', async () => {
    // large enough that the fingerprint, which samples, does not see the value
    const [rows, columns] = [40, 50_000];
    const wide = Float32Array.from({ length: rows * columns }, (_, k) => Math.sin(k));
    await writeNpy(
      file('narrow.npy'),
      [rows, 6],
      Uint8Array.from({ length: 240 }, (_, k) => (k * 7 + (k >> 3)) % 2),
      { bool: true },
    );
    await writeNpy(file('wide.npy'), [rows, columns], wide);
    const args = ['fit', '--masks', file('narrow.npy'), '--outputs', file('wide.npy'), '--out', file('wide'), '--block', '2500'];
    const { child, result } = startLethe([...args, '--threads', '1', '--estimator', 'marginal']);
    const manifest = path.join(file('wide'), 'blocks', 'manifest');
    while (!fs.existsSync(manifest) || fs.readdirSync(manifest).length < 1) await new Promise((resolve) => setTimeout(resolve, 2));
    child.kill('SIGTERM');
    expect((await result).code).toBe(75);
    const handle = fs.openSync(file('wide.npy'), 'r+');
    fs.writeSync(handle, Float32Array.of(5), 0, 4, 128 + 4 * (25 * columns + 1300));
    fs.closeSync(handle);
    const { code, document } = await fit([...args, '--estimator', 'marginal']);
    expect([code, document['code']]).toEqual([2, 'LETHE_FIT_CHANGED']);
    expect(document['message']).toMatch(/of other outputs; expected the values of targets 0 to 2499/);
  });
});

it('refuses too little memory, blocks of half points, and options of the solver to come', async () => {
  const cases: [string[], string][] = [
    [['--memory', '64MiB'], 'LETHE_MEMORY_LIMIT'],
    [['--block', '15'], 'LETHE_FIT_OPTION'],
    [['--folds', '3'], 'LETHE_FIT_OPTION'],
    [['--select', 'kfold', '--folds', '301'], 'LETHE_FIT_OPTION'],
    [['--select', 'kfold', '--no-refit'], 'LETHE_FIT_OPTION'],
    [['--lambdas', '0.1,0.1'], 'LETHE_FIT_OPTION'],
    [['--lambdas', '0.1,-1'], 'LETHE_FIT_OPTION'],
    [['--lambdas', '0.1', '--select', 'none', '--lambda', '1'], 'LETHE_FIT_OPTION'],
    [['--row-weights', file('outputs.npy')], 'LETHE_ROW_WEIGHTS_SHAPE'],
    [['--row-weights', file('masks.npy')], 'LETHE_SHAPE_MISMATCH'],
  ];
  for (const [args, expected] of cases) {
    const { code, document } = await fit([...inputs(), '--out', file('never'), ...args]);
    expect([args[0], document['code'], code]).toEqual([args[0], expected, 2]);
  }
  expect(fs.existsSync(file('never'))).toBe(false);
  const weights = await readNpy(file('clean/weights.npy'));
  expect(weights.shape).toEqual([400, numTrain]);
});
