/** lethe evaluate lds: by blocks of targets, so that neither weights nor outputs need fit in memory. */
import { readMaskFile } from '../data/maskFile.js';
import { centreOutputs } from '../datamodels/centre.js';
import { predict, type DenseDatamodels } from '../datamodels/predict.js';
import { LetheError } from '../errors.js';
import { correlatePoints, type Lds, type PointCorrelations, summariseLds } from '../evaluate/lds.js';
import { chooseDevice, type DeviceName } from '../native/device.js';
import { defaultMemory } from '../native/limits.js';
import { formatBytes } from '../store/disk/byteSize.js';
import { readDatamodelBatches } from '../store/contents/datamodels.js';
import { requireRecordedDatamodels } from '../store/folders/fitFolder.js';
import { sliceTargets } from '../store/contents/datamodelRows.js';
import { NpyFile } from '../store/formats/npyFile.js';
import { readNpy, toFloat32 } from '../store/formats/npy.js';
import type { NpyValues } from '../store/formats/npyValues.js';
import type { Datamodels, Masks } from '../types.js';
import {
  action,
  type Command,
  createProgress,
  emitJson,
  integerAtLeast,
  interruptSignal,
  jsonHelp,
  say,
  threadsHelp,
  processorCount,
} from './common.js';
import { deviceOption } from './device.js';
import { describeOrigin, type MaskOrigin, originOfMasks } from './ldsMasks.js';
import { byteSize } from './memory.js';
import { namedRows } from './namedRows.js';

interface LdsVerbOptions {
  datamodels?: string;
  weights?: string;
  bias?: string;
  masks: string;
  outputs: string;
  seed: number;
  device: DeviceName;
  threads: number;
  memory?: number;
  allowFitMasks?: boolean;
  json?: boolean;
}

export function registerLds(evaluate: Command): void {
  evaluate
    .command('lds')
    .description(
      'linear datamodeling score: mean over targets of the rank correlation of predicted and true outputs over held-out masks, ' +
        'with a 95 % bootstrap interval over targets',
    )
    .option('--datamodels <file>', 'datamodels.arrow of lethe fit')
    .option('--weights <file>', 'instead: dense weights, .npy (targets, train), with --bias')
    .option('--bias <file>', 'biases, .npy (targets)')
    .requiredOption(
      '--masks <file>',
      'held-out masks, (models, train): masks of the fit are refused where the folder of the datamodels knows them',
    )
    .requiredOption('--outputs <file>', 'outputs of the models trained on them, (models, targets) or (models, points, classes)')
    .option('--allow-fit-masks', 'also score models whose masks the fit has seen; the result is then called so')
    .option('--seed <seed>', 'of the bootstrap interval', integerAtLeast(0), 0)
    .addOption(deviceOption())
    .option('--threads <count>', threadsHelp, processorCount(0), 0)
    .option('--memory <size>', 'memory to use, such as 4GiB (default: half of what is free)', byteSize)
    .option('--json', jsonHelp)
    .action(action(ldsVerb));
}

async function ldsVerb(options: LdsVerbOptions): Promise<void> {
  const device = chooseDevice(options.device);
  const signal = interruptSignal();
  const masks = await readMaskFile(options.masks, signal);
  const outputs = await NpyFile.open(options.outputs);
  const { rows: numModels, columns: numTargets } = outputs;
  const { threads } = options;
  const progress = createProgress('lds', 'targets');
  try {
    checkOutputs(outputs, masks);
    const origin = await originOfMasks(datamodelsFile(options), masks, options.masks, options.allowFitMasks ?? false);
    const parts: PointCorrelations[] = [];
    const leftOut = new Set<number>();
    let first = 0;
    for await (const datamodels of datamodelBlocks(options, masks, outputs)) {
      const end = first + datamodels.numTargets;
      requireEqual(Math.max(end, numTargets), numTargets, `targets in the datamodels, as in ${options.outputs}`);
      const actual = varyingPart(await outputs.readColumns(first, end), end - first);
      for (let at = 0; at < actual.length; at++) if (!Number.isFinite(actual[at]!)) leftOut.add(Math.floor(at / (end - first)));
      const predicted = await predict(withoutBias(datamodels), masks, { signal, threads });
      parts.push(await correlatePoints({ predicted, actual, numModels, numPoints: end - first }, {}, { signal, threads, device }));
      first = end;
      progress.update(first, numTargets);
    }
    requireEqual(first, numTargets, `targets in the datamodels, as in ${options.outputs}`);
    const score = await summariseLds(parts, options.seed, { signal, threads });
    progress.stop();
    if (leftOut.size > 0) say(`lds: NaN or infinite: ${namedRows([...leftOut].sort((a, b) => a - b))}; left out where they are`);
    report(score, origin, { numModels, device, json: options.json ?? false });
  } finally {
    progress.stop();
    await outputs.close();
  }
}

/** Ranks do not depend on what is taken off every output of a target: float64 keeps the digits that float32 would spend on an offset. */
function varyingPart(values: NpyValues, numTargets: number): Float32Array {
  return values instanceof Float64Array ? centreOutputs(values, numTargets).outputs : (values as Float32Array);
}

/** For the same reason. The NaN of a target without a fit stays. */
function withoutBias<Models extends Datamodels | DenseDatamodels>(datamodels: Models): Models {
  return { ...datamodels, bias: datamodels.bias.map((value) => (Number.isNaN(value) ? NaN : 0)) };
}

