/** The order of a pass and the learning rate of a step: twins of native/core/train/sampler.h, trainer.cpp and schedule.cpp, draw for draw. */
import { Purpose, Random } from '../native/random.js';
import type { Augmentation, Pass, PassTerm, Schedule, TrainJob } from '../types.js';

/** Walks through the first `always` rows and `sample` of the others, drawn without replacement, in a fresh order each time round. */
export class Sampler {
  private readonly order: Int32Array;
  private readonly size: number;
  private next = 0;

  constructor(
    private readonly random: Random,
    { count, always, sample }: { count: number; always: number; sample: number },
  ) {
    this.order = Int32Array.from({ length: count }, (_, i) => i);
    this.size = always + sample;
    if (this.size === count) return;
    for (let i = always; i < this.size; i++) this.swapAhead(i, count);
  }

  get remaining(): number {
    return this.size - this.next;
  }

  draw(): number {
    if (this.next === this.size) this.next = 0;
    this.swapAhead(this.next, this.size);
    return this.order[this.next++]!;
  }

  private swapAhead(at: number, end: number): void {
    const other = at + this.random.below(end - at);
    const value = this.order[at]!;
    this.order[at] = this.order[other]!;
    this.order[other] = value;
  }
}

/** Where an image is cut from its padded self, and whether it is mirrored: ImagePlacement in native/include/lethe/train_kernels.h. */
export interface Placement {
  down: number;
  right: number;
  flip: boolean;
}

/** Placements in the order in which an epoch draws images: four words of the stream for each, see native/core/sampler.h. */
export class Placer {
  constructor(
    private readonly random: Random,
    private readonly augmentation: Augmentation,
  ) {}

  next(): Placement {
    const down = this.offset(this.random.next());
    const right = this.offset(this.random.next());
    const side = this.random.next();
    this.random.next();
    return { down, right, flip: this.augmentation.flip && side >= 2 ** 31 };
  }

  private offset(word: number): number {
    const { cropPadding } = this.augmentation;
    return Math.floor((word * (2 * cropPadding + 1)) / 2 ** 32) - cropPadding;
  }
}

/** Position of a term in a job. */
export interface TermPlace {
  epoch: number;
  pass: number;
  term: number;
}

/** One random stream for every (epoch, pass, term). */
function streamOf({ epoch, pass, term }: TermPlace): number {
  return (epoch * 256 + pass * 16 + term) % 2 ** 32;
}

/** Undefined where images are taken as they are. */
export function termPlacer(job: TrainJob, place: TermPlace): Placer | undefined {
  const { augment } = job.passes[place.pass]!;
  if (!augment || (augment.cropPadding === 0 && !augment.flip)) return undefined;
  return new Placer(new Random(job.seed, Purpose.augment, job.modelIndex, streamOf(place)), augment);
}

export function termSampler(job: TrainJob, place: TermPlace): Sampler {
  const term = job.passes[place.pass]!.terms[place.term]!;
  const always = term.samplePerEpoch === undefined ? term.indices.length : (term.alwaysIncluded ?? 0);
  const sample = examplesPerEpoch(term) - always;
  return new Sampler(new Random(job.seed, Purpose.shuffle, job.modelIndex, streamOf(place)), {
    count: term.indices.length,
    always,
    sample,
  });
}

/** Examples that one epoch takes from a term: its sample, or all of it. */
export function examplesPerEpoch(term: PassTerm): number {
  return term.samplePerEpoch === undefined ? term.indices.length : (term.alwaysIncluded ?? 0) + term.samplePerEpoch;
}

export function stepsPerEpoch({ terms }: Pass): number {
  return Math.ceil(examplesPerEpoch(terms[0]!) / terms[0]!.batchSize);
}

/** Images of forward and backward that a job will take. */
export function plannedImages({ passes, epochs }: TrainJob): number {
  return passes.reduce((images, pass) => {
    const beside = pass.terms.slice(1).reduce((sum, term) => sum + stepsPerEpoch(pass) * term.batchSize, 0);
    return images + (examplesPerEpoch(pass.terms[0]!) + beside) * Math.min(pass.activeEpochs ?? epochs, epochs);
  }, 0);
}

/** Of a step that starts `position` epochs into a job of `epochs`; exponential and steps use floor(position). */
export function learningRate(schedule: Schedule, position: number, epochs: number): number {
  return schedule.learningRate * Math.max(rateFactor(schedule, position, epochs), 0);
}

function rateFactor(schedule: Schedule, position: number, epochs: number): number {
  const epoch = Math.floor(position);
  switch (schedule.kind) {
    case 'constant':
      return 1;
    case 'triangle':
    case 'cosine': {
      const { peakEpoch } = schedule;
      const rest = Math.max(epochs - peakEpoch, 1e-12);
      if (position < peakEpoch) return position / peakEpoch;
      return schedule.kind === 'triangle' ? (epochs - position) / rest : 0.5 * (1 + Math.cos((Math.PI * (position - peakEpoch)) / rest));
    }
    case 'exponential':
      return schedule.factor ** epoch;
    case 'steps':
      return schedule.atEpochs.reduce((factor, at) => factor * (epoch >= at ? schedule.factor : 1), 1);
  }
}
