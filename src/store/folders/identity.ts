/** identity.json: what a run was made with, beside its plan. Where it differs, bytes differ, and nothing is mixed. */
import path from 'node:path';
import { LetheError } from '../../errors.js';
import { decodeJson, encodeJson } from '../disk/json.js';
import { layout } from './layout.js';

/**
 * What the artefacts of this version mean. To be raised by one with every change of Lethe after which the same plan, data and engine give
 * an artefact other bytes or another meaning: the order of sums in a kernel, a stream of random numbers, a rule of a method, a column of a
 * file. Runs made before are then still read, but neither resumed nor reused. Speed, messages and the looks of the report do not count.
 */
export const meaningOfArtefacts = 3;

/** Of versions that did not write the number down. */
const firstMeaning = 1;

/** What of a run folder is needed here. */
interface Reader {
  read(artefact: string): Promise<Uint8Array>;
}

export interface StoredIdentity {
  /** E.g. { dataset: sha256, engine: "native fp32 avx2" }. */
  facts: Record<string, string>;
  meaning: number;
}

export function encodeIdentity(facts: Record<string, string>): Uint8Array {
  return encodeJson({ ...facts, meaningOfArtefacts });
}

/** @throws LETHE_ARTEFACT_MISSING, LETHE_ARTEFACT_DAMAGED (exit code 3) */
export async function readIdentity(run: Reader): Promise<StoredIdentity> {
  return parseIdentity(await run.read(layout.identity));
}

/** Of bytes that no manifest vouches for; undefined where they are damaged. */
export function decodeIdentity(bytes: Uint8Array): StoredIdentity | undefined {
  try {
    return parseIdentity(bytes);
  } catch {
    return undefined;
  }
}

function parseIdentity(bytes: Uint8Array): StoredIdentity {
  const stored = decodeJson(bytes, layout.identity) as Record<string, string> & { meaningOfArtefacts?: number };
  const { meaningOfArtefacts: meaning = firstMeaning, ...facts } = stored;
  return { facts, meaning };
}

/** Before anything is added to a run or taken from it; not for reading it. @throws LETHE_RUN_VERSION (exit code 2) */
export function requireMeaning(root: string, { meaning }: StoredIdentity): void {
  if (meaning === meaningOfArtefacts) return;
  throw new LetheError('LETHE_RUN_VERSION', `${root} was made by a version of Lethe that makes other artefacts of the same plan`, {
    expected: `artefacts of meaning ${meaningOfArtefacts}, as this version makes them`,
    received: `meaning ${meaning}`,
    action:
      `Go on with the version that made it (the last session in ${path.join(root, layout.provenance)} names it), ` +
      'or make everything anew in another folder (--out DIR, without --reuse). status, report and export work with this version.',
  });
}
