/** lethe evaluate lds. */
import { type LdsFiles, ldsFiles, type LdsOfFiles } from '../commands/ldsFiles.js';
import type { MaskOrigin } from '../commands/ldsMasks.js';
import { LetheError } from '../errors.js';
import type { DeviceName } from '../native/device.js';
import {
  action,
  type Command,
  createProgress,
  emitJson,
  integerAtLeast,
  interruptSignal,
  jsonHelp,
  processorCount,
  say,
  threadsHelp,
} from './common.js';
import { deviceOption } from './device.js';
import { byteSize } from './memory.js';

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

async function ldsVerb({ masks, outputs, json = false, ...options }: LdsVerbOptions): Promise<void> {
  const files = { datamodels: datamodelsOf(options), masks, outputs };
  const display = createProgress('lds', 'targets');
  const run = {
    ...options,
    note: say,
    signal: interruptSignal(),
    onProgress: ({ done, total }: { done: number; total: number }) => {
      display.update(done, total);
    },
  };
  const score = await ldsFiles(files, run).finally(() => {
    display.stop();
  });
  if (json) {
    const { numPoints: numTargets, low, high, mean, median, numModels, numUndefined, numNonFinite, masks: origin, numSeen, device } = score;
    emitJson('lds', { mean, median, numTargets, numModels, low, high, numUndefined, numNonFinite, masks: origin, numSeen, device });
  } else report(score);
}

function report(score: LdsOfFiles): void {
  const { mean, median, low, high, numPoints: numTargets, numUndefined } = score;
  if (Number.isNaN(mean)) {
    process.stdout.write(`LDS of ${numTargets} targets: none, as no target has finite predictions and two models with finite outputs\n`);
    return;
  }
  process.stdout.write(
    `LDS of ${numTargets} targets on ${describeOrigin(score, score.numModels)}: mean ${mean.toFixed(4)} (95 % ${low.toFixed(4)} to ${high.toFixed(4)}), ` +
      `median ${median.toFixed(4)}${numUndefined > 0 ? `; ${numUndefined} constant or non-finite targets count as 0` : ''}\n`,
  );
}

/** @throws LETHE_OPTION_MISSING (exit code 2) unless exactly one kind of datamodels is given */
function datamodelsOf({ datamodels, weights, bias }: Pick<LdsVerbOptions, 'datamodels' | 'weights' | 'bias'>): LdsFiles['datamodels'] {
  if (datamodels !== undefined && weights === undefined && bias === undefined) return datamodels;
  if (datamodels === undefined && weights !== undefined && bias !== undefined) return { weights, bias };
  throw new LetheError('LETHE_OPTION_MISSING', 'nothing says which datamodels are meant', {
    expected: 'either --datamodels FILE, or --weights FILE and --bias FILE',
    received: Object.entries({ '--datamodels': datamodels, '--weights': weights, '--bias': bias })
      .map(([name, value]) => `${name} ${value ?? 'absent'}`)
      .join(', '),
  });
}

/** "40 held-out models", and what it is where they are not. */
function describeOrigin({ masks, numSeen }: MaskOrigin, numModels: number): string {
  const words = {
    'held-out': `${numModels} held-out models`,
    unknown: `${numModels} models, held out if the fit has not seen their masks`,
    fit: `${numModels} models OF THE FIT, not held out`,
    'partly-fit': `${numModels} models, ${numSeen} of them OF THE FIT, not held out`,
  };
  return words[masks];
}
