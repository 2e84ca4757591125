/** Damaged files: what bit rot, cut copies and hostile hands make of sound ones. */

/** LETHE_FUZZ_TRIALS: more of them than a run of all tests has time for. */
export const fuzzTrials = Number(process.env['LETHE_FUZZ_TRIALS'] ?? 300);

/** Numbers in [0, below), the same ones for a seed. */
export function randomNumbers(seed: number): (below: number) => number {
  let state = seed >>> 0;
  return (below) => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) % below;
  };
}

const numbers = [0n, 1n, -1n, 7n, 127n, 255n, 65535n, 2n ** 31n - 1n, -(2n ** 31n), 2n ** 32n, 2n ** 53n, 2n ** 63n - 1n, -(2n ** 63n)];
const words = ['"', '{', '[', ']', '}', ':', ',', '\\', '"a":1,', 'null', '-1', '1e999', '"NaN"', '[[[[[[[[', '\u0000', '\ud83d'].map(
  (word) => Buffer.from(word),
);

/** One to six changes, most of them near the start or the end, where formats keep what they say about themselves. */
export function mutate(sound: Uint8Array, random: (below: number) => number): Buffer {
  let bytes = Buffer.from(sound);
  for (let changes = 1 + random(6); changes > 0; changes--) {
    if (bytes.length === 0) return bytes;
    const near = Math.min(bytes.length, 1024);
    const at = [random(bytes.length), random(near), bytes.length - 1 - random(near)][random(3)]!;
    const span = Math.min(bytes.length - at, 1 + random(1 << random(10)));
    switch (random(9)) {
      case 0:
        bytes = Buffer.concat([bytes.subarray(0, at), bytes.subarray(at + span)]);
        break;
      case 1:
        bytes = Buffer.concat([bytes.subarray(0, at + span), bytes.subarray(at)]);
        break;
      case 2:
        bytes = bytes.subarray(0, at);
        break;
      case 3:
        bytes = Buffer.concat([bytes.subarray(0, at), words[random(words.length)]!, bytes.subarray(at)]);
        break;
      case 4:
      case 5: {
        const number = Buffer.alloc(8);
        number.writeBigInt64LE(numbers[random(numbers.length)]!);
        number.copy(bytes, at & ~3, 0, [1, 2, 4, 8][random(4)]);
        break;
      }
      default:
        bytes[at] = bytes[at]! ^ (1 << random(8));
    }
  }
  return bytes;
}
