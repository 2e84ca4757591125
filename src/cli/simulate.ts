/** lethe simulate, lethe margins: what fine-tuning and scoring elsewhere need. */
import { simulateFiles, type SimulateFilesOptions } from '../commands/simulateFiles.js';
import { marginsOfFiles } from '../commands/marginsFile.js';
import { action, type Command, emitJson, finiteNumber, integerAtLeast, jsonHelp } from './common.js';

interface SimulateVerbOptions extends SimulateFilesOptions {
  datamodels: string;
  logits: string;
  forgetSet: string;
  out: string;
  json?: boolean;
}

export function registerSimulate(program: Command): void {
  program
    .command('simulate')
    .description('targets of datamodel matching for models that are fine-tuned elsewhere: targets.npy, fine-tune.npy')
    .requiredOption('--datamodels <file>', 'datamodels.arrow of lethe fit, of logits')
    .requiredOption('--logits <file>', '.npy (points, classes) or (models, points, classes): of models trained on all examples')
    .requiredOption('--forget-set <file>', '.npy of train indices')
    .requiredOption('--out <dir>', 'folder for targets.npy (shape of the logits) and fine-tune.npy (indices, forget points first)')
    .option('--scale <factor>', 'global factor of the weights', finiteNumber, 1)
    .option('--diagonal-only', 'use memorisation scores only')
    .option('--forget-multiplier <count>', 'times each forget point is in the fine-tune set', integerAtLeast(1), 1)
    .option('--retain-multiplier <count>', 'retain points for each forget point', finiteNumber, 5)
    .option('--seed <seed>', 'of the retain sample', integerAtLeast(0), 0)
    .option('--json', jsonHelp)
    .action(action(simulateVerb));
}

async function simulateVerb({ datamodels, logits, forgetSet, out, json, ...options }: SimulateVerbOptions): Promise<void> {
  const result = await simulateFiles({ datamodels, logits, forgetSet, out }, options);
  if (json) {
    emitJson('simulate', { out, ...result });
    return;
  }
  const { numModels, numPoints, numClasses, numForget, numFineTune } = result;
  process.stdout.write(
    `${out}/targets.npy: ${numModels} x ${numPoints} points x ${numClasses} classes, without ${numForget} forget points\n` +
      `${out}/fine-tune.npy: ${numFineTune} indices a model, forget points first\n`,
  );
}

interface MarginsVerbOptions {
  logits: string;
  labels: string;
  out: string;
  json?: boolean;
}

export function registerMargins(program: Command): void {
  program
    .command('margins')
    .description('margins of logits: z_y - logsumexp of the others')
    .requiredOption('--logits <file>', '.npy (models, points, classes) or (points, classes)')
    .requiredOption('--labels <file>', '.npy (points), integers')
    .requiredOption('--out <file>', 'file for the margins, .npy (models, points)')
    .option('--json', jsonHelp)
    .action(action(marginsVerb));
}

async function marginsVerb({ logits, labels, out, json }: MarginsVerbOptions): Promise<void> {
  const { numModels, numPoints } = await marginsOfFiles({ logits, labels, out });
  if (json) emitJson('margins', { out, numModels, numPoints });
  else process.stdout.write(`${out}: margins of ${numModels} models x ${numPoints} points\n`);
}
