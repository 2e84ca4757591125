/** lethe evaluate klom|lds|accuracy on files. */
import { Option } from 'commander';
import { readLabelledLogits } from '../commands/labelledLogits.js';
import { readForgetSet } from '../data/forgetSets.js';
import { splitPoints } from '../data/indices.js';
import { LetheError } from '../errors.js';
import { centreMargins } from '../evaluate/centre.js';
import { klomFloor } from '../evaluate/floor.js';
import { defaultKlomOptions, divergences, klom } from '../evaluate/klom.js';
import { summarise } from '../evaluate/percentile.js';
import { nativeMargins } from '../native/margins.js';
import { chooseDevice, type DeviceName } from '../native/device.js';
import { publishResult } from '../store/folders/claim.js';
import { encodeNpy, type NpyArray, readNpy } from '../store/formats/npy.js';
import type { NpyValues } from '../store/formats/npyValues.js';
import { type KlomVariant, klomVariants, type SplitName, type SplitSummary } from '../types.js';
import { action, type Command, emitJson, finiteNumber, integerAtLeast, jsonHelp, say, threadsHelp, processorCount } from './common.js';
import { deviceOption } from './device.js';
import { registerLds } from './evaluateLds.js';

interface KlomVerbOptions {
  oracle: string;
  unlearned: string;
  variant: KlomVariant;
  bins: number;
  clip: number;
  epsilon: number;
  device: DeviceName;
  threads: number;
  forgetSet?: string;
  trainPoints?: number;
  out?: string;
  json?: boolean;
}

export function registerEvaluate(program: Command): void {
  const evaluate = program.command('evaluate').description('KLOM, LDS and accuracy of .npy files');
  evaluate
    .command('klom')
    .description('KL divergence of margins, oracles against unlearned models')
    .requiredOption('--oracle <file>', '.npy margins of retrained models, (models, points)')
    .requiredOption('--unlearned <file>', '.npy margins of unlearned models, (models, points)')
    .addOption(new Option('--variant <name>', 'definition').choices(klomVariants).default(defaultKlomOptions.variant))
    .option('--bins <count>', 'histogram bins', integerAtLeast(1), defaultKlomOptions.bins)
    .option('--clip <margin>', 'margins are clipped to [-clip, clip]', finiteNumber, defaultKlomOptions.clip)
    .option('--epsilon <p>', 'probability of a bin that is empty on one side', finiteNumber, defaultKlomOptions.epsilon)
    .addOption(deviceOption())
    .option('--threads <count>', threadsHelp, processorCount(0), 0)
    .option('--forget-set <file>', 'train indices: scores of forget, retain and validation points apart, with --train-points')
    .option('--train-points <count>', 'points that are train examples, the first ones', integerAtLeast(2))
    .option('--out <file>', 'write the score of every point as .npy (float64)')
    .option('--json', jsonHelp)
    .action(action(klomVerb));
  registerLds(evaluate);
  evaluate
    .command('accuracy')
    .description('accuracy of logits')
    .requiredOption('--logits <file>', '.npy (models, points, classes)')
    .requiredOption('--labels <file>', '.npy (points), integers')
    .option('--json', jsonHelp)
    .action(action(accuracyVerb));
}

