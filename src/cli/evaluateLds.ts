/** lethe evaluate lds: by blocks of targets, so that neither weights nor outputs need fit in memory. */
import { readMaskFile } from '../data/maskFile.js';
import { predict, type DenseDatamodels } from '../datamodels/predict.js';
import { LetheError } from '../errors.js';
import { correlatePoints, type PointCorrelations, summariseLds } from '../evaluate/lds.js';
import { chooseDevice, type DeviceName } from '../native/device.js';
import { formatBytes } from '../store/byteSize.js';
import { readDatamodelBatches } from '../store/datamodels.js';
import { sliceTargets } from '../store/datamodelRows.js';
import { NpyFile } from '../store/npyFile.js';
import { readNpy, toFloat32 } from '../store/npy.js';
import type { Datamodels, Masks } from '../types.js';
import {
  action,
  type Command,
  createProgress,
  emitJson,
  integerAtLeast,
  interruptSignal,
  jsonHelp,
  threadsHelp,
  processorCount,
} from './common.js';
import { deviceOption } from './device.js';
import { byteSize, defaultMemory } from './memory.js';

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
    .requiredOption('--masks <file>', 'held-out masks, (models, train): masks the fit has not seen')
    .requiredOption('--outputs <file>', 'outputs of the models trained on them, (models, targets) or (models, points, classes)')
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
    const parts: PointCorrelations[] = [];
    let first = 0;
    for await (const datamodels of datamodelBlocks(options, masks, outputs)) {
      const end = first + datamodels.numTargets;
      requireEqual(Math.max(end, numTargets), numTargets, `targets in the datamodels, as in ${options.outputs}`);
      const actual = (await outputs.readColumns(first, end)) as Float32Array;
      const predicted = await predict(datamodels, masks, { signal, threads });
      parts.push(await correlatePoints({ predicted, actual, numModels, numPoints: end - first }, {}, { signal, threads, device }));
      first = end;
      progress.update(first, numTargets);
    }
    requireEqual(first, numTargets, `targets in the datamodels, as in ${options.outputs}`);
    const score = await summariseLds(parts, options.seed, { signal, threads });
    progress.stop();
    report(score, numModels, device, options.json ?? false);
  } finally {
    progress.stop();
    await outputs.close();
  }
}

function report(score: Awaited<ReturnType<typeof summariseLds>>, numModels: number, device: string, json: boolean): void {
  const { mean, median, low, high, numPoints: numTargets, numUndefined } = score;
  if (json) {
    emitJson('lds', { mean, median, numTargets, numModels, low, high, numUndefined, device });
    return;
  }
  process.stdout.write(
    `LDS of ${numTargets} targets on ${numModels} held-out models: mean ${mean.toFixed(4)} (95 % ${low.toFixed(4)} to ${high.toFixed(4)}), ` +
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

/** All datamodels in order, each time as many as fit: predictions, outputs and ranks of a block lie in memory together. */
async function* datamodelBlocks(options: LdsVerbOptions, masks: Masks, outputs: NpyFile): AsyncGenerator<Datamodels | DenseDatamodels> {
  const { numModels, numTrain } = masks;
  const { datamodels, weights, bias } = options;
  const memory = options.memory ?? defaultMemory();
  // masks, and the copy of them that predictions read
  const room = memory - 3 * masks.bits.length - 2 ** 26;
  const perTarget = numModels * (8 + outputs.extraBytes) + 24;
  if (datamodels !== undefined && weights === undefined && bias === undefined) {
    const step = blockSize(room - 2 ** 28, perTarget, memory);
    for await (const batch of readDatamodelBatches(datamodels)) {
      requireEqual(batch.numTrain, numTrain, `train examples in the datamodels, as in ${options.masks}`);
      for (let first = 0; first < batch.numTargets; first += step) {
        yield sliceTargets(batch, first, Math.min(first + step, batch.numTargets));
      }
    }
  } else if (datamodels === undefined && weights !== undefined && bias !== undefined) {
    yield* denseBlocks(weights, bias, numTrain, (extraBytes) => blockSize(room, perTarget + numTrain * (4 + extraBytes), memory));
  } else {
    throw new LetheError('LETHE_OPTION_MISSING', 'nothing says which datamodels are meant', {
      expected: 'either --datamodels FILE, or --weights FILE and --bias FILE',
      received: Object.entries({ '--datamodels': datamodels, '--weights': weights, '--bias': bias })
        .map(([name, value]) => `${name} ${value ?? 'absent'}`)
        .join(', '),
    });
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
      const weights = (await file.readRows(first, end)) as Float32Array;
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
