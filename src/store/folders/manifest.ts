/** What a finished artefact must look like; written after it, so that its presence means "done". */
import { z } from 'zod';
import { decodeSealed, encodeSealed } from '../disk/json.js';

const count = z.int().nonnegative();
const sum = z.string().regex(/^[0-9a-f]{64}$/);
const schema = z.looseObject({
  bytes: count,
  sha256: sum,
  planHash: z.string(),
  rows: count.optional(),
  firstRow: count.optional(),
  seconds: z.number().nonnegative().or(z.nan()).optional(),
  inputSha256: sum.optional(),
});

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
  const sealed = schema.safeParse(decodeSealed(bytes));
  return sealed.success ? (sealed.data as Manifest) : undefined;
}
