/** Tiny training benchmarks through the real command line: what they print, never how fast they are. */
import fs from 'node:fs';
import path from 'node:path';
import type { TrainBenchReport } from '../../src/bench/train/types.js';
import { compiledHelper } from '../helpers/compiled.js';
import { lethe } from '../helpers/lethe.js';
import { temporaryFolder } from '../helpers/temporary.js';

const folder = temporaryFolder();
const small = ['bench', 'train', '--widths', '32', '--batches', '4', '--engines', 'native', '--precisions', 'fp32'];
const quick = [...small, '--repeats', '1', '--seconds', '0.01'];

function fakeTorch(): string {
  const file = path.join(folder, 'python');
  const main = `import(${JSON.stringify(compiledHelper('fakeTorch'))}).then(({ main }) => main(process.argv.slice(2)));`;
  fs.writeFileSync(file, `#!${process.execPath}\n${main}\n`, { mode: 0o755 });
  return file;
}

describe('lethe bench train', () => {
  it('prints the contract, and writes it', async () => {
    const out = path.join(folder, 'report.json');
    const { code, stdout } = await lethe([...quick, '--isa', 'portable', '--threads', '1,2', '--per-layer', '--out', out, '--json']);
    expect(code).toBe(0);
    const document = JSON.parse(stdout) as TrainBenchReport & { document: string };
    expect(document.document).toBe('lethe.bench-train');
    expect(document.machine.peaks).toMatchObject([{ isa: 'portable', fmaGflops: expect.any(Number) as number }]);
    expect(document.results.map(({ threads }) => threads)).toEqual([1, 2]);
    for (const result of document.results) {
      expect(result).toMatchObject({
        net: 'resnet9/32',
        width: 32,
        batchSize: 4,
        engine: 'native',
        backend: 'native-portable',
        precision: 'fp32',
      });
      for (const name of ['imagesPerSecond', 'mad', 'gflops', 'shareOfPeak', 'memoryBytes', 'maxRssBytes'] as const) {
        expect(result[name]).toBeGreaterThanOrEqual(0);
      }
      expect(result.gflops).toBeCloseTo(result.imagesPerSecond! * result.flopsPerImage * 1e-9);
      expect(result.peers).toEqual([]);
    }
    expect(document.results.map(({ speedUp }) => speedUp)).toEqual([null, expect.any(Number)]);
    const { parts, milliseconds } = document.layers[0]!;
    const layersWith = (name: string): number => parts.filter(({ part, gflops }) => part === name && gflops !== null).length;
    // 8 convolutions and the head forward; the first convolution has no input gradient
    expect([layersWith('forward'), layersWith('weight gradient'), layersWith('input gradient'), layersWith('backward')]).toEqual([
      9, 8, 7, 1,
    ]);
    expect(parts.reduce((sum, part) => sum + part.milliseconds, 0)).toBeCloseTo(milliseconds);
    // 1,000 images, half of them a model, 14 epochs
    expect(document.modelsPerHour).toMatchObject([{ plan: 'cifar10-small', net: 'resnet9/8', batchSize: 16, imagesPerModel: 7000 }]);
    expect(document.modelsPerHour[0]!.modelsPerHour).toBeGreaterThan(0);
    expect(JSON.parse(fs.readFileSync(out, 'utf8'))).toEqual(document);
  });

  it('is checked against PyTorch and timed beside it', async () => {
    const { code, stdout } = await lethe([
      ...[...quick, '--engines', 'native,ort', '--no-recipe'],
      ...['--peers', '--python', fakeTorch(), '--json'],
    ]);
    expect(code).toBe(0);
    const { results, modelsPerHour } = JSON.parse(stdout) as TrainBenchReport;
    expect(modelsPerHour).toEqual([]);
    expect(results[0]!.check).toMatchObject({ passed: true, against: 'torch' });
    expect(results[0]!.check.gradientDifference).toBeLessThan(1e-3);
    expect(results[1]).toMatchObject({ engine: 'ort', backend: 'ort', precision: 'fp32', memoryBytes: null, check: { passed: true } });
    expect(results[0]!.peers).toMatchObject([{ name: 'torch', version: '0.0 (fake)', precision: 'fp32', imagesPerSecond: 50, repeats: 1 }]);
    expect(results[0]!.peers[0]!.ratio).toBeCloseTo(results[0]!.imagesPerSecond! / 50);
  });

  it('does not time what disagrees with PyTorch, and says why', async () => {
    const { code, stdout } = await lethe([...quick, '--peers', '--python', fakeTorch(), '--json'], { FAKE_PEER: 'wrong' });
    expect(code).toBe(1);
    const { results, modelsPerHour } = JSON.parse(stdout) as TrainBenchReport;
    expect(results).toMatchObject([{ imagesPerSecond: null, gflops: null, repeats: 0, peers: [] }]);
    expect(results[0]!.check).toMatchObject({
      passed: false,
      reason: expect.stringMatching(/^gradient differs by 9\.1e-2, more than 0.02/) as string,
    });
    expect(modelsPerHour).toEqual([]);
  });

  it('goes on without a peer that is missing, checked against another level, and names what to install', async () => {
    const { code, stdout, stderr } = await lethe([...quick, '--isa', 'portable', '--peers', '--python', '/nowhere/python3']);
    expect(code).toBe(4);
    expect(stdout).toMatch(/^network +batch +backend .* ours \/ peer$/m);
    expect(stdout).toMatch(/^resnet9\/32 +4 +native-portable +fp32 +1 +\d/m);
    expect(stderr).toMatch(/LETHE_PEER_MISSING.*\/nowhere\/python3.*pip install numpy torch/);
  });

  it('stops at its budget in the middle of a sample, and says what it left out', async () => {
    // a sample of an hour, and a network that never has its turn
    const { code, stdout } = await lethe([
      ...['bench', 'train', '--widths', '32', '--batches', '4,6', '--engines', 'native', '--precisions', 'fp32', '--no-recipe'],
      ...['--seconds', '3600', '--budget', '4', '--json'],
    ]);
    expect(code).toBe(0);
    const { results, budget } = JSON.parse(stdout) as TrainBenchReport;
    expect(budget.cut).toEqual([
      expect.stringMatching(/^resnet9\/32, batch 4: (0 of 5 repeats done|not checked, so not timed)$/),
      expect.stringMatching(/^resnet9\/32, batch 6: (0 of 5 repeats done|not checked, so not timed)$/),
    ]);
    for (const { imagesPerSecond, repeats } of results) expect({ imagesPerSecond, repeats }).toEqual({ imagesPerSecond: null, repeats: 0 });
  });

  it('explains itself', async () => {
    const { code, stdout } = await lethe(['bench', 'train', '--help']);
    expect(code).toBe(0);
    for (const option of [
      '--widths',
      '--batches',
      '--engines',
      '--isa',
      '--precisions',
      '--threads',
      '--peers',
      '--python',
      '--budget',
      '--per-layer',
      '--recipe',
      '--json',
    ]) {
      expect(stdout).toContain(option);
    }
  });

  it('teaches what is wrong with its options', async () => {
    const cases: [string[], RegExp][] = [
      [['--widths', '0'], /LETHE_NET_INVALID.*a width divisor > 0 \(1, 4, 8\)/],
      [['--widths', 'wide'], /expected a number; received "wide"/],
      [['--batches', '0'], /expected an integer >= 1/],
      [['--engines', 'nativ'], /Did you mean native\?/],
      [['--precisions', 'fp8'], /LETHE_OPTION_UNKNOWN/],
      [['--isa', 'sse9'], /LETHE_OPTION_UNKNOWN/],
      [['--recipe', 'nowhere.json'], /LETHE_FILE_MISSING/],
      [['--recipe', 'plans/quickstart.json'], /a plan for resnet9 on cifar10/],
    ];
    for (const [args, message] of cases) {
      const { code, stderr } = await lethe([...quick, ...args]);
      expect({ args, code, stderr }).toMatchObject({ code: 2, stderr: expect.stringMatching(message) as string });
    }
  });
});
