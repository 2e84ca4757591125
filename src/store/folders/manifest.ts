/** What a finished artefact must look like; written after it, so that its presence means "done". */
import { decodeSealed, encodeSealed } from '../disk/json.js';

type Check = (value: unknown) => boolean;
const count: Check = (value) => Number.isSafeInteger(value) && (value as number) >= 0;
const sum: Check = (value) => typeof value === 'string' && /^[0-9a-f]{64}$/.test(value);
const optional =
  (check: Check): Check =>
  (value) =>
    value === undefined || check(value);
/** By hand, as reading a run is to start fast. */
const checks: Record<keyof Manifest, Check> = {
  bytes: count,
  sha256: sum,
  planHash: (value) => typeof value === 'string',
  rows: optional(count),
  firstRow: optional(count),
  seconds: optional((value) => typeof value === 'number' && !(value < 0)),
  inputSha256: optional(sum),
};

export interface Manifest {
  bytes: number;
  sha256: string;
  planHash: string;
  /** Rows (models, targets) inside and the index of the first, where that means something. */
  rows?: number;
  firstRow?: number;
  /** What it took, where that is told. */
  seconds?: number;
  /** sha256 of what the artefact was made from, where the plan does not say it all. */
  inputSha256?: string;
}

export function encodeManifest(manifest: Manifest): Uint8Array {
  return encodeSealed(manifest);
}

/** The manifest inside; undefined when it is damaged in any way. */
export function decodeManifest(bytes: Uint8Array): Manifest | undefined {
  const sealed = decodeSealed(bytes);
  if (sealed === undefined) return undefined;
  const isSound = Object.entries(checks).every(([name, check]) => check((sealed as Record<string, unknown>)[name]));
  return isSound ? (sealed as Manifest) : undefined;
}
