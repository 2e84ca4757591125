/**
 * The built-in image set: coloured textures with something to learn (classes of sub-populations, some of them rare) and something to
 * memorise (a few mislabelled and a few atypical train examples), so that every stage of the method has real work without any download.
 */
import { LetheError } from '../errors.js';
import { Purpose, Random } from '../native/random.js';
import type { Dataset } from '../types.js';
import { createDataset } from './dataset.js';

export interface SyntheticOptions {
  trainPerClass?: number;
  validationPerClass?: number;
  numClasses?: number;
  seed?: number;
}

/** What is special about which point; for tests and demonstrations, never seen by training. */
export interface SyntheticFacts {
  /** (numTrain + numValidation) sub-population within the true class, 0 the most frequent */
  subpopulations: Int32Array;
  /** (numTrain + numValidation) class whose texture was drawn */
  trueClasses: Int32Array;
  /** Train examples whose label is not their true class, ascending. */
  mislabelled: number[];
  /** Train examples half made of another class's texture, ascending. */
  atypical: number[];
}

const syntheticDefaults = { trainPerClass: 60, validationPerClass: 30, numClasses: 5, seed: 0 };

const size = 16;
const channels = 3;
/** Shares of the sub-populations of every class: the last one is rare on purpose. */
const subpopulationShares = [0.4, 0.3, 0.2, 0.1];
const mislabelledShare = 0.04;
const atypicalShare = 0.04;
const noise = 0.18;
/** Streams of Random(seed, synthetic, ...): one for the textures, one a split, so that a point never depends on how many there are. */
const Stream = { train: 0, validation: 1, texture: 2 } as const;

/** A plane wave in colour: amplitude[c] * cos(2 pi (x, y) . wave / size + phase). */
interface Wave {
  x: number;
  y: number;
  amplitude: number[];
}

/**
 * Images of 16 x 16 x 3 bytes; labels of both splits run 0, 1, ..., numClasses - 1, 0, 1, ...; a smaller set is a prefix of a larger one.
 * @throws LETHE_DATA_OPTION for counts that are no whole numbers or too small
 */
export function syntheticDataset(options: SyntheticOptions = {}): { dataset: Dataset; facts: SyntheticFacts } {
  const { trainPerClass, validationPerClass, numClasses, seed } = { ...syntheticDefaults, ...options };
  for (const [name, value, least] of [
    ['trainPerClass', trainPerClass, 1],
    ['validationPerClass', validationPerClass, 0],
    ['numClasses', numClasses, 2],
    ['seed', seed, 0],
  ] as const) {
    if (Number.isSafeInteger(value) && value >= least) continue;
    throw new LetheError('LETHE_DATA_OPTION', 'the synthetic data set cannot be made', {
      expected: `${name} to be a whole number of at least ${least}`,
      received: String(value),
    });
  }
  const textures = makeTextures(numClasses, seed);
  const numTrain = trainPerClass * numClasses;
  const numPoints = numTrain + validationPerClass * numClasses;
  const pixels = new Uint8ClampedArray(numPoints * size * size * channels);
  const labels = new Int32Array(numPoints);
  const facts: SyntheticFacts = {
    subpopulations: new Int32Array(numPoints),
    trueClasses: new Int32Array(numPoints),
    mislabelled: [],
    atypical: [],
  };
  for (let point = 0; point < numPoints; point++) {
    const isTrain = point < numTrain;
    const index = isTrain ? point : point - numTrain;
    const random = new Random(seed, Purpose.synthetic, index, isTrain ? Stream.train : Stream.validation);
    const label = index % numClasses;
    const kind = isTrain ? random.uniform() : 1;
    const otherClass = (label + 1 + random.below(numClasses - 1)) % numClasses;
    const mislabelled = kind < mislabelledShare;
    const atypical = !mislabelled && kind < mislabelledShare + atypicalShare;
    const trueClass = mislabelled ? otherClass : label;
    const subpopulation = pickSubpopulation(random.uniform());
    const parts = [{ waves: textures[trueClass]![subpopulation]!, weight: atypical ? 0.5 : 1 }];
    if (atypical) parts.push({ waves: textures[otherClass]![pickSubpopulation(random.uniform())]!, weight: 0.5 });
    paint(pixels.subarray(point * size * size * channels), parts, random);
    labels[point] = label;
    facts.subpopulations[point] = subpopulation;
    facts.trueClasses[point] = trueClass;
    if (mislabelled) facts.mislabelled.push(point);
    if (atypical) facts.atypical.push(point);
  }
  const dataset = createDataset({
    name: 'synthetic',
    description: `synthetic (built in): ${numClasses} classes of coloured textures, 16 x 16, seed ${seed}`,
    height: size,
    width: size,
    channels,
    numClasses,
    classNames: Array.from({ length: numClasses }, (_, label) => `texture-${label}`),
    numTrain,
    numValidation: numPoints - numTrain,
    pixels: new Uint8Array(pixels.buffer),
    labels,
    mean: [0.5, 0.5, 0.5],
    std: [0.2, 0.2, 0.2],
  });
  return { dataset, facts };
}

/** [class][sub-population] -> waves. All sub-populations of a class share its first wave and add one of their own. */
function makeTextures(numClasses: number, seed: number): Wave[][][] {
  return Array.from({ length: numClasses }, (_, label) => {
    const random = new Random(seed, Purpose.synthetic, label, Stream.texture);
    const shared = makeWave(random, 0.045);
    return subpopulationShares.map(() => [shared, makeWave(random, 0.1)]);
  });
}

/** Between 1.5 and 4 periods over the image in a random direction, with a random colour of the given length. */
function makeWave(random: Random, strength: number): Wave {
  const angle = Math.PI * random.uniform();
  const periods = 1.5 + 2.5 * random.uniform();
  const colour = Array.from({ length: channels }, () => random.normal());
  const length = Math.hypot(...colour);
  return {
    x: periods * Math.cos(angle),
    y: periods * Math.sin(angle),
    amplitude: colour.map((part) => (strength * part * Math.sqrt(3)) / length),
  };
}

function pickSubpopulation(uniform: number): number {
  let sum = 0;
  const found = subpopulationShares.findIndex((share) => uniform < (sum += share));
  return found < 0 ? subpopulationShares.length - 1 : found;
}

/** pixels: (size, size, channels), clamps and rounds. Every image has its own phases, contrast, brightness and pixel noise. */
function paint(pixels: Uint8ClampedArray, parts: { waves: Wave[]; weight: number }[], random: Random): void {
  const contrast = 0.7 + 0.6 * random.uniform();
  const brightness = 0.5 + 0.06 * random.normal();
  const waves = parts.flatMap(({ waves: own, weight }) =>
    own.map((wave) => ({ ...wave, weight: weight * contrast, phase: 2 * Math.PI * random.uniform() })),
  );
  for (let y = 0; y < size; y++) {
    for (let x = 0; x < size; x++) {
      const heights = waves.map((wave) => wave.weight * Math.cos((2 * Math.PI * (wave.x * x + wave.y * y)) / size + wave.phase));
      for (let c = 0; c < channels; c++) {
        let value = brightness + noise * random.normal();
        waves.forEach((wave, k) => (value += heights[k]! * wave.amplitude[c]!));
        pixels[(y * size + x) * channels + c] = 255 * value;
      }
    }
  }
}
