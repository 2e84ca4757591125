/** Philox 4x32-10, the same generator and keying as native/core/base/random.cpp: a draw depends only on (seed, purpose, model, counter). */
export const Purpose = {
  initialise: 1,
  shuffle: 2,
  subset: 3,
  holdout: 4,
  mask: 5,
  forgetSet: 6,
  synthetic: 7,
  bootstrap: 8,
  ridgeData: 9,
  minibatch: 10,
  augment: 11,
} as const;
export type Purpose = (typeof Purpose)[keyof typeof Purpose];

/** Bound once: in a sandbox with its own globals (tests) a look-up of Math costs more than the arithmetic. */
const { imul, floor, sqrt, log, cos, PI } = Math;

/** Upper 32 bits of a product; the sums of partial products stay below 2^32. */
function multiplyHigh(a: number, b: number): number {
  const aLow = a & 0xffff;
  const aHigh = a >>> 16;
  const bLow = b & 0xffff;
  const bHigh = b >>> 16;
  const low = aLow * bLow;
  const middle = aHigh * bLow + (low >>> 16);
  const middleLow = (middle & 0xffff) + aLow * bHigh;
  return (aHigh * bHigh + (middle >>> 16) + (middleLow >>> 16)) >>> 0;
}

export class Random {
  private readonly key: [number, number];
  private readonly counter: [number, number, number, number];
  private readonly block = new Uint32Array(4);
  private used = 4;

  constructor(seed: number, purpose: Purpose, model: number, stream = 0) {
    const high = floor(seed / 4294967296) >>> 0;
    this.key = [seed >>> 0, (high ^ imul(purpose, 0x9e3779b9)) >>> 0];
    this.counter = [0, stream >>> 0, model >>> 0, floor(model / 4294967296) >>> 0];
  }

  /** Uniform 32 bits. */
  next(): number {
    if (this.used === 4) this.refill();
    return this.block[this.used++]!;
  }

  /** Uniform integer in [0, n), without modulo bias. */
  below(n: number): number {
    let x = this.next();
    let low = imul(x, n) >>> 0;
    if (low < n) {
      const threshold = (4294967296 - n) % n;
      while (low < threshold) {
        x = this.next();
        low = imul(x, n) >>> 0;
      }
    }
    return multiplyHigh(x, n);
  }

  /** Uniform in [0, 1) with 32 bits. */
  uniform(): number {
    return this.next() / 4294967296;
  }

  /** Standard normal (Box-Muller). */
  normal(): number {
    const u = (this.next() + 0.5) / 4294967296;
    const v = this.next() / 4294967296;
    return sqrt(-2 * log(u)) * cos(2 * PI * v);
  }

  private refill(): void {
    let [x0, x1, x2, x3] = this.counter;
    let [k0, k1] = this.key;
    for (let round = 0; round < 10; round++) {
      const high = multiplyHigh(0xcd9e8d57, x2);
      const low = imul(0xcd9e8d57, x2);
      x2 = multiplyHigh(0xd2511f53, x0) ^ x3 ^ k1;
      x3 = imul(0xd2511f53, x0);
      x0 = high ^ x1 ^ k0;
      x1 = low;
      k0 = (k0 + 0x9e3779b9) | 0;
      k1 = (k1 + 0xbb67ae85) | 0;
    }
    this.block.set([x0, x1, x2, x3]);
    this.used = 0;
    this.counter[0] = (this.counter[0] + 1) >>> 0;
  }
}
