/** Sessions of ONNX Runtime for one problem: one for each kind of step, and one for evaluation, made when first needed. */
import { env, InferenceSession, Tensor } from 'onnxruntime-node';
import { ExitCode, LetheError } from '../errors.js';
import { optimizerMoments } from '../models/graph/optimizer.js';
import { evaluationGraph, flatSizes, stepGraph, type StepKind } from '../models/graph/step.js';
import type { Provider } from '../models/graph/types.js';
import { type OnnxModel, writeOnnx } from '../models/onnxWriter.js';
import { gatherImages, type OrtProblem } from './ortProblem.js';

/** Fixed, so that logits never depend on how points are asked for. */
const evalBatch = 64;

/** One model in training: the graph's flat vectors. */
export interface ModelVectors {
  parameters: Tensor;
  state: Tensor;
  first: Tensor;
  second: Tensor;
}

export interface TermFeed {
  images: Tensor;
  wanted?: Tensor;
  targets?: Tensor;
}

export function vector(size: number): Tensor {
  return new Tensor('float32', new Float32Array(size), [size]);
}

export function floats(tensor: Tensor): Float32Array {
  return tensor.data as Float32Array;
}

/** A step reads one set of vectors and writes another: outputs that overwrite what the graph still reads make the numbers drift. */
export interface StepSession {
  kind: StepKind;
  /** Loss of the step; the moved vectors are in `to` (the state only with BatchNorm in train mode). */
  run(from: ModelVectors, to: ModelVectors, numbers: Tensor, terms: TermFeed[]): Promise<number>;
}

export class OrtSessions {
  private readonly steps = new Map<string, Promise<StepSession>>();
  private evaluation: Promise<InferenceSession> | undefined;
  readonly sizes: { trainable: number; state: number };

  constructor(readonly problem: OrtProblem) {
    this.sizes = flatSizes(problem.graph);
  }

  step(kind: StepKind): Promise<StepSession> {
    const key = JSON.stringify(kind);
    const known = this.steps.get(key);
    if (known) return known;
    const made = this.openStep(kind);
    this.steps.set(key, made);
    return made;
  }

  newVectors(): ModelVectors {
    const { trainable, state } = this.sizes;
    return { parameters: vector(trainable), state: vector(state), first: vector(trainable), second: vector(trainable) };
  }

  /** Logits (points, classes) in eval mode; stops early when asked to. */
  async evaluate(model: Pick<ModelVectors, 'parameters' | 'state'>, points: Int32Array, aborted: () => boolean): Promise<Float32Array> {
    const { graph, images, provider } = this.problem;
    this.evaluation ??= openSession(evaluationGraph(graph, provider), provider);
    const session = await this.evaluation;
    const [, ...sides] = graph.image.shape as [unknown, number, number, number];
    const logits = new Float32Array(points.length * graph.numClasses);
    const pixels = new Float32Array(Math.min(evalBatch, points.length) * images.channels * images.height * images.width);
    const perImage = images.channels * images.height * images.width;
    for (let at = 0; at < points.length && !aborted(); at += evalBatch) {
      const batch = points.subarray(at, at + evalBatch);
      gatherImages(images, batch, pixels);
      const feeds: Record<string, Tensor> = {
        parameters: model.parameters,
        images: new Tensor('float32', pixels.subarray(0, batch.length * perImage), [batch.length, ...sides]),
      };
      if (this.sizes.state > 0) feeds['state'] = model.state;
      const result = await session.run(feeds);
      logits.set(floats(result['logits'] as Tensor), at * graph.numClasses);
    }
    return logits;
  }

  private async openStep(kind: StepKind): Promise<StepSession> {
    const { model, blankSize } = stepGraph(this.problem.graph, kind);
    const session = await openSession(model, kind.provider);
    const blank = new Float32Array(blankSize);
    const moments = optimizerMoments[kind.optimizer];
    const moves = kind.batchNorm === 'train' && this.sizes.state > 0;
    const lossValue = new Tensor('float32', new Float32Array(1), []);
    return {
      kind,
      async run(from, to, numbers, terms) {
        const feeds: Record<string, Tensor> = { parameters: from.parameters, numbers };
        const fetches: Record<string, Tensor> = { newParameters: to.parameters, loss: lossValue };
        if (session.inputNames.includes('state')) feeds['state'] = from.state;
        if (moves) fetches['newState'] = to.state;
        if (blankSize > 0) feeds['blank'] = new Tensor('float32', blank.fill(0), [blankSize]);
        for (const name of moments) {
          feeds[name] = from[name];
          fetches[name === 'first' ? 'newFirst' : 'newSecond'] = to[name];
        }
        terms.forEach(({ images, wanted, targets }, k) => {
          feeds[`images${k}`] = images;
          if (wanted) feeds[`wanted${k}`] = wanted;
          if (targets) feeds[`targets${k}`] = targets;
        });
        await session.run(feeds, fetches);
        return floats(lossValue)[0]!;
      },
    };
  }
}

// what goes wrong comes as an error, too
env.logLevel = 'fatal';

/** @throws LETHE_PROVIDER_MISSING (exit code 4) */
async function openSession(model: OnnxModel, provider: Provider): Promise<InferenceSession> {
  try {
    return await InferenceSession.create(writeOnnx(model), {
      executionProviders: [provider],
      intraOpNumThreads: 1,
      interOpNumThreads: 1,
      graphOptimizationLevel: 'all',
      logSeverityLevel: 3,
    });
  } catch (cause) {
    if (provider === 'cpu') throw cause;
    throw new LetheError('LETHE_PROVIDER_MISSING', `ONNX Runtime cannot use its ${provider} provider`, {
      received: cause instanceof Error ? cause.message : String(cause),
      action: 'Install onnxruntime-node with its CUDA libraries (its install script fetches them on Linux x64), or train on the CPU.',
      exitCode: ExitCode.environment,
      cause,
    });
  }
}
