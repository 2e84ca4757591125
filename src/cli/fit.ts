/** lethe fit: its options. What it does is loaded when it is done: its help needs no reader of files. */
import { InvalidArgumentError, Option } from 'commander';
import { attributors, defaultAttributor } from '../attributors/registry.js';
import { listed } from '../report/format.js';
import { action, type Command, finiteNumber, integerAtLeast, jsonHelp, threadsHelp, processorCount } from './common.js';
import type { FitVerbOptions } from './fitVerb.js';
import { byteSize } from './memory.js';

export function registerFit(program: Command): void {
  const verb = program
    .command('fit')
    .description(
      'datamodels: one linear regression per output on the subset masks, with a certified duality gap each; ' +
        'works in blocks of targets that fit in memory, and the same command resumes after an interruption',
    )
    .requiredOption('--masks <file>', '.npy (models, train examples), bool or integers: 1 where the model was trained on the example')
    .requiredOption('--outputs <file>', '.npy (models, targets) or (models, points, classes), float16, float32 or float64, of any size')
    .requiredOption('--out <dir>', 'folder for datamodels.arrow, mask-rows.npy and fit.json; unfinished, it holds the finished blocks')
    .option('--estimator <name>', attributors.map(({ name, description }) => `${name}: ${description}`).join('; '), defaultAttributor.name)
    .option(
      '--labels <file>',
      ".npy of integers (points): labels of the outputs' points, train examples first, in the order of the masks; for covariance",
    )
    .option('--groups <file>', '.npy of integers (targets) or (points): targets with the same number share a pooled choice')
    .option(
      '--row-weights <file>',
      '.npy integers (models, targets) or (models, points), up to 255: 0 leaves the model out for the target, k counts it k times',
    )
    .option('--memory <size>', 'memory to use, such as 4GiB; sets the size of the blocks (default: half of what is free)', byteSize)
    .option('--block <targets>', 'targets of a block, instead of as many as fit; results do not depend on it', integerAtLeast(1))
    .option('--device <name>', 'where to fit: cpu, cuda, or auto (the GPU where there is one)', 'cpu')
    .option('--threads <count>', threadsHelp, processorCount(0), 0)
    .option('--export <format>', 'npy: also write dense weights.npy, bias.npy, lambda.npy, gap.npy')
    .option('--json', jsonHelp)
    .action(action(async (options: FitVerbOptions) => (await import('./fitVerb.js')).fitVerb(options)));
  for (const option of attributorFlags()) verb.addOption(option);
}

/** A flag for each option that some attributor has; those of single ones say whose they are. */
function attributorFlags(): Option[] {
  const names = new Set(attributors.flatMap(({ options }) => Object.keys(options)));
  return [...names].map((name) => {
    const owners = attributors.filter(({ options }) => Object.hasOwn(options, name));
    const { kind, default: fallback, description } = owners[0]!.options[name]!;
    const flag = name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
    const whose = owners.length === attributors.length ? '' : `${listed(owners.map((owner) => owner.name))}: `;
    if (kind === 'truth')
      return new Option(fallback === true ? `--no-${flag}` : `--${flag}`, `${whose}${fallback === true ? 'do not ' : ''}${description}`);
    const shown = fallback === undefined || typeof fallback === 'function' ? '' : ` (default: ${String(fallback)})`;
    const isList = kind === 'numbers' || kind === 'words';
    const option = new Option(`--${flag} <${isList ? 'list' : kind}>`, `${whose}${description}${shown}`);
    if (kind === 'number') option.argParser(finiteNumber);
    if (kind === 'numbers') option.argParser(numberList);
    if (kind === 'words') option.argParser((text) => text.split(',').map((part) => part.trim()));
    return option;
  });
}

function numberList(text: string): number[] {
  const values = text.split(',').map((part) => (part.trim() === '' ? NaN : Number(part)));
  if (values.every(Number.isFinite)) return values;
  throw new InvalidArgumentError(`expected numbers with commas between them, such as 0.1,0.05; received "${text}".`);
}
