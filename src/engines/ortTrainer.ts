/** One job from its first parameters to its result: the loop of native/core/train/trainer.cpp around a session. */
import { Tensor } from 'onnxruntime-node';
import type { LossParts } from '../models/graph/loss.js';
import type { Pass, PassTerm, TrainJob, TrainOutputs, TrainResult } from '../types.js';
import { allFinite, fromGraph, gatherImages, initialParameters, toGraph } from './ortProblem.js';
import { floats, type ModelVectors, type OrtSessions, type StepSession, type TermFeed } from './ortSession.js';
import {
  examplesPerEpoch,
  learningRate,
  plannedImages,
  type Placer,
  type Sampler,
  stepsPerEpoch,
  termPlacer,
  termSampler,
} from './sampler.js';

export interface TrainerEvents {
  aborted: () => boolean;
  /** Images that went through forward and backward since the last call. */
  onImages: (images: number) => void;
}

/** The result of a job; what it holds after an abort means nothing. */
export function trainJob(sessions: OrtSessions, job: TrainJob, outputs: TrainOutputs, events: TrainerEvents): Promise<TrainResult> {
  return new Training(sessions, job, outputs, events).run();
}

class Training {
  private current: ModelVectors;
  private next: ModelVectors;
  private readonly logits: Float32Array;
  private gradientImages = 0;
  private optimizerSteps = 0;
  private loss = NaN;

  constructor(
    private readonly sessions: OrtSessions,
    private readonly job: TrainJob,
    private readonly outputs: TrainOutputs,
    private readonly events: TrainerEvents,
  ) {
    const { graph, order } = sessions.problem;
    this.current = sessions.newVectors();
    this.next = sessions.newVectors();
    const start = toGraph(job.initialParameters ?? initialParameters(graph, job.seed, job.modelIndex), order);
    floats(this.current.parameters).set(start.subarray(0, sessions.sizes.trainable));
    floats(this.current.state).set(start.subarray(sessions.sizes.trainable));
    this.logits = new Float32Array(outputs.evalEpochs.length * this.snapshotSize);
  }

  private get snapshotSize(): number {
    return this.outputs.evalPoints.length * this.sessions.problem.graph.numClasses;
  }

  async run(): Promise<TrainResult> {
    const started = performance.now();
    let divergedAtEpoch = (await this.snapshot(0)) ? 0 : 1;
    for (let epoch = 0; epoch < this.job.epochs && divergedAtEpoch === 0 && !this.events.aborted(); epoch++) {
      if (!(await this.runEpoch(epoch)) || !(await this.snapshot(epoch + 1))) divergedAtEpoch = epoch + 1;
    }
    const diverged = divergedAtEpoch !== 0;
    if (diverged) this.forgetFrom(divergedAtEpoch);
    this.events.onImages(plannedImages(this.job) - this.gradientImages);
    return {
      modelIndex: this.job.modelIndex,
      status: diverged ? 'diverged' : 'trained',
      ...(diverged ? { divergedAtEpoch } : {}),
      loss: diverged ? NaN : this.loss,
      gradientImages: this.gradientImages,
      elapsedMs: performance.now() - started,
      logits: this.logits,
      ...(this.outputs.parameters ? { parameters: this.finalParameters(diverged) } : {}),
    };
  }

  private finalParameters(diverged: boolean): Float32Array {
    const { order } = this.sessions.problem;
    if (diverged) return new Float32Array(order.length).fill(NaN);
    return fromGraph(order, floats(this.current.parameters), floats(this.current.state));
  }

  private forgetFrom(epoch: number): void {
    this.outputs.evalEpochs.forEach((at, i) => {
      if (at >= epoch) this.logits.fill(NaN, i * this.snapshotSize, (i + 1) * this.snapshotSize);
    });
  }

  /** Logits after `epoch` epochs where wanted; false when one is not finite. */
  private async snapshot(epoch: number): Promise<boolean> {
    const at = this.outputs.evalEpochs.indexOf(epoch);
    if (at < 0) return true;
    const rows = await this.sessions.evaluate(this.current, this.outputs.evalPoints, this.events.aborted);
    this.logits.set(rows, at * this.snapshotSize);
    return this.events.aborted() || allFinite(rows);
  }

  /** False when a loss or a parameter is not finite. */
  private async runEpoch(epoch: number): Promise<boolean> {
    const { job } = this;
    const active = job.passes.map((pass) => epoch < (pass.activeEpochs ?? Infinity));
    const steps = job.passes.reduce((sum, pass, p) => sum + (active[p] ? stepsPerEpoch(pass) : 0), 0);
    const mean = { loss: 0, images: 0 };
    let step = 0;
    for (const [p, pass] of job.passes.entries()) {
      if (!active[p]) continue;
      const runner = new PassRunner(this.sessions, job, pass, await this.sessions.step(this.stepKind(pass)));
      const sources = pass.terms.map((_, term): Source => {
        const place = { epoch, pass: p, term };
        return { sampler: termSampler(job, place), placer: termPlacer(job, place) };
      });
      const walk = sources[0]!.sampler;
      while (walk.remaining > 0) {
        if (this.events.aborted()) return true;
        const walked = Math.min(pass.terms[0]!.batchSize, walk.remaining);
        const rate = learningRate(job.schedule, epoch + step++ / steps, job.epochs);
        const loss = await this.runStep(runner, sources, rate);
        if (!Number.isFinite(loss)) return false;
        mean.loss += loss * walked;
        mean.images += walked;
      }
    }
    if (mean.images > 0) this.loss = mean.loss / mean.images;
    return allFinite(floats(this.current.parameters)) && allFinite(floats(this.current.state));
  }

