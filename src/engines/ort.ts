import { ExitCode, LetheError } from '../errors.js';
import { elementOrder, netGraph } from '../models/graph/netGraph.js';
import { type ForwardGraph, type Provider, sizeOf } from '../models/graph/types.js';
import { importOnnx } from '../models/onnxImport.js';
import { onnxRuntime } from '../models/onnxRuntime.js';
import { abortFlag, nativeAddon } from '../native/addon.js';
import type { Dataset, Engine, NetSpec, ParameterTensor, RunOptions, TrainJob, TrainOutputs, TrainResult } from '../types.js';
import { checkDataset, checkJobs, checkParameters, checkPoints } from './check.js';
import { OrtPool } from './ortPool.js';
import { imageLevels, type OrtProblem } from './ortProblem.js';
import type { OrtTask } from './ortWorker.js';
import { plannedImages } from './sampler.js';

export interface OrtEngineOptions {
  /** Models trained at the same time, each by one thread; 0 or absent: every processor this process may use. */
  threads?: number;
  /** Execution provider of ONNX Runtime; absent: cpu. */
  provider?: Provider;
}

/** Numbers for objects, as parts of keys. */
const identities = new WeakMap<object, number>();
let lastIdentity = 0;

function identity(object: object): number {
  const known = identities.get(object) ?? ++lastIdentity;
  identities.set(object, known);
  return known;
}

/** One shared copy of a data set's pixels for all workers. */
const sharedPixels = new WeakMap<Uint8Array, Uint8Array>();

function sharedCopy(pixels: Uint8Array): Uint8Array {
  let copy = sharedPixels.get(pixels);
  if (!copy) {
    copy = new Uint8Array(new SharedArrayBuffer(pixels.length));
    copy.set(pixels);
    sharedPixels.set(pixels, copy);
  }
  return copy;
}

/**
 * Training as one ONNX graph a step (forward, loss, backward, update; see models/graph), run by the stock onnxruntime-node package in
 * worker threads, one thread and one model each. Takes networks of layers and ONNX files. On one machine and version of ONNX Runtime the
 * bytes of a job depend on nothing but the job; they agree with the native engine within rounding.
 */
export class OrtEngine implements Engine {
  readonly name = 'ort';
  private readonly threads: number;
  private readonly provider: Provider;
  private readonly pool = new OrtPool();
  private readonly graphs = new WeakMap<NetSpec, { graph: ForwardGraph; tensors: ParameterTensor[] }>();

  /** @throws LETHE_ORT_UNAVAILABLE, LETHE_PROVIDER_MISSING (exit code 4) */
  constructor({ threads = 0, provider = 'cpu' }: OrtEngineOptions = {}) {
    requireProvider(provider);
    this.threads = threads;
    this.provider = provider;
  }

  describe(): Record<string, string | number> {
    const { isa, threads } = nativeAddon().systemInfo();
    const { env } = onnxRuntime();
    const onnxruntime = env.versions.node ?? env.versions.common;
    return { engine: this.name, isa, precision: 'fp32', threads: this.threads || threads, onnxruntime, device: this.provider };
  }

  /** @throws LETHE_NET_INVALID names the layer that does not fit; LETHE_ONNX_INVALID, LETHE_ONNX_UNSUPPORTED */
  parameters(net: NetSpec): ParameterTensor[] {
    return this.graphOf(net).tensors;
  }

  /**
   * Progress counts images through forward and backward. A job that diverges ends as with the native engine.
   * @throws LETHE_NET_INVALID, LETHE_ONNX_INVALID, LETHE_ONNX_UNSUPPORTED, LETHE_DATASET_INVALID, LETHE_JOB_INVALID, LETHE_TASK_ABORTED,
   * LETHE_ORT_FAILED
   */
  async trainMany(
    net: NetSpec,
    dataset: Dataset,
    jobs: TrainJob[],
    outputs: TrainOutputs,
    options: RunOptions = {},
  ): Promise<TrainResult[]> {
    checkDataset(net, dataset);
    checkPoints('evalPoints', outputs.evalPoints, dataset);
    checkJobs(net, dataset, jobs, outputs, numParameters(this.parameters(net)));
    const tasks = jobs.map((job): OrtTask => ({ kind: 'train', job, outputs }));
    const total = jobs.reduce((sum, job) => sum + plannedImages(job), 0);
    let done = 0;
    const onImages = (images: number): void => {
      done += images;
      options.onProgress?.({ done, total });
    };
    return (await this.run(net, dataset, tasks, options, { onImages, onDone: () => undefined })) as TrainResult[];
  }

