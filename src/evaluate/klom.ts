/** KLOM: the KL divergence of margins (paper, Definition 3 and F.1), one score a point. */
import { LetheError } from '../errors.js';
import { abortFlag, nativeAddon } from '../native/addon.js';
import { chooseDevice, type DeviceName } from '../native/device.js';
import type { KlomOptions, RunOptions } from '../types.js';

export const defaultKlomOptions: KlomOptions = { variant: 'default', bins: 20, clip: 100, epsilon: 1e-5 };

export interface KlomInput {
  /** (numOracles, numPoints) margins of models retrained without the forget set */
  oracleMargins: Float32Array;
  /** (numUnlearned, numPoints) */
  unlearnedMargins: Float32Array;
  numOracles: number;
  numUnlearned: number;
  numPoints: number;
}

export interface KlomResult {
  /** (numPoints) in nats; NaN where one side has no finite margin */
  scores: Float64Array;
  /** (numPoints) margins of both sides that are not finite: counted, never binned */
  nonFinite: Int32Array;
  numNonFinite: number;
}

/** @throws LETHE_SHAPE_MISMATCH, LETHE_ARGUMENT_INVALID, LETHE_TASK_ABORTED, LETHE_GPU_UNAVAILABLE */
export async function klom(
  input: KlomInput,
  options: KlomOptions = defaultKlomOptions,
  { threads = 0, signal, device = 'cpu' }: RunOptions & { device?: DeviceName } = {},
): Promise<KlomResult> {
  const { numPoints } = input;
  requireShape('oracle margins', input.oracleMargins.length, input.numOracles, numPoints);
  requireShape('unlearned margins', input.unlearnedMargins.length, input.numUnlearned, numPoints);
  const scores = new Float64Array(numPoints);
  const nonFinite = new Int32Array(numPoints);
  await nativeAddon().klom(
    { ...input, ...options, isa: '', device: chooseDevice(device), threads, scores, nonFinite },
    undefined,
    abortFlag(signal),
  );
  return { scores, nonFinite, numNonFinite: nonFinite.reduce((sum, count) => sum + count, 0) };
}

export interface Divergences {
  /** (numPoints) of two normal distributions with the moments of both sides, unbiased where they are normal; NaN with fewer than 2 oracles or 4 unlearned models */
  gaussian: Float64Array;
  /** (numPoints) by the distances to the 5th nearest neighbour; NaN with fewer than 6 oracles or 5 unlearned models */
  neighbours: Float64Array;
}

/**
 * The divergence that KLOM's histogram estimates, D_KL(oracle || unlearned) in nats, by two estimates without its bias: both are 0 on
 * average where nothing differs, so small numbers of models can be read. The Gaussian one sees means and variances only; neighbours see any
 * shape, but read low far from the null (3 for a true 8) and with fewer than 40 models.
 *
 * @example
 * const { gaussian, neighbours } = await divergences({ oracleMargins, unlearnedMargins, numOracles: 40, numUnlearned: 40, numPoints });
 * console.log(gaussian[0], neighbours[0]);
 *
 * @throws LETHE_SHAPE_MISMATCH, LETHE_ARGUMENT_INVALID, LETHE_TASK_ABORTED
 */
export async function divergences(
  input: KlomInput,
  clip = defaultKlomOptions.clip,
  { threads = 0, signal }: RunOptions = {},
): Promise<Divergences> {
  const { numPoints } = input;
  requireShape('oracle margins', input.oracleMargins.length, input.numOracles, numPoints);
  requireShape('unlearned margins', input.unlearnedMargins.length, input.numUnlearned, numPoints);
  const [gaussian, neighbours] = [new Float64Array(numPoints), new Float64Array(numPoints)];
  await nativeAddon().divergences({ ...input, clip, threads, gaussian, neighbours }, undefined, abortFlag(signal));
  return { gaussian, neighbours };
}

function requireShape(what: string, length: number, models: number, points: number): void {
  if (length === models * points && models > 0) return;
  throw new LetheError('LETHE_SHAPE_MISMATCH', `${what} have the wrong shape`, {
    expected: `${models} models x ${points} points, at least one model`,
    received: `${length} values`,
  });
}
