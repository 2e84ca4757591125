/** What lethe export says and prints. */
import { exportCheckpoint, exportOnnxModel, type ModelSource, type RunModel } from '../commands/exportModel.js';
import { exportCsv, exportNpy, type NpyPart } from '../commands/exportRun.js';
import { LetheError } from '../errors.js';
import { emitJson, interruptSignal, say } from './common.js';

interface RunVerbOptions {
  run: string;
  out: string;
  data?: string;
  json?: boolean;
}

export interface NpyVerbOptions extends RunVerbOptions {
  part: NpyPart[];
  allSettings?: boolean;
}

export interface ModelVerbOptions {
  run?: string;
  model?: number;
  checkpoint?: string;
  data?: string;
  out: string;
  json?: boolean;
}

export async function exportOnnxVerb(options: ModelVerbOptions): Promise<void> {
  const { out: file } = options;
  const { net, ...facts } = await exportOnnxModel(sourceOf(options), file, say);
  const { bytes, numImages, maxRelativeDifference } = facts;
  if (options.json) emitJson('export-onnx', { file, net: net.name, ...facts });
  else {
    const found = `${maxRelativeDifference.toExponential(1)} of the largest on ${numImages} random images`;
    process.stdout.write(`${file}: ${net.name}, ${bytes} bytes; logits of ONNX Runtime differ by at most ${found}\n`);
    const { height, width, channels } = net.input;
    say(`input "images": float32 (batch, ${channels}, ${height}, ${width}), pixels / 255; output "logits": (batch, ${net.numClasses})`);
  }
}

export async function exportSafetensorsVerb(options: ModelVerbOptions): Promise<void> {
  const { out: file } = options;
  const { net, numParameters } = await exportCheckpoint(originalOf(options), file, say);
  if (options.json) emitJson('export-safetensors', { file, net: net.name, numParameters });
  else process.stdout.write(`${file}: ${net.name}, ${numParameters} parameters\n`);
}

/** @throws LETHE_OPTION_INVALID (exit code 2) */
function sourceOf(options: ModelVerbOptions): ModelSource {
  const { checkpoint, run } = options;
  if (checkpoint !== undefined && run === undefined) return { checkpoint };
  if (checkpoint === undefined && run !== undefined) return originalOf(options);
  throw new LetheError('LETHE_OPTION_INVALID', 'which model?', {
    expected: '--checkpoint FILE, or --run DIR --model NUMBER',
    received: run === undefined ? 'neither' : 'both',
  });
}

function originalOf({ run, model, data }: ModelVerbOptions): RunModel {
  if (run !== undefined && model !== undefined) return { run, model, ...(data === undefined ? {} : { data }) };
  throw new LetheError('LETHE_OPTION_INVALID', 'which model?', {
    expected: '--run DIR --model NUMBER',
    received: run === undefined ? '--model alone' : '--run alone',
  });
}

export async function exportNpyVerb({ run, out, part, json, ...options }: NpyVerbOptions): Promise<void> {
  const { files, settings } = await exportNpy(run, out, { ...options, parts: part, note: say, signal: interruptSignal() });
  for (const { folder, setting } of settings) {
    const values = Object.entries(setting).map(([name, value]) => `${name} ${value}`);
    if (values.length > 0) say(`${folder}: ${values.join(', ')}`);
  }
  report(out, files, json ?? false, { settings });
}

export async function exportCsvVerb({ run, out, json, ...options }: RunVerbOptions): Promise<void> {
  report(out, await exportCsv(run, out, { ...options, note: say }), json ?? false);
}

function report(folder: string, files: readonly string[], json: boolean, facts: object = {}): void {
  if (json) emitJson('export', { folder, files, ...facts });
  else process.stdout.write(`${folder}: ${files.join(', ')}\n`);
}
