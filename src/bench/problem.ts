/**
 * The synthetic problem of the datamodel benchmarks. Masks: independent fair bits. Each target has floor(n / 20) (at least one) true weights
 * at distinct random examples, the a-th (a = 0, 1, ...) a normal draw / sqrt(a + 1), plus normal noise of the standard deviation of its
 * signal; outputs are float32. Row i depends on (seed, i) and target t on (seed, t) and the masks only.
 */
import { maskRowBytes } from '../data/masks.js';
import { Purpose, Random } from '../native/random.js';
import type { Masks } from '../types.js';
import type { BenchProblem } from './types.js';

export function syntheticProblem(numModels: number, numTrain: number, numTargets: number, seed = 0): BenchProblem {
  const masks = randomBits(numModels, numTrain, seed);
  const outputs = new Float32Array(numModels * numTargets);
  const columns = bitColumns(masks);
  const signal = new Float64Array(Math.ceil(numModels / 8) * 8);
  for (let target = 0; target < numTargets; target++) {
    const random = new Random(seed, Purpose.synthetic, target);
    const support = distinct(random, numTrain, Math.max(1, Math.floor(numTrain / 20)));
    const weights = Float64Array.from(support, (_, a) => random.normal() / Math.sqrt(a + 1));
    signal.fill(0);
    addColumns(columns, support, weights, signal);
    const noise = deviation(signal, numModels);
    for (let i = 0; i < numModels; i++) outputs[i * numTargets + target] = signal[i]! + noise * random.normal();
  }
  return { source: `synthetic, seed ${seed}`, masks, outputs, numTargets };
}

/** The generator's 32-bit words, lowest byte first; padding bits are zero. */
function randomBits(numModels: number, numTrain: number, seed: number): Masks {
  const rowBytes = maskRowBytes(numTrain);
  const bits = new Uint8Array(numModels * rowBytes);
  const lastByte = numTrain % 8 === 0 ? 0xff : (1 << (numTrain % 8)) - 1;
  for (let row = 0; row < numModels; row++) {
    const random = new Random(seed, Purpose.mask, row);
    const start = row * rowBytes;
    for (let byte = 0; byte < rowBytes; byte += 4) {
      const word = random.next();
      const end = Math.min(4, rowBytes - byte);
      for (let k = 0; k < end; k++) bits[start + byte + k] = (word >>> (8 * k)) & 0xff;
    }
    bits[start + rowBytes - 1]! &= lastByte;
  }
  return { numModels, numTrain, bits };
}

interface Columns {
  /** (numTrain, stride): bit i of a column says that model i saw the example. */
  bits: Uint8Array;
  stride: number;
}

function bitColumns({ numModels, numTrain, bits }: Masks): Columns {
  const rowBytes = maskRowBytes(numTrain);
  const stride = Math.ceil(numModels / 8);
  const to = new Uint8Array(rowBytes * 8 * stride);
  for (let row = 0; row < numModels; row++) {
    const byteOfRow = row >> 3;
    for (let byte = 0; byte < rowBytes; byte++) {
      const word = bits[row * rowBytes + byte]!;
      for (let bit = 0; bit < 8; bit++) to[(byte * 8 + bit) * stride + byteOfRow]! |= ((word >> bit) & 1) << (row & 7);
    }
  }
  return { bits: to, stride };
}

/** count distinct numbers below n, in order of drawing. */
function distinct(random: Random, n: number, count: number): Int32Array {
  const drawn = new Uint8Array(n);
  return Int32Array.from({ length: count }, () => {
    let value = random.below(n);
    while (drawn[value] !== 0) value = random.below(n);
    drawn[value] = 1;
    return value;
  });
}

/**
 * signal[i] += weights[k] where model i saw columns[k]. Eight columns a time: a table of their 256 sums, looked up by the byte that an
 * 8 x 8 bit transpose gives for a model; a large problem has tens of billions of bits to add.
 */
function addColumns({ bits, stride }: Columns, columns: Int32Array, weights: Float64Array, signal: Float64Array): void {
  const table = new Float64Array(256);
  for (let from = 0; from < columns.length; from += 8) {
    const count = Math.min(8, columns.length - from);
    for (let k = 0; k < 8; k++) {
      const weight = k < count ? weights[from + k]! : 0;
      for (let entry = 0; entry < 1 << k; entry++) table[(1 << k) + entry] = table[entry]! + weight;
    }
    // a missing column has weight zero, so any column may stand in for it
    const at = Array.from({ length: 8 }, (_, k) => columns[from + Math.min(k, count - 1)]! * stride);
    const [a0, a1, a2, a3, a4, a5, a6, a7] = at as [number, number, number, number, number, number, number, number];
    for (let byte = 0; byte < stride; byte++) {
      const low = bits[a0 + byte]! | (bits[a1 + byte]! << 8) | (bits[a2 + byte]! << 16) | (bits[a3 + byte]! << 24);
      const high = bits[a4 + byte]! | (bits[a5 + byte]! << 8) | (bits[a6 + byte]! << 16) | (bits[a7 + byte]! << 24);
      for (let row = 0; row < 8; row++) {
        signal[byte * 8 + row]! += table[nibble(low >>> row) | (nibble(high >>> row) << 4)]!;
      }
    }
  }
}

/** Bits 0, 8, 16 and 24 as a number below 16. */
function nibble(word: number): number {
  // the multiplication moves them to bits 24 to 27 without carries
  return (Math.imul(word & 0x01010101, 0x01020408) >>> 24) & 15;
}

/** Standard deviation of the first `count` values; the rest is padding. */
function deviation(values: Float64Array, count: number): number {
  let mean = 0;
  for (let i = 0; i < count; i++) mean += values[i]!;
  mean /= count;
  let squares = 0;
  for (let i = 0; i < count; i++) squares += (values[i]! - mean) ** 2;
  return Math.sqrt(squares / count);
}