  /**
   * Progress counts images of finished models.
   * @throws LETHE_NET_INVALID, LETHE_ONNX_INVALID, LETHE_ONNX_UNSUPPORTED, LETHE_DATASET_INVALID, LETHE_JOB_INVALID, LETHE_TASK_ABORTED,
   * LETHE_ORT_FAILED
   */
  async forwardMany(
    net: NetSpec,
    dataset: Dataset,
    parameters: Float32Array[],
    points: Int32Array,
    options: RunOptions = {},
  ): Promise<Float32Array> {
    checkDataset(net, dataset);
    checkPoints('points', points, dataset);
    checkParameters(net, parameters, numParameters(this.parameters(net)));
    const tasks = parameters.map((values): OrtTask => ({ kind: 'forward', parameters: values, points }));
    let done = 0;
    const onDone = (): void => {
      done += points.length;
      options.onProgress?.({ done, total: tasks.length * points.length });
    };
    const rows = (await this.run(net, dataset, tasks, options, { onImages: () => undefined, onDone })) as Float32Array[];
    const rowSize = points.length * net.numClasses;
    const logits = new Float32Array(rows.length * rowSize);
    rows.forEach((row, model) => {
      logits.set(row, model * rowSize);
    });
    return logits;
  }

  private run(
    net: NetSpec,
    dataset: Dataset,
    tasks: OrtTask[],
    { signal, threads }: RunOptions,
    events: { onImages: (images: number) => void; onDone: () => void },
  ): ReturnType<OrtPool['run']> {
    return this.pool.run({
      problem: this.problem(net, dataset),
      tasks,
      threads: threads || this.threads || nativeAddon().systemInfo().threads,
      abortFlag: abortFlag(signal),
      signal,
      ...events,
    });
  }

  private problem(net: NetSpec, dataset: Dataset): OrtProblem {
    const { graph, tensors } = this.graphOf(net);
    const { pixels, labels, height, width, channels } = dataset;
    const { mean, std } = dataset;
    const scaled = graph.normalises
      ? { levels: imageLevels([...mean].fill(0), [...std].fill(1)), outside: Float32Array.from(mean) }
      : { levels: imageLevels(mean, std), outside: new Float32Array(channels) };
    const order = new Int32Array(numParameters(tensors));
    for (const { offset, shape } of tensors) {
      // ONNX files have ONNX's order already
      const within = net.onnx ? Int32Array.from({ length: sizeOf(shape) }, (_, i) => i) : elementOrder(shape);
      order.set(
        within.map((at) => offset + at),
        offset,
      );
    }
    return {
      key: `${this.provider} ${identity(net)} ${identity(dataset)}`,
      graph,
      provider: this.provider,
      order,
      images: { pixels: sharedCopy(pixels), labels, height, width, channels, ...scaled },
    };
  }

  private graphOf(net: NetSpec): { graph: ForwardGraph; tensors: ParameterTensor[] } {
    const known = this.graphs.get(net);
    if (known) return known;
    const made = net.onnx ? imported(net.onnx, net) : layered(net);
    this.graphs.set(net, made);
    return made;
  }
}

function layered(net: NetSpec): { graph: ForwardGraph; tensors: ParameterTensor[] } {
  const tensors = nativeAddon().describeNet(net, '', 'fp32', 1).parameters;
  return { graph: netGraph(net, tensors), tensors };
}

function imported(bytes: Uint8Array, net: NetSpec): { graph: ForwardGraph; tensors: ParameterTensor[] } {
  const { graph } = importOnnx(bytes, net.name);
  let offset = 0;
  const tensors = graph.parameters.map(({ name, shape, trainable }) => {
    const size = sizeOf(shape);
    offset += size;
    return { name, shape, offset: offset - size, size, trainable };
  });
  return { graph, tensors };
}

function numParameters(tensors: ParameterTensor[]): number {
  return tensors.reduce((sum, { size }) => sum + size, 0);
}

function requireProvider(provider: Provider): void {
  const names = onnxRuntime()
    .listSupportedBackends()
    .map(({ name }) => name);
  if (names.includes(provider)) return;
  throw new LetheError('LETHE_PROVIDER_MISSING', `this onnxruntime-node has no ${provider} provider`, {
    expected: `one of ${names.join(', ')}`,
    received: provider,
    action: 'Train on the CPU.',
    exitCode: ExitCode.environment,
  });
}
