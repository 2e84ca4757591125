/**
 * A run folder: one plan, its artefacts, a manifest for each. Whatever was interrupted or damaged counts as not done, so that
 * the same command makes exactly that anew. Paths come from store/layout.ts.
 */
import fs from 'node:fs/promises';
import path from 'node:path';
import { errorCode, ExitCode, LetheError } from '../errors.js';
import type { Plan } from '../types.js';
import { damaged, hashFile, readWhole, sha256 } from './files.js';
import { decodeJson, encodeJson } from './json.js';
import { isArtefactPath, layout, manifestPath } from './layout.js';
import { decodeManifest, encodeManifest, type Manifest } from './manifest.js';
import { planDifference, planHash } from './planIdentity.js';
import { isTemporary, makeFolder, publishFile, removeStaleTemporaries } from './publish.js';

/** A file to publish under the run folder, content in order of writing. */
export interface Artefact {
  /** Relative to the run folder, from store/layout.ts. */
  path: string;
  content: Uint8Array | AsyncIterable<Uint8Array>;
  /** Number of rows (models) inside and the first model's index, where that means something. */
  rows?: number;
  firstRow?: number;
}

export interface RunFolder {
  readonly root: string;
  readonly plan: Plan;
  readonly planHash: string;
  /** True when the artefact and its manifest exist and agree (size and sha256). */
  isDone(artefact: string): Promise<boolean>;
  /**
   * Content of a finished artefact, checked against its manifest.
   * @throws LETHE_ARTEFACT_MISSING, LETHE_ARTEFACT_DAMAGED (exit code 3)
   */
  read(artefact: string): Promise<Uint8Array>;
  /**
   * Writes each artefact and then its manifest, both atomically. `expectedBytes`: for the check of the free space, all together.
   * @throws LETHE_DISK_FULL, LETHE_FILE_UNWRITABLE (exit code 4)
   */
  publish(artefacts: Artefact[], expectedBytes?: number): Promise<void>;
}

export interface OpenOptions {
  /** Absent: open an existing run with its own plan. */
  plan?: Plan;
  /** Facts that must not change under a run beside its plan, e.g. { dataset: sha256, engine: "native fp32" }. */
  identity?: Record<string, string>;
}

/**
 * Opens or creates a run folder; plan.json is the first file in it.
 * @throws LETHE_PLAN_CHANGED, LETHE_RUN_MISSING, LETHE_RUN_FOREIGN (exit code 2), LETHE_PLAN_DAMAGED (exit code 3)
 */
export async function openRun(root: string, options: OpenOptions = {}): Promise<RunFolder> {
  const folder = path.resolve(root);
  if (options.plan) await makeFolder(folder);
  const names = await namesIn(folder);
  // a lost plan.json comes back when the given plan is the one its manifest knows
  const lost = options.plan && (await readManifest(folder, layout.plan))?.planHash === planHash(options.plan);
  const isRun = names.includes(layout.plan) || lost === true;
  if (!isRun && !options.plan) {
    const action = 'Check the path, or start the run: lethe run PLAN.';
    throw new LetheError('LETHE_RUN_MISSING', `${folder} is no run folder`, { expected: `a file ${layout.plan} in it`, action });
  }
  const strange = isRun ? undefined : names.find((name) => !isTemporary(name));
  if (strange !== undefined) {
    throw new LetheError('LETHE_RUN_FOREIGN', `${folder} holds other things already`, {
      expected: 'an empty or new folder',
      received: strange,
      action: 'Choose another folder for this run.',
    });
  }
  if (names.length > 0) await removeStaleTemporaries(folder);
  const plan = await settlePlan(folder, options.plan);
  const run = new Run(folder, plan);
  if (options.identity) await settleIdentity(run, options.identity);
  return run;
}

async function namesIn(folder: string): Promise<string[]> {
  try {
    return await fs.readdir(folder);
  } catch (cause) {
    if (errorCode(cause) === 'ENOENT' || errorCode(cause) === 'ENOTDIR') return [];
    throw cause;
  }
}

class Run implements RunFolder {
  readonly planHash: string;
  /** artefact -> stat signature of the file that was found whole in this process: hashing 5 GB takes seconds. */
  private readonly whole = new Map<string, string>();

  constructor(
    readonly root: string,
    readonly plan: Plan,
  ) {
    this.planHash = planHash(plan);
  }

  async isDone(artefact: string): Promise<boolean> {
    const manifest = await readManifest(this.root, artefact);
    if (manifest?.planHash !== this.planHash) return false;
    const signature = await this.signature(artefact, manifest);
    if (signature === undefined) return false;
    if (this.whole.get(artefact) === signature) return true;
    const found = await hashFile(path.join(this.root, artefact));
    if (found?.sha256 !== manifest.sha256) return false;
    this.whole.set(artefact, signature);
    return true;
  }

  async read(artefact: string): Promise<Uint8Array> {
    const again = `Run: lethe run with the same plan; only what is missing is made anew.`;
    const manifest = await readManifest(this.root, artefact);
    const content = manifest && (await readWhole(path.join(this.root, artefact)));
    if (!content) {
      const received = manifest === undefined ? 'no readable manifest' : 'no file';
      throw damaged(
        'LETHE_ARTEFACT_MISSING',
        `${path.join(this.root, artefact)} is not finished`,
        'an artefact with its manifest',
        received,
        again,
      );
    }
    const reason = difference(manifest, this.planHash, { bytes: content.length, sha256: sha256(content) });
    if (reason)
      throw damaged('LETHE_ARTEFACT_DAMAGED', `${path.join(this.root, artefact)} is damaged`, reason.expected, reason.received, again);
    return content;
  }