function report(score: Lds, origin: MaskOrigin, { numModels, device, json }: { numModels: number; device: string; json: boolean }): void {
  const { mean, median, low, high, numPoints: numTargets, numUndefined, numNonFinite } = score;
  if (json) {
    emitJson('lds', { mean, median, numTargets, numModels, low, high, numUndefined, numNonFinite, ...origin, device });
    return;
  }
  if (Number.isNaN(mean)) {
    process.stdout.write(`LDS of ${numTargets} targets: none, as no target has finite predictions and two models with finite outputs\n`);
    return;
  }
  process.stdout.write(
    `LDS of ${numTargets} targets on ${describeOrigin(origin, numModels)}: mean ${mean.toFixed(4)} (95 % ${low.toFixed(4)} to ${high.toFixed(4)}), ` +
      `median ${median.toFixed(4)}${numUndefined > 0 ? `; ${numUndefined} constant or non-finite targets count as 0` : ''}\n`,
  );
}

function checkOutputs({ dtype, shape, rows, path }: NpyFile, masks: Masks): void {
  if (!dtype.startsWith('float') || (shape.length !== 2 && shape.length !== 3) || shape.includes(0)) {
    throw new LetheError('LETHE_OUTPUTS_SHAPE', `${path} does not hold model outputs`, {
      expected: 'float16, float32 or float64 of shape (models, targets) or (models, points, classes), no dimension empty',
      received: `${dtype} of shape (${shape.join(', ')})`,
    });
  }
  requireEqual(rows, masks.numModels, `models in ${path}, as many as masks`);
}

/** The file of the weights. @throws LETHE_OPTION_MISSING (exit code 2) unless exactly one kind of datamodels is given */
function datamodelsFile({ datamodels, weights, bias }: LdsVerbOptions): string {
  if (datamodels !== undefined && weights === undefined && bias === undefined) return datamodels;
  if (datamodels === undefined && weights !== undefined && bias !== undefined) return weights;
  throw new LetheError('LETHE_OPTION_MISSING', 'nothing says which datamodels are meant', {
    expected: 'either --datamodels FILE, or --weights FILE and --bias FILE',
    received: Object.entries({ '--datamodels': datamodels, '--weights': weights, '--bias': bias })
      .map(([name, value]) => `${name} ${value ?? 'absent'}`)
      .join(', '),
  });
}

/** All datamodels in order, each time as many as fit: predictions, outputs and ranks of a block lie in memory together. */
async function* datamodelBlocks(options: LdsVerbOptions, masks: Masks, outputs: NpyFile): AsyncGenerator<Datamodels | DenseDatamodels> {
  const { numModels, numTrain } = masks;
  const { datamodels, weights, bias } = options;
  const memory = options.memory ?? defaultMemory();
  // masks, and the copy of them that predictions read
  const room = memory - 3 * masks.bits.length - 2 ** 26;
  const perTarget = numModels * (8 + outputs.extraBytes) + 24;
  if (datamodels === undefined) {
    yield* denseBlocks(weights!, bias!, numTrain, (extraBytes) => blockSize(room, perTarget + numTrain * (4 + extraBytes), memory));
    return;
  }
  const step = blockSize(room - 2 ** 28, perTarget, memory);
  await requireRecordedDatamodels(datamodels);
  for await (const batch of readDatamodelBatches(datamodels, { numTrain, note: say })) {
    requireEqual(batch.numTrain, numTrain, `train examples in the datamodels, as in ${options.masks}`);
    for (let first = 0; first < batch.numTargets; first += step) {
      yield sliceTargets(batch, first, Math.min(first + step, batch.numTargets));
    }
  }
}

async function* denseBlocks(
  weightsPath: string,
  biasPath: string,
  numTrain: number,
  blockOf: (extraBytes: number) => number,
): AsyncGenerator<DenseDatamodels> {
  const bias = toFloat32(await readNpy(biasPath));
  const file = await NpyFile.open(weightsPath);
  try {
    if (!file.dtype.startsWith('float') || file.shape.length !== 2) {
      throw new LetheError('LETHE_SHAPE_MISMATCH', `${weightsPath} does not hold weights`, {
        expected: 'float16, float32 or float64 of shape (targets, train)',
        received: `${file.dtype} of shape (${file.shape.join(', ')})`,
      });
    }
    requireEqual(bias.length, file.rows, `biases in ${biasPath}, one a row of ${weightsPath}`);
    requireEqual(file.columns, numTrain, `train examples in ${weightsPath}, as in the masks`);
    const step = blockOf(file.extraBytes);
    for (let first = 0; first < file.rows; first += step) {
      const end = Math.min(first + step, file.rows);
      const read = await file.readRows(first, end);
      const weights = read instanceof Float32Array ? read : new Float32Array(read);
      yield { numTargets: end - first, numTrain, bias: bias.subarray(first, end), weights };
    }
  } finally {
    await file.close();
  }
}

const mostTargets = 8192;

/** @throws LETHE_MEMORY_LIMIT (exit code 2) */
function blockSize(room: number, perTarget: number, memory: number): number {
  if (room >= perTarget) return Math.min(mostTargets, Math.floor(room / perTarget));
  throw new LetheError('LETHE_MEMORY_LIMIT', 'not even one target fits', {
    expected: `at least ${formatBytes(memory - room + perTarget)} of memory`,
    received: formatBytes(memory),
    action: 'Raise --memory.',
  });
}

function requireEqual(received: number, expected: number, what: string): void {
  if (received === expected) return;
  throw new LetheError('LETHE_SHAPE_MISMATCH', 'the files do not fit together', {
    expected: `${expected} ${what}`,
    received: String(received),
  });
}
