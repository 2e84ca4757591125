/** `lethe data info` and `lethe data fetch`. */
import pc from 'picocolors';
import { cifar10Archive, fetchArchive } from '../data/fetch.js';
import { type DirectoryReport, inspectDirectory } from '../data/inspect.js';
import { resolveDataDirectory } from '../data/registry.js';
import { didYouMean, ExitCode, LetheError } from '../errors.js';
import { action, type Command, createProgress, emitJson, interruptSignal, jsonHelp, say } from './common.js';

/** Data sets that can be fetched. */
const archives = { cifar10: cifar10Archive };

export function registerData(program: Command): void {
  const data = program.command('data').description('look at data directories, fetch data sets');
  data
    .command('info')
    .description('what a data directory holds: files, checksums, examples per class, problems')
    .argument('[directory]', 'data directory (default: LETHE_DATA)')
    .option('--json', jsonHelp)
    .action(action(info));
  data
    .command('fetch')
    .description('download a data set, checked against its published checksum; an interrupted download goes on where it stopped')
    .argument('<name>', `data set: ${Object.keys(archives).join(', ')}`)
    .requiredOption('--to <dir>', 'where to put its files')
    .option('--url <url>', 'a mirror of the same archive')
    .option('--json', jsonHelp)
    .action(action(fetchData));
}

async function info(argument: string | undefined, options: { json?: boolean }): Promise<void> {
  const directory = resolveDataDirectory(argument);
  if (directory === undefined) {
    throw new LetheError('LETHE_DATA_DIRECTORY', 'which data directory?', {
      expected: 'a folder as argument or in LETHE_DATA',
      received: 'neither',
      action: 'Run: lethe data info DIR',
    });
  }
  const report = await inspectDirectory(directory);
  if (options.json) emitJson('data-info', report);
  else process.stdout.write(describe(report));
  if (report.problems.length > 0) process.exitCode = ExitCode.damagedInput;
}

function describe({ directory, layout, files, dataset, notes, problems }: DirectoryReport): string {
  const lines: string[] = [];
  if (dataset)
    lines.push(
      `${pc.bold(layout === 'npy' ? dataset.description : 'CIFAR-10')} in ${directory}`,
      `  sha256 ${dataset.sha256}`,
      `  layout ${layout!}`,
      '',
    );
  for (const { file, bytes, sha256, official } of files) {
    const mark = official === undefined ? '' : official ? '  official' : '  not official';
    lines.push(`  ${file.padEnd(20)} ${String(bytes).padStart(10)} bytes  ${sha256.slice(0, 16)}${mark}`);
  }
  if (dataset) {
    const { height, width, channels, numTrain, numValidation, classes } = dataset;
    const row = (name: string, train: number | string, validation: number | string): string =>
      `  ${name.padEnd(20)} ${String(train).padStart(8)} ${String(validation).padStart(12)}`;
    lines.push('', `  images ${height} x ${width} x ${channels}`, '', row('class', 'train', 'validation'));
    for (const { name, train, validation } of classes) lines.push(row(name, train, validation));
    lines.push(row('all', numTrain, numValidation));
  }
  for (const note of notes) lines.push(`${pc.yellow('note')} ${note}`);
  for (const { message } of problems) lines.push(`${pc.red('problem')} ${message}`);
  return `${lines.join('\n')}\n`;
}

async function fetchData(name: string, options: { to: string; url?: string; json?: boolean }): Promise<void> {
  if (!Object.hasOwn(archives, name)) {
    throw new LetheError('LETHE_DATA_UNKNOWN', 'this data set cannot be fetched', {
      expected: `one of ${Object.keys(archives).join(', ')}`,
      received: JSON.stringify(name),
      action: didYouMean(name, Object.keys(archives)),
    });
  }
  const progress = createProgress('download', 'bytes');
  try {
    const result = await fetchArchive(archives[name as keyof typeof archives], {
      directory: options.to,
      url: options.url,
      onProgress: (done, total) => {
        progress.update(done, total);
      },
      note: say,
      signal: interruptSignal({ resumes: true }),
    });
    if (options.json) emitJson('data-fetch', { name, ...result });
    say(result.downloaded ? `${name} is in ${result.directory}` : `${name} was already in ${result.directory}, checksums agree`);
    say(`Use it with --data ${result.directory} or LETHE_DATA=${result.directory}`);
  } finally {
    progress.stop();
  }
}
