/**
 * Atomic publication: temporary file in the same folder, fsync, rename, fsync of the folder. A reader sees the old file, the new
 * file or none, never a part; a killed writer leaves only a temporary file, which the next start on the same machine removes.
 */
import { createHash, randomBytes } from 'node:crypto';
import fs from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { errorCode, ExitCode, LetheError } from '../errors.js';

export type Content = Uint8Array | Iterable<Uint8Array> | AsyncIterable<Uint8Array>;

export interface Published {
  bytes: number;
  sha256: string;
}

const sliceBytes = 1 << 24;
/** Room that must stay free beside the file itself: folders, manifests, journals. */
const reserveBytes = 1 << 20;
const strangerTempHours = 24;
const host = os
  .hostname()
  .toLowerCase()
  .replaceAll(/[^a-z0-9]/g, '')
  .slice(0, 32);
const temporaryName = /^\.(.+)\.([a-z0-9]*)-(\d+)-[0-9a-f]{12}\.tmp$/;
const active = new Set<string>();

/**
 * Writes `content` to `file` so that it appears whole or not at all; missing folders are made.
 * `expectedBytes` is checked against the free space before anything is written.
 * @throws LETHE_DISK_FULL, LETHE_FILE_UNWRITABLE (exit code 4)
 */
export async function publishFile(file: string, content: Content, expectedBytes?: number): Promise<Published> {
  const folder = path.dirname(path.resolve(file));
  const temporary = temporaryOf(file);
  const need = content instanceof Uint8Array ? content.length : (expectedBytes ?? 0);
  active.add(temporary);
  try {
    await createFolder(folder);
    await requireSpace(folder, file, need);
    const published = await writeTemporary(temporary, content);
    await fs.rename(temporary, file);
    await syncFolder(folder);
    return published;
  } catch (error) {
    await fs.rm(temporary, { force: true }).catch(() => undefined);
    throw await explain(error, file, folder, need);
  } finally {
    active.delete(temporary);
  }
}

function temporaryOf(file: string): string {
  return path.join(
    path.dirname(path.resolve(file)),
    `.${path.basename(file)}.${host}-${process.pid}-${randomBytes(6).toString('hex')}.tmp`,
  );
}

const cannotLink = ['EXDEV', 'EPERM', 'EMLINK', 'ENOSYS', 'EOPNOTSUPP', 'ENOTSUP'];

/** Gives a published file a second name, durably and at once, whatever was there. False where the file system cannot. @throws LETHE_FILE_UNWRITABLE, LETHE_DISK_FULL (4) */
export async function linkFile(from: string, to: string): Promise<boolean> {
  const folder = path.dirname(to);
  const temporary = temporaryOf(to);
  active.add(temporary);
  try {
    await createFolder(folder);
    await fs.link(from, temporary);
    await fs.rename(temporary, to);
    await syncFolder(folder);
    return true;
  } catch (error) {
    if (cannotLink.includes(errorCode(error) ?? '')) return false;
    throw await explain(error, to, folder, 0);
  } finally {
    await fs.rm(temporary, { force: true }).catch(() => undefined); // renaming to another name of the same file leaves both
    active.delete(temporary);
  }
}

/** Makes a folder and its missing parents, durably. @throws LETHE_FILE_UNWRITABLE, LETHE_DISK_FULL (exit code 4) */
export async function makeFolder(folder: string): Promise<void> {
  try {
    await createFolder(folder);
  } catch (error) {
    throw await explain(error, folder, path.dirname(folder), 0);
  }
}

async function createFolder(folder: string): Promise<void> {
  const first = await fs.mkdir(folder, { recursive: true });
  if (first === undefined) return;
  const top = path.dirname(first);
  for (let at = path.resolve(folder); at !== top && at !== path.dirname(at); at = path.dirname(at)) await syncFolder(path.dirname(at));
}

async function syncFolder(folder: string): Promise<void> {
  const handle = await fs.open(folder, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

async function writeTemporary(temporary: string, content: Content): Promise<Published> {
  const handle = await fs.open(temporary, 'wx');
  const hash = createHash('sha256');
  let bytes = 0;
  try {
    for await (const chunk of content instanceof Uint8Array ? [content] : content) {
      for (let at = 0; at < chunk.length;) {
        const slice = chunk.subarray(at, at + sliceBytes);
        const { bytesWritten } = await handle.write(slice, 0, slice.length, bytes);
        hash.update(slice.subarray(0, bytesWritten));
        at += bytesWritten;
        bytes += bytesWritten;
      }
    }
    await handle.sync();
  } finally {
    await handle.close();
  }
  return { bytes, sha256: hash.digest('hex') };
}

async function freeBytes(folder: string): Promise<number> {
  const stat = await fs.statfs(folder);
  return stat.bavail * stat.bsize;
}

/**
 * Asks for free space before work is begun that will need it; `what` is named in the message.
 * @throws LETHE_DISK_FULL (exit code 4)
 */
export async function requireSpace(folder: string, what: string, need: number): Promise<void> {
  const free = await freeBytes(folder);
  if (free < need + reserveBytes) throw diskFull(what, need + reserveBytes, free);
}

function diskFull(what: string, need: number, free: number, cause?: unknown): LetheError {
  return new LetheError('LETHE_DISK_FULL', `no room for ${what}`, {
    expected: `${need} free bytes`,
    received: `${free} free bytes (a full quota or a lack of inodes looks the same)`,
    action: 'Free some space, then run the same command again: finished work is kept.',
    exitCode: ExitCode.environment,
    cause,
  });
}

async function explain(error: unknown, file: string, folder: string, need: number): Promise<unknown> {
  const code = errorCode(error);
  if (code === 'ENOSPC' || code === 'EDQUOT') {
    return diskFull(file, need + reserveBytes, await freeBytes(folder).catch(() => 0), error);
  }
  // the system's own errors carry a syscall; what a content generator throws passes unchanged
  if (error instanceof Error && 'syscall' in error) {
    return new LetheError('LETHE_FILE_UNWRITABLE', `cannot write ${file}`, {
      received: error.message,
      action: 'Check the permissions and the disk, then run the same command again.',
      exitCode: ExitCode.environment,
      cause: error,
    });
  }
  return error;
}

/** True for the name of a temporary file of `publishFile`, of any process. */
export function isTemporary(name: string): boolean {
  return temporaryName.test(name);
}

/** Removes temporary files below `root` whose writer is gone; those of live processes stay. Returns how many went. */
export async function removeStaleTemporaries(root: string): Promise<number> {
  let removed = 0;
  for (const entry of await fs.readdir(root, { recursive: true, withFileTypes: true })) {
    const file = path.resolve(entry.parentPath, entry.name);
    if (!entry.isFile() || !isTemporary(entry.name) || !(await isStale(file))) continue;
    await fs.rm(file, { force: true });
    removed += 1;
  }
  return removed;
}

async function isStale(file: string): Promise<boolean> {
  const [, , writerHost, writer] = temporaryName.exec(path.basename(file))!;
  if (active.has(file)) return false;
  if (writerHost !== host) {
    // a process of another machine cannot be asked whether it lives; nobody writes one file for a day
    const stat = await fs.stat(file).catch(() => undefined);
    return stat !== undefined && Date.now() - stat.mtimeMs > strangerTempHours * 3600_000;
  }
  // our own number but not our file: an earlier process had it
  return Number(writer) === process.pid || !isAlive(Number(writer));
}

/** Whether a process of this machine runs. */
export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return errorCode(error) === 'EPERM';
  }
}
