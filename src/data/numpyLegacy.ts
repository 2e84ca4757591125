/** NumPy's legacy generator (RandomState), as far as published forget sets need it: seed(s), choice(n, size, replace=False). */

const stateSize = 624;
const shift = 397;

/** MT19937 with NumPy's integer seeding. */
class MersenneTwister {
  private readonly state = new Uint32Array(stateSize);
  private position = stateSize;

  constructor(seed: number) {
    let value = seed >>> 0;
    for (let i = 0; i < stateSize; i++) {
      this.state[i] = value;
      value = (Math.imul(1812433253, value ^ (value >>> 30)) + i + 1) >>> 0;
    }
  }

  next(): number {
    if (this.position === stateSize) this.refill();
    let value = this.state[this.position++]!;
    value ^= value >>> 11;
    value ^= (value << 7) & 0x9d2c5680;
    value ^= (value << 15) & 0xefc60000;
    return (value ^ (value >>> 18)) >>> 0;
  }

  private refill(): void {
    for (let i = 0; i < stateSize; i++) {
      const mixed = (this.state[i]! & 0x80000000) | (this.state[(i + 1) % stateSize]! & 0x7fffffff);
      this.state[i] = this.state[(i + shift) % stateSize]! ^ (mixed >>> 1) ^ (mixed & 1 ? 0x9908b0df : 0);
    }
    this.position = 0;
  }
}

/** np.random.seed(seed); np.random.choice(count, size, replace=False): the first `size` entries of a shuffled range. */
export function legacyChoice(seed: number, count: number, size: number): Int32Array {
  const generator = new MersenneTwister(seed);
  const order = Int32Array.from({ length: count }, (_, i) => i);
  for (let i = count - 1; i > 0; i--) {
    const other = interval(generator, i);
    [order[i], order[other]] = [order[other]!, order[i]!];
  }
  return order.slice(0, size);
}

/** Uniform on [0, most] by masking and rejecting. */
function interval(generator: MersenneTwister, most: number): number {
  const mask = 2 ** (32 - Math.clz32(most)) - 1;
  for (;;) {
    const value = (generator.next() & mask) >>> 0;
    if (value <= most) return value;
  }
}