  async publish(artefacts: Artefact[], expectedBytes?: number): Promise<void> {
    for (const artefact of artefacts) {
      if (!isArtefactPath(artefact.path)) {
        throw new LetheError('LETHE_NAME_INVALID', 'this is no place for an artefact', { received: JSON.stringify(artefact.path) });
      }
      this.whole.delete(artefact.path);
      const published = await publishFile(path.join(this.root, artefact.path), artefact.content, expectedBytes);
      const { rows, firstRow } = artefact;
      const manifest = { ...published, planHash: this.planHash, ...(rows === undefined ? {} : { rows }) };
      await publishFile(
        path.join(this.root, manifestPath(artefact.path)),
        encodeManifest(firstRow === undefined ? manifest : { ...manifest, firstRow }),
      );
      const signature = await this.signature(artefact.path, published);
      if (signature !== undefined) this.whole.set(artefact.path, signature);
    }
  }

  /** Undefined when the file is not there or has another size than expected. */
  private async signature(artefact: string, expected: { bytes: number; sha256: string }): Promise<string | undefined> {
    const stat = await fs.stat(path.join(this.root, artefact), { bigint: true }).catch(() => undefined);
    if (stat?.size !== BigInt(expected.bytes)) return undefined;
    return `${stat.ino.toString()} ${stat.mtimeNs.toString()} ${stat.ctimeNs.toString()} ${expected.sha256}`;
  }
}

/** The manifest of an artefact; undefined when there is none or it is damaged. */
export async function readManifest(root: string, artefact: string): Promise<Manifest | undefined> {
  const bytes = await readWhole(path.join(root, manifestPath(artefact)));
  return bytes && decodeManifest(bytes);
}

/** What a file should be and what it is; undefined when they agree. */
export function difference(
  manifest: Manifest,
  plan: string,
  found: { bytes: number; sha256: string },
): { expected: string; received: string } | undefined {
  if (manifest.planHash !== plan) return { expected: `plan ${plan.slice(0, 12)}`, received: `plan ${manifest.planHash.slice(0, 12)}` };
  if (manifest.bytes !== found.bytes) return { expected: `${manifest.bytes} bytes`, received: `${found.bytes} bytes` };
  if (manifest.sha256 === found.sha256) return undefined;
  return { expected: `sha256 ${manifest.sha256}`, received: `sha256 ${found.sha256}` };
}

/** Compares the plan on disk with the given one, writes what is missing, and gives the plan that holds. */
async function settlePlan(root: string, given: Plan | undefined): Promise<Plan> {
  const file = path.join(root, layout.plan);
  const bytes = await readWhole(file);
  const manifestBytes = await readWhole(path.join(root, manifestPath(layout.plan)));
  const manifest = manifestBytes && decodeManifest(manifestBytes);
  const hash = given && planHash(given);
  // an untouched plan.json is canonical, so its bytes are its hash; only the manifest may be missing (killed between the two)
  const intact = bytes && (manifestBytes === undefined ? isCanonical(bytes) : manifest?.sha256 === sha256(bytes));
  if (intact) {
    const stored = decodeJson(bytes, file) as Plan;
    if (given && planHash(stored) !== hash) throw planChanged(file, planDifference(stored, given));
    if (manifest) return stored;
  } else if (bytes && (!given || (manifest ? manifest.planHash !== hash : planOf(bytes) !== hash))) {
    throw planDamaged(file, manifest !== undefined);
  }
  const plan = given ?? (decodeJson(bytes!, file) as Plan);
  await new Run(root, plan).publish([{ path: layout.plan, content: encodeJson(plan) }]);
  return plan;
}

function planOf(bytes: Uint8Array): string | undefined {
  try {
    return planHash(decodeJson(bytes, layout.plan) as Plan);
  } catch {
    return undefined;
  }
}

function isCanonical(bytes: Uint8Array): boolean {
  try {
    return Buffer.compare(bytes, encodeJson(decodeJson(bytes, layout.plan))) === 0;
  } catch {
    return false;
  }
}

function planChanged(file: string, lines: string[]): LetheError {
  const shown = lines.slice(0, 20).map((line) => `\n  ${line}`);
  const more = lines.length > 20 ? `\n  and ${lines.length - 20} more` : '';
  return new LetheError('LETHE_PLAN_CHANGED', `the run was started with another plan, ${file}`, {
    expected: 'the same plan',
    received: `${lines.length} difference${lines.length === 1 ? '' : 's'} (run -> given):${shown.join('')}${more}\n`,
    action: 'Give the changed plan another name or folder, or restore the old plan.',
  });
}

function planDamaged(file: string, manifestHolds: boolean): LetheError {
  return new LetheError('LETHE_PLAN_DAMAGED', `${file} is damaged`, {
    expected: 'the plan its manifest describes',
    received: manifestHolds ? 'other bytes' : 'a manifest that is damaged too',
    action: manifestHolds ? 'Run: lethe run with the original plan file, which restores it.' : 'Start the run in a new folder.',
    exitCode: ExitCode.damagedInput,
  });
}

async function settleIdentity(run: Run, identity: Record<string, string>): Promise<void> {
  if (!(await run.isDone(layout.identity))) {
    await run.publish([{ path: layout.identity, content: encodeJson(identity) }]);
    return;
  }
  const stored = decodeJson(await run.read(layout.identity), layout.identity) as Record<string, string>;
  const lines = planDifference(stored, identity);
  if (lines.length > 0) throw planChanged(path.join(run.root, layout.identity), lines);
}
