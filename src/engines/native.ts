import { LetheError } from '../errors.js';
import { abortFlag, nativeAddon } from '../native/addon.js';
import { chooseDevice, type DeviceName } from '../native/device.js';
import { nativeFloats } from '../native/memory.js';
import type { IsaName, NativeImageData, NativeProgress, NativeTrainJob, NetDescription, Precision } from '../native/types.js';
import type { Dataset, Engine, NetSpec, ParameterTensor, RunOptions, TrainJob, TrainOutputs, TrainResult } from '../types.js';
import { checkDataset, checkJobs, checkParameters, checkPoints } from './check.js';

export const precisionNames = ['auto', 'fp32', 'bf16'] as const;
export type PrecisionChoice = (typeof precisionNames)[number];

export interface NativeEngineOptions {
  /** Caps the instruction set, as LETHE_ISA does; absent: the highest this machine has. */
  isa?: IsaName;
  /**
   * bf16 stores images and their gradients in half the space and multiplies them by the instructions for it, with fp32 sums, parameters
   * and statistics. 'auto' (default): bf16 on a GPU and where the processor has AMX, fp32 elsewhere.
   */
  precision?: PrecisionChoice;
  /** Absent: the CPU. 'auto': the GPUs where there are any, else the CPU; describe() says which. */
  device?: DeviceName;
  /** Models trained at the same time; 0 or absent: every processor this process may use; on GPUs 16 on each, or what fits into its memory. */
  threads?: number;
}

/**
 * Training in C++ off the JavaScript thread, one model per core and no threads inside a model, or many models at once on each GPU. For one
 * instruction set or GPU and precision the bytes of a job depend on nothing but the job.
 */
export class NativeEngine implements Engine {
  readonly name = 'native';
  private readonly isa: IsaName;
  private readonly threads: number;
  private readonly wanted: PrecisionChoice;
  private readonly device: 'cpu' | 'cuda';

  constructor({ isa, precision = 'auto', device = 'cpu', threads = 0 }: NativeEngineOptions = {}) {
    this.isa = isa ?? '';
    this.wanted = precision;
    this.threads = threads;
    this.device = device === 'auto' ? chooseDevice(device) : device; // told one, it is looked for when it is needed
  }

  describe(): Record<string, string | number> {
    return {
      engine: this.name,
      isa: this.device === 'cuda' ? 'cuda' : this.level(),
      device: this.device,
      precision: this.precision(),
      threads: this.threads || this.lanes(),
    };
  }

  /** Models at the same time unless threads says otherwise; on GPUs fewer where they do not fit. */
  private lanes(): number {
    const { threads, modelsPerGpu, cuda } = nativeAddon().systemInfo();
    return this.device === 'cuda' ? modelsPerGpu * Math.max(1, cuda.devices.length) : threads;
  }

  private level(): IsaName {
    return this.isa === '' ? nativeAddon().systemInfo().isa : this.isa;
  }

  private precision(): Precision {
    if (this.wanted !== 'auto') return this.wanted;
    return this.device === 'cuda' || this.level() === 'amx' ? 'bf16' : 'fp32';
  }

  /** @throws LETHE_NET_INVALID names the layer that does not fit. */
  parameters(net: NetSpec): ParameterTensor[] {
    return this.describeNet(net, 1).parameters;
  }

  /**
   * Facts of a network for planning: number of parameters, multiply-adds of one image, memory of one model in training.
   * @throws LETHE_NET_INVALID names the layer that does not fit; LETHE_NET_UNSUPPORTED for an ONNX file.
   */
  describeNet(net: NetSpec, batchSize: number): NetDescription {
    if (net.onnx) {
      throw new LetheError('LETHE_NET_UNSUPPORTED', `the native engine does not train ONNX files ("${net.name}")`, {
        expected: 'a network of layers',
        action: 'Use --engine ort.',
      });
    }
    return nativeAddon().describeNet(net, this.isa, this.precision(), batchSize);
  }

