/** Checks a whole run folder against its manifests: `lethe verify`. */
import path from 'node:path';
import { difference, readManifest } from './artefacts.js';
import { hashFile } from '../disk/files.js';
import { decodeSealed, readJsonBytes } from '../disk/json.js';
import { isArtefactPath, isReportPath, layout, manifestedArtefact } from './layout.js';
import type { RunFolder } from './run.js';
import { isTemporary } from '../disk/temporaries.js';
import { filesBelow } from '../disk/walk.js';

export interface RunHealth {
  /** Files whose content was checked, and their bytes. */
  checked: number;
  bytes: number;
  /** Content or manifest is not what was written; sorted by path. */
  damaged: { path: string; reason: string }[];
  /** Manifest without file, or expected and not there at all. */
  missing: string[];
  /** Files Lethe did not put here. */
  foreign: string[];
}

/** Reads every byte of the run. `expected`: artefacts that should be there when the run is finished. */
export async function verifyRun(run: RunFolder, expected: readonly string[] = []): Promise<RunHealth> {
  const health: RunHealth = { checked: 0, bytes: 0, damaged: [], missing: [], foreign: [] };
  const artefacts = new Set<string>();
  const present = new Set<string>();
  for (const file of await ownFiles(run.root)) {
    present.add(file);
    const artefact = manifestedArtefact(file) ?? file;
    if (isArtefactPath(artefact)) artefacts.add(artefact);
    else if (file === layout.provenance) await checkProvenance(run.root, health);
    else if (file !== layout.failed) health.foreign.push(file);
  }
  for (const artefact of [...artefacts].sort()) {
    if (present.has(artefact)) await checkArtefact(run, artefact, health);
    else health.missing.push(artefact);
  }
  for (const artefact of expected) if (!artefacts.has(artefact)) health.missing.push(artefact);
  return health;
}

/** Removes damaged artefacts and lone manifests, so that the next run makes them anew; of the report all or nothing. Returns the paths. */
export async function repairRun(run: RunFolder, health: RunHealth): Promise<string[]> {
  const found = [...health.damaged.map((item) => item.path), ...health.missing].filter((file) => file !== layout.plan);
  const report = found.some(isReportPath) ? (await ownFiles(run.root)).filter(isReportPath) : [];
  const broken = [...new Set([...found, ...report])];
  for (const artefact of broken) await run.remove(artefact);
  return broken;
}

async function ownFiles(root: string): Promise<string[]> {
  return (await filesBelow(root)).filter((file) => !isTemporary(path.posix.basename(file)));
}

async function checkArtefact(run: RunFolder, artefact: string, health: RunHealth): Promise<void> {
  const found = await hashFile(path.join(run.root, artefact));
  if (!found) return;
  health.checked += 1;
  health.bytes += found.bytes;
  const manifest = await readManifest(run.root, artefact);
  const reason = manifest && difference(manifest, run.planHash, found);
  if (!manifest) health.damaged.push({ path: artefact, reason: 'no readable manifest' });
  else if (reason) health.damaged.push({ path: artefact, reason: `expected ${reason.expected}, received ${reason.received}` });
}

async function checkProvenance(root: string, health: RunHealth): Promise<void> {
  const bytes = await readJsonBytes(path.join(root, layout.provenance));
  if (!bytes) return;
  health.checked += 1;
  health.bytes += bytes.length;
  if (!decodeSealed(bytes)) health.damaged.push({ path: layout.provenance, reason: 'its own checksum is wrong' });
}