  private async runStep(runner: PassRunner, sources: Source[], rate: number): Promise<number> {
    const { loss, images } = await runner.step(this.current, this.next, sources, rate, ++this.optimizerSteps);
    [this.current, this.next] = [this.next, this.current];
    if (runner.pass.batchNorm === 'eval') [this.current.state, this.next.state] = [this.next.state, this.current.state];
    this.gradientImages += images;
    this.events.onImages(images);
    return loss;
  }

  private stepKind({ terms, batchNorm }: Pass): StepSession['kind'] {
    return { terms: terms.map(lossParts), batchNorm, optimizer: this.job.optimizer.kind, provider: this.sessions.problem.provider };
  }
}

function lossParts({ objective }: PassTerm): LossParts {
  return {
    crossEntropy: (objective.crossEntropy ?? 0) !== 0,
    matchLogits: (objective.matchLogits ?? 0) !== 0,
    distill: (objective.distill ?? 0) !== 0,
  };
}

/** Which examples of a term come next, and how their images are placed. */
interface Source {
  sampler: Sampler;
  placer: Placer | undefined;
}

/** Buffers and feeds of one pass. */
class PassRunner {
  private readonly buffers: TermBuffers[];

  constructor(
    sessions: OrtSessions,
    private readonly job: TrainJob,
    readonly pass: Pass,
    private readonly session: StepSession,
  ) {
    this.buffers = pass.terms.map((term, t) => {
      const batch = t === 0 ? Math.min(term.batchSize, examplesPerEpoch(term)) : term.batchSize;
      return new TermBuffers(sessions, term, batch);
    });
  }

  async step(
    from: ModelVectors,
    to: ModelVectors,
    sources: Source[],
    rate: number,
    optimizerStep: number,
  ): Promise<{ loss: number; images: number }> {
    const { terms } = this.pass;
    const counts = terms.map(({ batchSize }, t) => (t === 0 ? Math.min(batchSize, sources[0]!.sampler.remaining) : batchSize));
    const feeds = this.buffers.map((buffers, t) => buffers.fill(sources[t]!, counts[t]!));
    const numbers = [...updateNumbers(this.job, rate, optimizerStep), ...terms.flatMap((term, t) => lossNumbers(term, counts[t]!))];
    const loss = await this.session.run(from, to, new Tensor('float32', Float32Array.from(numbers), [numbers.length]), feeds);
    return { loss, images: counts.reduce((sum, count) => sum + count, 0) };
  }
}

/** In the order of optimizerNumbers. */
function updateNumbers({ optimizer }: TrainJob, rate: number, step: number): number[] {
  if (optimizer.kind === 'sgd') return [rate, optimizer.momentum, optimizer.weightDecay];
  const [beta1, beta2] = [Math.fround(optimizer.beta1), Math.fround(optimizer.beta2)];
  const root = 1 / Math.sqrt(1 - beta2 ** step);
  return [rate / (1 - beta1 ** step), beta1, 1 - beta1, beta2, 1 - beta2, root, optimizer.epsilon, optimizer.weightDecay];
}

/** In the order of termNumbers. */
function lossNumbers({ objective, weight }: PassTerm, count: number): number[] {
  const { crossEntropy = 0, matchLogits = 0, distill = 0, temperature = 1 } = objective;
  return [weight * crossEntropy, weight * matchLogits, weight * distill, temperature, count];
}

class TermBuffers {
  private readonly points: Int32Array;
  private readonly images: Float32Array;
  private readonly wanted: Float32Array;
  private readonly targets: Float32Array;
  private readonly parts: LossParts;

  constructor(
    private readonly sessions: OrtSessions,
    private readonly term: PassTerm,
    batch: number,
  ) {
    const { graph, images } = sessions.problem;
    this.parts = lossParts(term);
    this.points = new Int32Array(batch);
    this.images = new Float32Array(batch * images.height * images.width * images.channels);
    this.wanted = new Float32Array(this.parts.crossEntropy ? batch * graph.numClasses : 0);
    this.targets = new Float32Array(this.parts.matchLogits || this.parts.distill ? batch * graph.numClasses : 0);
  }

  /** The next `count` examples. */
  fill({ sampler, placer }: Source, count: number): TermFeed {
    const { images, graph } = this.sessions.problem;
    const { indices, targets, objective } = this.term;
    const classes = graph.numClasses;
    const smoothing = objective.labelSmoothing ?? 0;
    for (let i = 0; i < count; i++) {
      const row = sampler.draw();
      const point = indices[row]!;
      this.points[i] = point;
      if (this.wanted.length > 0) {
        this.wanted.fill(smoothing / classes, i * classes, (i + 1) * classes);
        this.wanted[i * classes + images.labels[point]!] = smoothing / classes + 1 - smoothing;
      }
      if (this.targets.length > 0) this.targets.set(targets!.subarray(row * classes, (row + 1) * classes), i * classes);
    }
    const placements = placer && Array.from({ length: count }, () => placer.next());
    gatherImages(images, this.points.subarray(0, count), this.images, placements);
    const perImage = images.height * images.width * images.channels;
    const rows = (values: Float32Array): Tensor => new Tensor('float32', values.subarray(0, count * classes), [count, classes]);
    return {
      images: new Tensor('float32', this.images.subarray(0, count * perImage), [count, images.channels, images.height, images.width]),
      ...(this.wanted.length > 0 ? { wanted: rows(this.wanted) } : {}),
      ...(this.targets.length > 0 ? { targets: rows(this.targets) } : {}),
    };
  }
}
