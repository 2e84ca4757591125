/** lethe bench: how fast the kernels and solvers are here, checked against rivals before they are timed. */
import { openFitInputs } from '../datamodels/fitInputs.js';
import { InvalidArgumentError } from 'commander';
import { benchLasso, type LassoBenchOptions } from '../bench/lasso.js';
import { defaultInterpreters, knownPeers } from '../bench/peers.js';
import { syntheticProblem } from '../bench/problem.js';
import { renderReport } from '../bench/table.js';
import { benchModes, type BenchProblem } from '../bench/types.js';
import { readBlock } from '../datamodels/blocks.js';
import { ExitCode, LetheError } from '../errors.js';
import { encodeJson } from '../store/disk/json.js';
import { publishResult, requireFree } from '../store/folders/claim.js';
import { addSuiteOptions, instructionSets, parseThreads, split, type SuiteOptions } from './benchOptions.js';
import { registerBenchGpu } from './benchGpu.js';
import { registerBenchTrain } from './benchTrain.js';
import { action, type Command, emitJson, integerAtLeast, interruptSignal, jsonHelp, optionWithDefault, say, oneOf } from './common.js';

interface LassoVerbOptions extends SuiteOptions {
  sizes: Size[];
  targets?: number;
  modes: string[];
  peers?: boolean;
  rscript: string;
  isa?: string[];
  threads: number[];
  repeats: number;
  masks?: string;
  outputs?: string;
  out?: string;
  json?: boolean;
}

interface Size {
  numModels: number;
  numTrain: number;
}

export function registerBench(program: Command): void {
  const bench = program.command('bench').description('speed of this machine, checked before it is timed');
  addSuiteOptions(bench.command('lasso'))
    .description('datamodels: seconds a target at a certified gap, beside other solvers on the same core')
    .addOption(
      optionWithDefault(
        '--sizes <list>',
        'models x train examples of the synthetic problems',
        parseSizes,
        '1000x2000,2000x5000,4000x10000',
      ),
    )
    .option('--targets <count>', 'targets of each problem (default: 256, 192, 128 by size; all of --outputs, up to 256)', integerAtLeast(1))
    .addOption(optionWithDefault('--modes <list>', `of ${benchModes.join(', ')}`, split, 'pooled,path,single'))
    .option('--peers', 'also time scikit-learn and glmnet, as far as they are installed')
    .option('--rscript <path>', 'the interpreter that has glmnet', defaultInterpreters.rscript)
    .option('--isa <list>', 'instruction sets to use (default: the best)', split)
    .addOption(optionWithDefault('--threads <list>', 'numbers of threads of our fits, or all; peers run beside 1', parseThreads, '1,all'))
    .option('--repeats <count>', 'timed runs of each', integerAtLeast(1), 3)
    .option('--masks <file>', 'real data instead of a synthetic problem, with --outputs: files as of lethe fit')
    .option('--outputs <file>', 'outputs of the models of --masks')
    .option('--out <file>', 'also write the JSON document here')
    .option('--json', jsonHelp)
    .action(action(lassoVerb));
  registerBenchTrain(bench);
  registerBenchGpu(bench);
}

async function lassoVerb(verb: LassoVerbOptions): Promise<void> {
  await requireFree(verb.out);
  const options: LassoBenchOptions = {
    problems: await problems(verb),
    modes: verb.modes.map((mode) => oneOf('--modes', mode, benchModes)),
    isas: instructionSets(verb.isa),
    threads: verb.threads,
    repeats: verb.repeats,
    budgetSeconds: verb.budget,
    peers: verb.peers ? knownPeers(verb) : [],
    say,
    signal: interruptSignal(),
  };
  const report = await benchLasso(options);
  if (verb.out !== undefined) await publishResult(verb.out, encodeJson({ document: 'lethe.bench-lasso', version: 1, ...report }));
  if (verb.json) emitJson('bench-lasso', report);
  else process.stdout.write(renderReport(report));
  // a rival that was asked for is missing: the rest of the comparison stands, but it is not whole
  if (report.peerProblems.length > 0) process.exitCode = ExitCode.environment;
}

async function problems({ sizes, targets, masks, outputs }: LassoVerbOptions): Promise<(() => BenchProblem)[]> {
  if (masks === undefined && outputs === undefined) {
    return sizes.map(
      ({ numModels, numTrain }) =>
        () =>
          syntheticProblem(numModels, numTrain, targets ?? defaultTargets(numTrain)),
    );
  }
  if (masks === undefined || outputs === undefined) {
    throw new LetheError('LETHE_OPTION_MISSING', 'real data needs both files', {
      expected: '--masks and --outputs',
      received: masks === undefined ? 'only --outputs' : 'only --masks',
    });
  }
  const inputs = await openFitInputs({ masks, outputs }, interruptSignal());
  try {
    const numTargets = Math.min(targets ?? defaultTargets(0), inputs.outputs.numTargets);
    const { outputs: chosen } = await readBlock(inputs.masks.numModels, inputs, { first: 0, end: numTargets });
    return [() => ({ source: `${masks}, ${outputs}`, masks: inputs.masks, outputs: chosen, numTargets })];
  } finally {
    await inputs.close();
  }
}

function defaultTargets(numTrain: number): number {
  return numTrain <= 2000 ? 256 : numTrain <= 5000 ? 192 : 128;
}

function parseSizes(text: string): Size[] {
  return split(text).map((size) => {
    const found = /^(\d+)x(\d+)$/.exec(size);
    const [numModels, numTrain] = [Number(found?.[1]), Number(found?.[2])];
    if (!(numModels >= 10 && numTrain >= 1)) {
      throw new InvalidArgumentError(`expected sizes like 1000x2000 (at least 10 models); received "${size}".`);
    }
    return { numModels, numTrain };
  });
}
