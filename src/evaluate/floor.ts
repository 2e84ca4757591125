/** The KLOM floor: what two samples of one distribution score with so many models. Print it beside every KLOM. */
import { Purpose, Random } from '../native/random.js';
import type { KlomOptions } from '../types.js';
import { defaultKlomOptions, klom } from './klom.js';
import { percentile } from './percentile.js';

export interface Floor {
  mean: number;
  p95: number;
}

export interface FloorCounts {
  numOracles: number;
  numUnlearned: number;
  /** Unlearned models that are perfect copies of so few retrained ones, in turn; default: each of its own. */
  numDistinct?: number;
}

/** Simulated points: enough for two stable digits of the 95th percentile. */
const numPoints = 4000;
const known = new Map<string, Floor>();

/**
 * Monte-Carlo mean and 95th percentile for two standard normal samples; data-dependent bins make it free of location and scale.
 * Deterministic: a fixed seed. Fixed-bin variants see margins of this scale as nearly constant, as docs/method-notes.md says.
 */
export async function klomFloor(
  { numOracles, numUnlearned, numDistinct = numUnlearned }: FloorCounts,
  options: KlomOptions = defaultKlomOptions,
): Promise<Floor> {
  const key = JSON.stringify([numOracles, numUnlearned, numDistinct, options.variant, options.bins, options.clip, options.epsilon]);
  const cached = known.get(key);
  if (cached) return cached;
  const oracleMargins = normals(numOracles * numPoints, 0);
  const distinct = normals(numDistinct * numPoints, 1);
  const unlearnedMargins = Float32Array.from({ length: numUnlearned * numPoints }, (_, i) => distinct[i % distinct.length]!);
  const { scores } = await klom({ oracleMargins, unlearnedMargins, numOracles, numUnlearned, numPoints }, options);
  const sorted = scores.filter((score) => !Number.isNaN(score)).sort();
  const floor = { mean: sorted.reduce((sum, score) => sum + score, 0) / sorted.length, p95: percentile(sorted, 95) };
  known.set(key, floor);
  return floor;
}

function normals(count: number, stream: number): Float32Array {
  const random = new Random(0, Purpose.bootstrap, 0, stream);
  return Float32Array.from({ length: count }, () => random.normal());
}
