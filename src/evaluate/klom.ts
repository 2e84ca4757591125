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

function requireShape(what: string, length: number, models: number, points: number): void {
  if (length === models * points && models > 0) return;
  throw new LetheError('LETHE_SHAPE_MISMATCH', `${what} have the wrong shape`, {
    expected: `${models} models x ${points} points, at least one model`,
    received: `${length} values`,
  });
}