  /**
   * Progress counts images through forward and backward. A job that diverges ends with status 'diverged': its logits from that epoch on
   * and its parameters are NaN, and its neighbours do not notice.
   * @throws LETHE_NET_INVALID, LETHE_DATASET_INVALID, LETHE_JOB_INVALID (with the model index), LETHE_TASK_ABORTED, LETHE_MEMORY_EXHAUSTED;
   *   of device 'cuda' LETHE_GPU_UNAVAILABLE, LETHE_GPU_MEMORY_EXHAUSTED, LETHE_GPU_FAILED
   */
  async trainMany(
    net: NetSpec,
    dataset: Dataset,
    jobs: TrainJob[],
    outputs: TrainOutputs,
    options: RunOptions = {},
  ): Promise<TrainResult[]> {
    chooseDevice(this.device); // not when the engine is made: a run made on a GPU may be looked at anywhere
    const { numParameters } = this.describeNet(net, 1);
    checkDataset(net, dataset);
    checkPoints('evalPoints', outputs.evalPoints, dataset);
    checkJobs(net, dataset, jobs, outputs, numParameters);
    const perSnapshot = outputs.evalPoints.length * net.numClasses;
    const nativeJobs: NativeTrainJob[] = jobs.map((job) => ({
      ...job,
      logits: nativeFloats(outputs.evalEpochs.length * perSnapshot),
      ...(outputs.parameters ? { parameters: nativeFloats(numParameters) } : {}),
    }));
    const outcomes = await nativeAddon().trainMany(
      {
        ...this.common(net, dataset, options),
        jobs: nativeJobs,
        evalPoints: outputs.evalPoints,
        evalEpochs: outputs.evalEpochs,
      },
      nativeProgress(options),
      abortFlag(options.signal),
    );
    return outcomes.map(({ divergedAtEpoch, ...outcome }, i) => {
      const { modelIndex, logits, parameters } = nativeJobs[i]!;
      return {
        modelIndex,
        status: divergedAtEpoch === 0 ? 'trained' : 'diverged',
        ...(divergedAtEpoch === 0 ? {} : { divergedAtEpoch }),
        ...outcome,
        logits,
        ...(parameters ? { parameters } : {}),
      };
    });
  }

  /**
   * Progress counts images of finished models.
   * @throws LETHE_NET_INVALID, LETHE_DATASET_INVALID, LETHE_JOB_INVALID, LETHE_TASK_ABORTED, LETHE_MEMORY_EXHAUSTED
   */
  async forwardMany(
    net: NetSpec,
    dataset: Dataset,
    parameters: Float32Array[],
    points: Int32Array,
    options: RunOptions = {},
  ): Promise<Float32Array> {
    chooseDevice(this.device);
    const { numParameters } = this.describeNet(net, 1);
    checkDataset(net, dataset);
    checkPoints('points', points, dataset);
    checkParameters(net, parameters, numParameters);
    const logits = nativeFloats(parameters.length * points.length * net.numClasses);
    await nativeAddon().forwardMany(
      { ...this.common(net, dataset, options), parameters, points, logits },
      nativeProgress(options),
      abortFlag(options.signal),
    );
    return logits;
  }

  private common(
    net: NetSpec,
    dataset: Dataset,
    options: RunOptions,
  ): { net: NetSpec; isa: IsaName; device: 'cpu' | 'cuda'; precision: Precision; threads: number; data: NativeImageData } {
    const { pixels, labels, mean, std } = dataset;
    const data = { numPoints: dataset.numTrain + dataset.numValidation, pixels, labels, mean, std };
    const { isa, device } = this;
    return { net, isa, device, precision: this.precision(), threads: options.threads || this.threads, data };
  }
}

function nativeProgress({ onProgress }: RunOptions): NativeProgress | undefined {
  return (
    onProgress &&
    ((done, total) => {
      onProgress({ done, total });
    })
  );
}
