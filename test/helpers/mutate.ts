/** Seeded damage for parsers: how many trials a run makes, and one damaged copy at a time. */
import type { Random } from '../../src/native/random.js';

/** LETHE_FUZZ_TRIALS: more of them than a run of all tests has time for. */
export const fuzzTrials = Number(process.env['LETHE_FUZZ_TRIALS'] ?? 300);

/** One to four changes: bytes replaced, bits flipped, pieces cut out, repeated or put elsewhere. */
export function mutate(bytes: Uint8Array, random: Random): Uint8Array {
  let all: Uint8Array = bytes;
  for (let left = 1 + random.below(4); left > 0; left--) all = change(all, random);
  return all;
}

function change(bytes: Uint8Array, random: Random): Uint8Array {
  if (bytes.length === 0) return bytes;
  const at = random.below(bytes.length + 1);
  const piece = bytes.slice(at, at + 1 + random.below(64));
  switch (random.below(6)) {
    case 0:
      return bytes.with(Math.min(at, bytes.length - 1), random.below(256));
    case 1:
      return bytes.map((byte, i) => (i === at ? byte ^ (1 << random.below(8)) : byte));
    case 2:
      return bytes.slice(0, at);
    case 3:
      return Buffer.concat([bytes.subarray(0, at), bytes.subarray(at + piece.length)]);
    case 4:
      return Buffer.concat([bytes.subarray(0, at), piece, bytes.subarray(at)]);
    default: {
      const to = random.below(bytes.length + 1);
      return Buffer.concat([bytes.subarray(0, to), piece, bytes.subarray(Math.min(bytes.length, to + piece.length))]);
    }
  }
}