async function klomVerb(options: KlomVerbOptions): Promise<void> {
  const { variant, bins, clip, epsilon, threads } = options;
  const device = chooseDevice(options.device);
  const oracle = matrix(await readNpy(options.oracle), options.oracle);
  const unlearned = matrix(await readNpy(options.unlearned), options.unlearned);
  if (oracle.columns !== unlearned.columns) {
    throw new LetheError('LETHE_SHAPE_MISMATCH', 'oracle and unlearned margins are of different points', {
      expected: `${oracle.columns} points in ${options.unlearned}, as in ${options.oracle}`,
      received: `${unlearned.columns} points`,
    });
  }
  const sizes = { numOracles: oracle.rows, numUnlearned: unlearned.rows, numPoints: oracle.columns };
  const points = await splitsOf(options, sizes.numPoints);
  const klomOptions = { variant, bins, clip, epsilon };
  const { numRounded, ...margins } = centreMargins(oracle.values, unlearned.values, sizes.numPoints, klomOptions);
  if (numRounded > 0)
    say(`klom: the margins of ${numRounded} points lost digits on their way to float32, as they reach beyond --clip ${clip}`);
  const result = await klom({ ...margins, ...sizes }, klomOptions, { threads, device });
  const unbiased = await divergences({ ...margins, ...sizes }, clip, { threads });
  const floor = await klomFloor(sizes, klomOptions);
  if (options.out !== undefined) await publishResult(options.out, encodeNpy([sizes.numPoints], result.scores));
  const all = Int32Array.from({ length: sizes.numPoints }, (_, p) => p);
  const { mean, p50, p85, p95, p99 } = summarise(result.scores, all);
  const splits = points && Object.entries(points).map(([split, of]) => [split, summarise(result.scores, of)] as const);
  const estimates = Object.entries(points ?? { all }).map(([split, of]) => {
    return { split, gaussian: summarise(unbiased.gaussian, of), neighbours: summarise(unbiased.neighbours, of) };
  });
  if (options.json) {
    const floors = { floorMean: floor.mean, floorP95: floor.p95 };
    const withoutBias = Object.fromEntries(estimates.map(({ split, ...of }) => [split, of]));
    const apart = { ...(splits ? { splits: Object.fromEntries(splits) } : {}), withoutBias };
    emitJson('klom', {
      ...sizes,
      mean,
      p50,
      p85,
      p95,
      p99,
      ...apart,
      ...floors,
      numNonFinite: result.numNonFinite,
      ...klomOptions,
      device,
    });
    return;
  }
  process.stdout.write(
    `KLOM (${variant}) of ${sizes.numPoints} points, ${sizes.numOracles} oracles, ${sizes.numUnlearned} unlearned models\n` +
      (splits ?? [['all', { mean, p50, p85, p95, p99 }] as const])
        .map(([split, of]) => `over ${split} points: ${summaryText(of)}\n`)
        .join('') +
      estimates
        .map(
          ({ split, ...of }) =>
            `without bias, ${split} points: Gaussian ${shortText(of.gaussian)}; 5 neighbours ${shortText(of.neighbours)}\n`,
        )
        .join('') +
      `floor with so many models: mean ${floor.mean.toFixed(3)}  p95 ${floor.p95.toFixed(3)}\n` +
      (result.numNonFinite > 0 ? `${result.numNonFinite} margins are not finite and were left out\n` : ''),
  );
}

function summaryText(of: SplitSummary): string {
  return (['mean', 'p50', 'p85', 'p95', 'p99'] as const).map((name) => `${name} ${of[name].toFixed(3)}`).join('  ');
}

function shortText({ mean, p95 }: SplitSummary): string {
  return Number.isNaN(mean) ? 'too few models' : `mean ${mean.toFixed(3)}  p95 ${p95.toFixed(3)}`;
}

/** @throws LETHE_OPTION_INVALID, LETHE_FORGET_SET_INVALID (exit code 2) */
async function splitsOf(
  { forgetSet, trainPoints }: KlomVerbOptions,
  numPoints: number,
): Promise<Record<SplitName, Int32Array> | undefined> {
  if (forgetSet === undefined && trainPoints === undefined) return undefined;
  if (forgetSet === undefined || trainPoints === undefined || trainPoints > numPoints) {
    throw new LetheError('LETHE_OPTION_INVALID', 'which points are which?', {
      expected: `--forget-set FILE and --train-points COUNT, at most the ${numPoints} points of the margins`,
      received: forgetSet === undefined ? '--train-points alone' : `--train-points ${trainPoints ?? 'absent'}`,
    });
  }
  return splitPoints({ numTrain: trainPoints, numValidation: numPoints - trainPoints }, await readForgetSet(forgetSet, trainPoints));
}

async function accuracyVerb(options: { logits: string; labels: string; json?: boolean }): Promise<void> {
  const { numModels, numPoints, numClasses, logits, labels } = await readLabelledLogits(options.logits, options.labels);
  const { predicted } = await nativeMargins({ logits, labels, numClasses });
  const perModel = Array.from({ length: numModels }, (_, model) => {
    let right = 0;
    for (let p = 0; p < numPoints; p++) if (predicted[model * numPoints + p] === labels[p]) right++;
    return right / numPoints;
  });
  const accuracy = perModel.reduce((sum, value) => sum + value, 0) / numModels;
  if (options.json) emitJson('accuracy', { accuracy, numModels, numPoints, perModel });
  else {
    const ascending = Float64Array.from(perModel).sort();
    const spread = `${ascending[0]!.toFixed(4)} to ${ascending.at(-1)!.toFixed(4)}`;
    process.stdout.write(`accuracy ${accuracy.toFixed(4)} over ${numModels} models (${spread}), ${numPoints} points\n`);
  }
}

interface Matrix {
  values: NpyValues;
  rows: number;
  columns: number;
}

function matrix(array: NpyArray, file: string): Matrix {
  const [rows, columns] = array.shape;
  if (array.shape.length !== 2 || !rows || !columns) {
    throw new LetheError('LETHE_SHAPE_MISMATCH', `${file} is no usable matrix`, {
      expected: 'two dimensions, neither empty',
      received: `shape (${array.shape.join(', ')})`,
    });
  }
  return { values: array.data, rows, columns };
}
