import fc from 'fast-check';
import { fitBlocks, planBlocks, planMemory, type OutputBlocks, type Span } from '../../src/datamodels/blocks.js';
import { openDesign } from '../../src/attributors/registry.js';
import { defaultFitOptions, fitDatamodels } from '../../src/datamodels/fit.js';

import { joinTargets } from '../../src/store/contents/datamodelRows.js';
import type { PenaltyChoice } from '../../src/types.js';
import { randomProblem, type Problem } from './problem.js';

function blocksOf({ masks, outputs, numTargets }: Problem): OutputBlocks {
  return {
    numModels: masks.numModels,
    numTargets,
    read: (first, end) =>
      Promise.resolve(
        Float32Array.from({ length: masks.numModels * (end - first) }, (_, k) => {
          const width = end - first;
          return outputs[Math.floor(k / width) * numTargets + first + (k % width)]!;
        }),
      ),
  };
}

describe('planBlocks', () => {
  it('covers every target once, whatever is finished', () => {
    const cuts = fc.array(fc.integer({ min: 0, max: 50 }), { maxLength: 8 });
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 50 }), fc.integer({ min: 1, max: 60 }), cuts, (numTargets, size, raw) => {
        const edges = [...new Set(raw.map((cut) => Math.min(cut, numTargets)))].sort((a, b) => a - b);
        const finished: Span[] = [];
        for (let k = 0; k + 1 < edges.length; k += 2) finished.push({ first: edges[k]!, end: edges[k + 1]! });
        const planned = planBlocks(numTargets, size, finished);
        const seen = new Array<number>(numTargets).fill(0);
        for (const { first, end } of [...finished, ...planned]) for (let target = first; target < end; target++) seen[target]!++;
        expect(seen.every((count) => count === 1)).toBe(true);
        expect(planned.every(({ first, end }) => end > first && end - first <= size)).toBe(true);
      }),
      { numRuns: 300, seed: 4 },
    );
  });
});

describe('planMemory', () => {
  const sizes = {
    numModels: 20_000,
    numTrain: 50_000,
    numTargets: 600_000,
    numClasses: 10,
    designBytes: 2 ** 28,
    mostTargets: 4096,
    weightsPerTarget: 1000,
    extraBytes: 2,
  };

  it('fills the limit with whole points and never passes it', () => {
    for (const limit of [2 ** 30, 2 ** 31, 3e9, 2 ** 34]) {
      const { targetsPerBlock, memoryBytes } = planMemory(sizes, limit);
      expect(targetsPerBlock % 10).toBe(0);
      expect(memoryBytes).toBeLessThanOrEqual(limit);
      const next = planMemory(sizes, limit, targetsPerBlock + 10).memoryBytes;
      expect(next > limit || targetsPerBlock === 4090).toBe(true);
    }
  });

  it('says how much one point needs, and that blocks hold whole points', () => {
    expect(() => planMemory(sizes, 2 ** 28)).toThrow(/LETHE_MEMORY_LIMIT.*at least [\d.]+ [MG]iB/);
    expect(() => planMemory(sizes, 2 ** 34, 15)).toThrow(/LETHE_FIT_OPTION.*multiple of the 10 classes/);
  });
});

describe('fitBlocks', () => {
  const problem = randomProblem(90, 40, 23, 2);
  const choices: PenaltyChoice[] = [
    { group: 'all', lambdaRatio: 0.3, relaxation: 0.5, criterion: 'error', numSampled: 23, correlation: 0, error: 1 },
  ];

  it.each([1, 5, 8, 23])('gives the bytes of one fit in blocks of %i', async (size) => {
    const whole = await fitDatamodels({ ...problem, choices }, defaultFitOptions, { threads: 1 });
    const parts = new Map<number, Awaited<ReturnType<typeof fitDatamodels>>>();
    const seen: number[] = [];
    // backwards: the order does not matter either
    const blocks = planBlocks(23, size).reverse();
    await fitBlocks(
      openDesign(problem.masks, defaultFitOptions, { numTargets: 23 }),
      { outputs: blocksOf(problem), blocks, choices },
      {
        threads: 2,
        onProgress: ({ done, total }) => seen.push(done / total),
        onBlock: ({ first, datamodels }) => Promise.resolve(void parts.set(first, datamodels)),
      },
    );
    const inOrder = [...parts.keys()].sort((a, b) => a - b).map((first) => parts.get(first)!);
    expect(joinTargets(40, inOrder)).toEqual(whole);
    expect(Math.max(...seen)).toBeLessThanOrEqual(1);
  });

  it('refuses a reader that gives too little, and stops when told to', async () => {
    const design = openDesign(problem.masks, { ...defaultFitOptions, select: 'holdout' }, { numTargets: 23 });
    const onBlock = (): Promise<void> => Promise.resolve();
    const outputs = { ...blocksOf(problem), read: () => Promise.resolve(new Float32Array(7)) };
    await expect(fitBlocks(design, { outputs, blocks: [{ first: 0, end: 5 }] }, { onBlock })).rejects.toMatchObject({
      code: 'LETHE_SHAPE_MISMATCH',
    });
    const controller = new AbortController();
    const blocks = planBlocks(23, 5);
    const fitted: number[] = [];
    const running = fitBlocks(
      design,
      { outputs: blocksOf(problem), blocks },
      {
        signal: controller.signal,
        onBlock: ({ first }) => {
          fitted.push(first);
          if (first === 5) controller.abort();
          return Promise.resolve();
        },
      },
    );
    await expect(running).rejects.toMatchObject({ code: 'LETHE_TASK_ABORTED' });
    expect(fitted).toEqual([0, 5]);
  });
});

it('takes (models, points, classes) outputs as they are', async () => {
  const problem = randomProblem(60, 20, 12, 9);
  const { masks, outputs } = problem;
  expect(await fitDatamodels({ masks, outputs, numPoints: 4, numClasses: 3 })).toEqual(await fitDatamodels(problem));
  await expect(fitDatamodels({ masks, outputs, numPoints: 4, numClasses: 4 })).rejects.toMatchObject({ code: 'LETHE_SHAPE_MISMATCH' });
});
