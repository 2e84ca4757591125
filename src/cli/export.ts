/** lethe export onnx|safetensors|npy|csv: models and results for other programs. */
import { Option } from 'commander';
import { action, type Command, integerAtLeast, jsonHelp, oldDataHelp } from './common.js';
import { npyParts } from '../commands/exportRun.js';
import { exportCsvVerb, exportNpyVerb, exportOnnxVerb, exportSafetensorsVerb } from './exportVerbs.js';

export function registerExport(program: Command): void {
  const verb = program.command('export').description('models and results for other programs');
  const modelCommand = (name: string): Command =>
    verb
      .command(name)
      .option('--run <dir>', 'run folder; unlearned models of a run come from lethe unlearn as checkpoints')
      .option('--model <number>', 'with --run: which original model', integerAtLeast(0))
      .option('--data <dir>', `with --run: ${oldDataHelp}`)
      .option('--json', jsonHelp);
  modelCommand('onnx')
    .description('a model as an ONNX file (images float32 NCHW, pixels / 255), compared with stock ONNX Runtime before it is written')
    .option('--checkpoint <file>', 'model-*.safetensors of lethe train or lethe unlearn')
    .requiredOption('--out <file>', 'the .onnx file')
    .action(action(exportOnnxVerb));
  modelCommand('safetensors')
    .description('an original model of a run as a safetensors checkpoint')
    .requiredOption('--out <file>', 'the .safetensors file')
    .action(action(exportSafetensorsVerb));
  verb
    .command('npy')
    .description('masks, logits, margins and dense datamodels of a run as NumPy files')
    .requiredOption('--run <dir>', 'run folder')
    .addOption(new Option('--part <name...>', 'what to write').choices(npyParts).default(['masks', 'outputs']))
    .option('--all-settings', 'of unlearned models and oracles also the settings and lengths that were not chosen, a folder each')
    .requiredOption('--out <dir>', 'folder for the files')
    .option('--data <dir>', oldDataHelp)
    .option('--json', jsonHelp)
    .action(action(exportNpyVerb));
  verb
    .command('csv')
    .description('scores and datamodel summaries of a finished run as CSV tables')
    .requiredOption('--run <dir>', 'run folder')
    .requiredOption('--out <dir>', 'folder for klom.csv, accuracy.csv, lds.csv, datamodels.csv')
    .option('--data <dir>', oldDataHelp)
    .option('--json', jsonHelp)
    .action(action(exportCsvVerb));
}
