/**
 * Artefacts with manifests: content is published first, its manifest (size, sha256, hash of the plan it belongs to) after it, both
 * atomically. Whatever was interrupted, damaged or made for another plan counts as not done.
 */
import { createReadStream } from 'node:fs';
import fs from 'node:fs/promises';
import path from 'node:path';
import { LetheError } from '../../errors.js';
import { damaged, hashFile, readWhole, sha256 } from '../disk/files.js';
import { readJsonBytes } from '../disk/json.js';
import { manifestPath } from './layout.js';
import { decodeManifest, encodeManifest, type Manifest } from './manifest.js';
import { linkFile, publishFile } from '../disk/publish.js';

/** A file to publish under the folder, content in order of writing. */
export interface Artefact {
  /** Relative to the folder, from store/layout.ts. */
  path: string;
  content: Uint8Array | AsyncIterable<Uint8Array>;
  /** Number of rows (models, targets) inside and the first one's index, where that means something. */
  rows?: number;
  firstRow?: number;
  /** What it took to make, where that is told. */
  seconds?: number;
  /** sha256 of what it was made from, where the plan does not say it all. */
  inputSha256?: string;
}

export class ArtefactFolder {
  /** artefact -> stat signature of the file that was found whole in this process: hashing 5 GB takes seconds. */
  private readonly whole = new Map<string, string>();

  constructor(
    readonly root: string,
    /** What all artefacts here are made for. */
    private readonly owner: string,
    private readonly isPlace: (artefact: string) => boolean,
    /** What makes missing and damaged artefacts anew. */
    private readonly again: string,
  ) {}

  /** The manifest of an artefact that exists and agrees with it (owner, size, sha256). */
  async finished(artefact: string): Promise<Manifest | undefined> {
    const manifest = await readManifest(this.root, artefact);
    if (manifest?.planHash !== this.owner) return undefined;
    const signature = await this.signature(artefact, manifest);
    if (signature === undefined) return undefined;
    if (this.whole.get(artefact) === signature) return manifest;
    const found = await hashFile(path.join(this.root, artefact));
    if (found?.sha256 !== manifest.sha256) return undefined;
    this.whole.set(artefact, signature);
    return manifest;
  }

  async isDone(artefact: string): Promise<boolean> {
    return (await this.finished(artefact)) !== undefined;
  }

  /** @throws LETHE_ARTEFACT_MISSING, LETHE_ARTEFACT_DAMAGED (exit code 3) */
  async read(artefact: string): Promise<Uint8Array> {
    const file = path.join(this.root, artefact);
    const manifest = await readManifest(this.root, artefact);
    const content = manifest && (await readWhole(file));
    if (!content) {
      const there = (await fs.stat(file).catch(() => undefined)) !== undefined;
      const received = there ? 'no readable manifest' : 'nothing there: not made yet, or removed';
      throw damaged('LETHE_ARTEFACT_MISSING', `${file} is not finished`, 'an artefact with its manifest', received, this.again);
    }
    const reason = difference(manifest, this.owner, { bytes: content.length, sha256: sha256(content) });
    if (reason) throw damaged('LETHE_ARTEFACT_DAMAGED', `${file} is damaged`, reason.expected, reason.received, this.again);
    return content;
  }

  /** @throws LETHE_NAME_INVALID (exit code 2), LETHE_DISK_FULL, LETHE_FILE_UNWRITABLE (exit code 4) */
  async publish(artefacts: Artefact[], expectedBytes?: number): Promise<void> {
    for (const { path: artefact, content, ...facts } of artefacts) {
      if (!this.isPlace(artefact)) {
        throw new LetheError('LETHE_NAME_INVALID', 'this is no place for an artefact', { received: JSON.stringify(artefact) });
      }
      this.whole.delete(artefact);
      const published = await publishFile(path.join(this.root, artefact), content, expectedBytes);
      const manifest = { ...published, planHash: this.owner, ...facts };
      await publishFile(path.join(this.root, manifestPath(artefact)), encodeManifest(manifest));
      const signature = await this.signature(artefact, published);
      if (signature !== undefined) this.whole.set(artefact, signature);
    }
  }

  /** The manifest goes first: an artefact without one is not done, whatever happens in between. */
  async remove(artefact: string): Promise<void> {
    this.whole.delete(artefact);
    await fs.rm(path.join(this.root, manifestPath(artefact)), { force: true });
    await fs.rm(path.join(this.root, artefact), { force: true });
  }

  /**
   * Takes over an artefact of another folder, checked by its manifest: the same file under a second name where both folders are on one
   * disk (nothing ever changes a published file in place), otherwise a copy. False when it is not finished there.
   * @throws LETHE_DISK_FULL, LETHE_FILE_UNWRITABLE (exit code 4)
   */
  async adopt(artefact: string, other: Pick<ArtefactFolder, 'root' | 'finished'>, source: string): Promise<boolean> {
    const manifest = await other.finished(source);
    if (!manifest) return false;
    const [from, to] = [path.join(other.root, source), path.join(this.root, artefact)];
    this.whole.delete(artefact);
    if (!(await linkFile(from, to))) {
      const copy = await publishFile(to, createReadStream(from), manifest.bytes);
      if (copy.sha256 !== manifest.sha256) return false;
    }
    await publishFile(path.join(this.root, manifestPath(artefact)), encodeManifest({ ...manifest, planHash: this.owner }));
    const signature = await this.signature(artefact, manifest);
    if (signature !== undefined) this.whole.set(artefact, signature);
    return true;
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
  const bytes = await readJsonBytes(path.join(root, manifestPath(artefact)));
  return bytes && decodeManifest(bytes);
}

/** What a file should be and what it is; undefined when they agree. */
export function difference(
  manifest: Manifest,
  owner: string,
  found: { bytes: number; sha256: string },
): { expected: string; received: string } | undefined {
  if (manifest.planHash !== owner) return { expected: `plan ${owner.slice(0, 12)}`, received: `plan ${manifest.planHash.slice(0, 12)}` };
  if (manifest.bytes !== found.bytes) return { expected: `${manifest.bytes} bytes`, received: `${found.bytes} bytes` };
  if (manifest.sha256 === found.sha256) return undefined;
  return { expected: `sha256 ${manifest.sha256}`, received: `sha256 ${found.sha256}` };
}
