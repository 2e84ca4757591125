/** One model out of a checkpoint or a run, for other programs. */
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
import type { Dataset, Engine, NetSpec } from '../types.js';
import { engineOf, runEngine, viewRun } from './session.js';
import type { Note } from './talk.js';

/** An original of a run, by its number. */
export interface RunModel {
  run: string;
  model: number;
  /** Where the data set lies, for a run of an earlier version only. */
  data?: string;
}

/** A model-*.safetensors of lethe train or lethe unlearn, or an original of a run. */
export type ModelSource = RunModel | { checkpoint: string };

export interface ExportedModel {
  net: NetSpec;
  numParameters: number;
}

type Model = ModelFacts & { parameters: Float32Array };

/** Images of the comparison with ONNX Runtime, and the largest difference of a logit relative to the largest logit. */
const numChecked = 16;
const tolerance = 1e-4;

/** bytes: of the file. maxRelativeDifference: of a logit of ONNX Runtime, relative to the largest, on numImages random images. */
export type ExportedOnnx = ExportedModel & { bytes: number; numImages: number; maxRelativeDifference: number };

/**
 * Writes a model as ONNX: input "images" float32 (batch, channels, height, width), pixels / 255; output "logits" (batch, classes). What stock
 * ONNX Runtime computes from it is compared before the file is written.
 *
 * @example
 * const { maxRelativeDifference } = await exportOnnxModel({ run: 'runs/quickstart', model: 0 }, 'original.onnx');
 * console.log(maxRelativeDifference);
 *
 * @throws LETHE_EXPORT_INEXACT (exit code 1), LETHE_MODEL_UNKNOWN (2), LETHE_MODELS_DIVERGED (1), errors of readModel() and of the run
 */
export async function exportOnnxModel(source: ModelSource, out: string, note?: Note): Promise<ExportedOnnx> {
  const engine = new NativeEngine({ precision: 'fp32' }); // the yardstick: bf16 differs by more than the tolerance
  const { net, dataset, parameters } =
    'checkpoint' in source ? await readModel(source.checkpoint, (spec) => engine.parameters(spec)) : await originalOf(source, note);
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
  await publishResult(out, file);
  return { net, numParameters: parameters.length, bytes: file.length, numImages: numChecked, maxRelativeDifference };
}

/**
 * Writes an original of a run as a safetensors checkpoint.
 *
 * @example
 * await exportCheckpoint({ run: 'runs/quickstart', model: 3 }, 'original-3.safetensors');
 *
 * @throws LETHE_MODEL_UNKNOWN (exit code 2), LETHE_MODELS_DIVERGED (1), errors of the run
 */
export async function exportCheckpoint(source: RunModel, out: string, note?: Note): Promise<ExportedModel> {
  const { dataset, engine, net, parameters } = await originalOf(source, note);
  const facts = { ...factsMetadata(net, dataset), model: String(source.model) };
  await writeCheckpoint(out, engine.parameters(net), parameters, facts, publishResult);
  return { net, numParameters: parameters.length };
}

async function originalOf({ run: root, model, data }: RunModel, note?: Note) {
  const { run, plan, dataset } = await viewRun(root, { ...(data === undefined ? {} : { data }), ...(note ? { note } : {}) });
  if (!(model >= 0 && model < plan.originals.count)) {
    throw new LetheError('LETHE_MODEL_UNKNOWN', 'the run has no such original', {
      expected: `0 to ${plan.originals.count - 1}`,
      received: String(model),
    });
  }
  const { choice, onnx } = await runEngine(run);
  const [engine, net] = [engineOf(choice, note), planNet(plan, dataset, onnx)];
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
  return { net, dataset, engine, parameters: outputs.parameters!.row(row) };
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
