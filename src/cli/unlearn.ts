/** lethe unlearn: the originals of a run unlearn a forget set, as files. */
import { Option } from 'commander';
import { describeModels } from '../commands/models.js';
import { unlearn, type UnlearnOptions } from '../commands/unlearn.js';
import { deviceNames, engineNames } from '../engines/index.js';
import { LetheError } from '../errors.js';
import type { MethodSetting } from '../types.js';
import type { UnlearnMethod } from '../unlearn/index.js';
import { makesModels, methods, unlearnMethod } from '../unlearn/registry.js';
import { action, type Command, dataHelp, emitJson, jsonHelp, processorCount, talk, threadsHelp } from './common.js';
import { deviceHelp } from './engine.js';

interface UnlearnVerbOptions extends UnlearnOptions {
  json?: boolean;
}

const methodsHere = methods.filter(makesModels);

function describeMethod({ name, label, parameters, presets }: UnlearnMethod): string {
  const lines = Object.entries(parameters).map(
    ([key, { default: value, description, when = {} }]) =>
      `    ${key.padEnd(20)} ${[description, ...Object.entries(when).map(([other, needed]) => `only with ${other}=${needed}`)].join(', ')} (default: ${value})`,
  );
  const settings = Object.entries(presets).map(([preset, setting]) => `    --preset ${preset.padEnd(11)} ${JSON.stringify(setting)}`);
  return `  ${name}${label === name ? '' : ` (${label})`}\n${[...lines, ...settings].map((line) => `${line}\n`).join('')}`;
}

export function registerUnlearn(program: Command): void {
  program
    .command('unlearn')
    .description(
      'unlearn a forget set in the original models of a run, or in a model given as a file; writes checkpoints, logits and margins; ' +
        'the same command resumes after an interruption',
    )
    .requiredOption('--run <dir>', 'run folder with the originals (and the datamodels, for dmm and dm-direct)')
    .requiredOption('--forget-set <set>', 'name of a forget set of the run, an index file (.npy or text), or random:SIZE:SEED')
    .requiredOption('--method <name>', `unlearning method: ${methodsHere.map(({ name }) => name).join(', ')}`)
    .option(
      '--preset <name>',
      "a setting from the list below; published: the paper's, every method has one (default: the setting that the run chose for the forget set)",
    )
    .option(
      '--set <key=value>',
      'a hyper-parameter of the list below, in place of the value it would have; may be repeated',
      collectSetting,
    )
    .option('--models <range>', 'how many originals, or which: 4-7 (default: all)')
    .option('--checkpoint <file>', '.safetensors model of the same network that unlearns instead of the originals')
    .requiredOption('--out <dir>', 'folder for model-*.safetensors, logits.npy, margins.npy, forget-set.npy, unlearn.json')
    .addOption(new Option('--engine <name>', "engine (default: the run's)").choices(engineNames))
    .addOption(new Option('--device <name>', `${deviceHelp} (default: the run's)`).choices(deviceNames))
    .option('--data <dir>', dataHelp)
    .option('--threads <count>', threadsHelp, processorCount(0), 0)
    .option('--json', jsonHelp)
    .addHelpText('after', () => `\nHyper-parameters and presets:\n${methodsHere.map(describeMethod).join('')}`)
    .action(action(unlearnVerb));
}

async function unlearnVerb(options: UnlearnVerbOptions): Promise<void> {
  const started = Date.now();
  const document = await unlearn({ ...options, ...talk() });
  if (options.json) emitJson('unlearn', { ...document, seconds: (Date.now() - started) / 1000 });
  else process.stdout.write(`${unlearnMethod(document.method).label}: ${describeModels(document.models)}, in ${options.out}\n`);
}

/** "learningRate=1e-3": numbers and true/false are recognised, all else is text. */
function collectSetting(text: string, setting: MethodSetting = {}): MethodSetting {
  const [, key, value] = /^([^=]+)=(.*)$/s.exec(text) ?? [];
  if (key === undefined || value === undefined) {
    throw new LetheError('LETHE_OPTION_INVALID', '--set takes a hyper-parameter and its value', {
      expected: 'key=value, such as learningRate=1e-3',
      received: JSON.stringify(text),
    });
  }
  const words: Record<string, boolean> = { true: true, false: false };
  const number = value.trim() === '' ? NaN : Number(value);
  return { ...setting, [key]: words[value] ?? (Number.isNaN(number) ? value : number) };
}
