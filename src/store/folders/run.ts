/**
 * A run folder: one plan, its artefacts, a manifest for each. Whatever was interrupted or damaged counts as not done, so that
 * the same command makes exactly that anew. Paths come from store/layout.ts.
 */
import fs from 'node:fs/promises';
import path from 'node:path';
import { errorCode, ExitCode, LetheError } from '../../errors.js';
import type { Plan } from '../../types.js';
import { type Artefact, ArtefactFolder, readManifest } from './artefacts.js';
import { sha256 } from '../disk/files.js';
import { decodeIdentity, encodeIdentity, readIdentity, requireMeaning } from './identity.js';
import { decodeJson, encodeJson, readJsonBytes } from '../disk/json.js';
import { isArtefactPath, layout, manifestPath } from './layout.js';
import { decodeManifest, type Manifest } from './manifest.js';
import { differenceText, planHash } from './planIdentity.js';
import { makeFolder, publishNew, removeStaleTemporaries } from '../disk/publish.js';
import { isTemporary } from '../disk/temporaries.js';

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
  /** The manifest of a finished artefact; undefined where isDone is false. */
  finished(artefact: string): Promise<Manifest | undefined>;
  /**
   * Takes over a finished artefact of another run, checked by its manifest; false when it is not finished there.
   * @throws LETHE_DISK_FULL, LETHE_FILE_UNWRITABLE (exit code 4)
   */
  adopt(artefact: string, other: Pick<RunFolder, 'root' | 'finished'>, source: string): Promise<boolean>;
  /** Removes an artefact and its manifest, where they are there. */
  remove(artefact: string): Promise<void>;
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
 * @throws LETHE_PLAN_CHANGED, LETHE_RUN_VERSION, LETHE_RUN_MISSING, LETHE_RUN_FOREIGN (exit code 2), LETHE_PLAN_DAMAGED (exit code 3)
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
  const strange = isRun ? undefined : names.find((name) => !isTemporary(name) && !mayLieThere.test(name));
  if (strange !== undefined) {
    throw new LetheError('LETHE_RUN_FOREIGN', `${folder} holds other things already`, {
      expected: 'an empty or new folder',
      received: strange,
      action: 'Choose another folder for this run. (A log may lie in it: a file that ends in .log.)',
    });
  }
  // who only reads may not be allowed to
  if (options.plan && names.length > 0) await removeStaleTemporaries(folder);
  const plan = await settlePlan(folder, options.plan);
  const run = new Run(folder, plan);
  if (options.identity) await settleIdentity(run, options.identity);
  return run;
}

/** What shells, schedulers and file systems put into a folder before anything else: hidden files, logs, lost+found. */
const mayLieThere = /^\.|^lost\+found$|^(logs?|nohup|std(out|err))(\.\w+)?$|\.(log|out|err)$/i;

async function namesIn(folder: string): Promise<string[]> {
  try {
    return await fs.readdir(folder);
  } catch (cause) {
    if (errorCode(cause) === 'ENOENT' || errorCode(cause) === 'ENOTDIR') return [];
    throw cause;
  }
}

class Run extends ArtefactFolder implements RunFolder {
  readonly planHash: string;

  constructor(
    root: string,
    readonly plan: Plan,
  ) {
    const hash = planHash(plan);
    super(root, hash, isArtefactPath, 'Run: lethe run with the same plan; only what is missing is made anew.');
    this.planHash = hash;
  }
}

/** Compares the plan on disk with the given one, writes what is missing, and gives the plan that holds. */
async function settlePlan(root: string, given: Plan | undefined, again = false): Promise<Plan> {
  const file = path.join(root, layout.plan);
  const bytes = await readJsonBytes(file);
  const manifestBytes = await readJsonBytes(path.join(root, manifestPath(layout.plan)));
  const manifest = manifestBytes && decodeManifest(manifestBytes);
  const hash = given && planHash(given);
  // an untouched plan.json is canonical, so its bytes are its hash; only the manifest may be missing (killed between the two)
  const intact = bytes && (manifestBytes === undefined ? isCanonical(bytes) : manifest?.sha256 === sha256(bytes));
  if (intact) {
    const stored = decodeJson(bytes, file) as Plan;
    if (given) requireSame(file, stored, given, changedPlan(root));
    if (manifest) return stored;
  } else if (bytes && (!given || (manifest ? manifest.planHash !== hash : planOf(bytes) !== hash))) {
    throw planDamaged(file, manifest !== undefined);
  }
  const plan = given ?? (decodeJson(bytes!, file) as Plan);
  // of two runs that begin at once one writes its plan, and the other one finds it
  if (!bytes && !again && !(await publishNew(file, encodeJson(plan)))) return settlePlan(root, given, true);
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

interface Refusal {
  summary: string;
  expected: string;
  action: string;
}

const changedPlan = (root: string): Refusal => ({
  summary: 'the run was started with another plan',
  expected: 'the same plan',
  action:
    'Give the changed plan another folder or name, and take over what it has in common with the old one: ' +
    `lethe run PLAN --out DIR --reuse ${root}. Or restore the old plan.`,
});
const changedIdentity: Refusal = {
  summary: 'the run was started with other data, another engine or on another kind of processor',
  expected: 'the same, as other ones give other numbers',
  action:
    'Use the same --data, --engine, --precision and --device (LETHE_ISA=avx2 caps the instruction set, so that a run can go on anywhere), ' +
    'or give this one another folder (--out DIR).',
};

/** @throws LETHE_PLAN_CHANGED */
function requireSame(file: string, before: object, after: object, { summary, expected, action }: Refusal): void {
  const received = differenceText(before, after, 'run');
  if (received === undefined) return;
  throw new LetheError('LETHE_PLAN_CHANGED', `${summary}, ${file}`, { expected, received, action });
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
    const content = encodeIdentity(identity);
    const file = path.join(run.root, layout.identity);
    const isFirst = await publishNew(file, content);
    const theirs = isFirst ? undefined : decodeIdentity((await readJsonBytes(file)) ?? content)?.facts;
    if (theirs) requireSame(file, theirs, identity, changedIdentity); // of a run that began at the same time, or was killed right after
    await run.publish([{ path: layout.identity, content }]);
    return;
  }
  requireMeaning(run.root, await readIdentity(run));
  await requireIdentity(run, identity);
}

/** @throws the error of openRun where the run was made with other data, or by another engine */
export async function requireIdentity(run: RunFolder, identity: Record<string, string>): Promise<void> {
  const { facts } = await readIdentity(run);
  requireSame(path.join(run.root, layout.identity), facts, identity, changedIdentity);
}
