/** One model out of a checkpoint or a run, as ONNX or safetensors. */
import { createDataset } from '../data/dataset.js';
import { NativeEngine } from '../engines/native.js';
import { ExitCode, LetheError } from '../errors.js';
import { placeInShards } from '../jobs/shards.js';
import { relativeDifference, runOnnx } from '../models/onnxCheck.js';
import { exportOnnx } from '../models/onnx.js';
import { Purpose, Random } from '../native/random.js';
import { planNet } from '../pipeline.js';
import { publishResult } from '../store/folders/claim.js';
import { factsMetadata, type ModelFacts, readModel, writeCheckpoint } from '../store/contents/checkpoint.js';
import { layout } from '../store/folders/layout.js';
import { isTrained, readOutputs } from '../store/contents/outputs.js';
import type { Dataset, Engine } from '../types.js';
import { emitJson, say } from './common.js';
import { engineOf, runEngine, viewRun } from '../commands/session.js';

interface RunModelOptions {
  run?: string;
  model?: number;
  data?: string;
  out: string;
  json?: boolean;
}

export interface OnnxVerbOptions extends RunModelOptions {
  checkpoint?: string;
}

type Model = ModelFacts & { parameters: Float32Array };

/** Images of the comparison with ONNX Runtime, and the largest difference of a logit relative to the largest logit. */
const numChecked = 16;
const tolerance = 1e-4;

export async function exportOnnxVerb(options: OnnxVerbOptions): Promise<void> {
  const engine = new NativeEngine({ precision: 'fp32' }); // the yardstick: bf16 differs by more than the tolerance
  const { net, dataset, parameters } = await findModel(options, engine);
  const tensors = engine.parameters(net);
  const file = exportOnnx({ net, tensors, parameters, dataset });
  const maxRelativeDifference = await compare(engine, { net, dataset, parameters }, file);
  if (!(maxRelativeDifference <= tolerance)) {
    throw new LetheError('LETHE_EXPORT_INEXACT', 'ONNX Runtime computes other logits from the file, which is not written', {
      expected: `a relative difference of at most ${tolerance}`,
      received: String(maxRelativeDifference),
      action: Number.isNaN(maxRelativeDifference) ? 'The model has no finite logits: did its training diverge?' : 'Please report this.',
      exitCode: ExitCode.taskFailed,
    });
  }
  await publishResult(options.out, file);
  const facts = { file: options.out, bytes: file.length, net: net.name, numParameters: parameters.length };
  if (options.json) emitJson('export-onnx', { ...facts, numImages: numChecked, maxRelativeDifference });
  else {
    const found = `${maxRelativeDifference.toExponential(1)} of the largest on ${numChecked} random images`;
    process.stdout.write(`${options.out}: ${net.name}, ${file.length} bytes; logits of ONNX Runtime differ by at most ${found}\n`);
    const { height, width, channels } = net.input;
    say(`input "images": float32 (batch, ${channels}, ${height}, ${width}), pixels / 255; output "logits": (batch, ${net.numClasses})`);
  }
}

export async function exportSafetensorsVerb(options: RunModelOptions): Promise<void> {
  const { dataset, engine, net, parameters, model } = await originalOf(options);
  const tensors = engine.parameters(net);
  await writeCheckpoint(options.out, tensors, parameters, { ...factsMetadata(net, dataset), model: String(model) }, publishResult);
  if (options.json) emitJson('export-safetensors', { file: options.out, net: net.name, numParameters: parameters.length });
  else process.stdout.write(`${options.out}: ${net.name}, ${parameters.length} parameters\n`);
}

/** @throws LETHE_OPTION_INVALID; errors of readModel and of the run */
async function findModel(options: OnnxVerbOptions, engine: Engine): Promise<Model> {
  const { checkpoint, run } = options;
  if (checkpoint !== undefined && run === undefined) return readModel(checkpoint, (net) => engine.parameters(net));
  if (checkpoint === undefined && run !== undefined) return originalOf(options);
  throw new LetheError('LETHE_OPTION_INVALID', 'which model?', {
    expected: '--checkpoint FILE, or --run DIR --model NUMBER',
    received: run === undefined ? 'neither' : 'both',
  });
}

async function originalOf(options: RunModelOptions) {
  const { run: root, model, data } = options;
  if (root === undefined || model === undefined) {
    throw new LetheError('LETHE_OPTION_INVALID', 'which model?', {
      expected: '--run DIR --model NUMBER',
      received: root === undefined ? '--model alone' : '--run alone',
    });
  }
  const { run, plan, dataset } = await viewRun(root, { ...(data === undefined ? {} : { data }), note: say });
  if (model >= plan.originals.count) {
    throw new LetheError('LETHE_OPTION_INVALID', '--model is no original of the run', {
      expected: `0 to ${plan.originals.count - 1}`,
      received: String(model),
    });
  }
  const { choice, onnx } = await runEngine(run);
  const [engine, net] = [engineOf(choice, say), planNet(plan, dataset, onnx)];
  const { shard, row } = placeInShards(model, plan.subsetModels.modelsPerShard);
  const outputs = readOutputs(await run.read(layout.originals(shard)));
  if (!isTrained(outputs, row)) {
    throw new LetheError('LETHE_MODELS_DIVERGED', `original ${model} of the run diverged`, {
      expected: 'an original that trained',
      received: 'NaN parameters',
      action: 'Choose another --model.',
      exitCode: ExitCode.taskFailed,
    });
  }
  return { net, dataset, engine, model, parameters: outputs.parameters!.row(row) };
}

/** Random images show every value of a pixel at every place; the engine is the yardstick. */
async function compare(engine: Engine, { net, dataset, parameters }: Model, file: Uint8Array): Promise<number> {
  const random = new Random(0, Purpose.synthetic, 0);
  const { height, width, channels } = net.input;
  const pixels = Uint8Array.from({ length: numChecked * height * width * channels }, () => random.below(256));
  const { mean, std, classNames } = dataset;
  const images: Dataset = createDataset({
    name: 'random',
    description: 'random pixels',
    ...net.input,
    numClasses: net.numClasses,
    classNames,
    numTrain: numChecked,
    numValidation: 0,
    pixels,
    labels: new Int32Array(numChecked),
    mean,
    std,
  });
  const points = Int32Array.from({ length: numChecked }, (_, point) => point);
  const expected = await engine.forwardMany(net, images, [parameters], points);
  return relativeDifference(expected, await runOnnx(file, { count: numChecked, ...net.input, pixels }));
}
