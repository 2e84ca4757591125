/**
 * Atomic publication: temporary file in the same folder, fsync, rename, fsync of the folder. A reader sees the old file, the new
 * file or none, never a part; a killed writer leaves only a temporary file, which the next start on the same machine removes.
 */
import { createHash } from 'node:crypto';
import fs from 'node:fs/promises';
import path from 'node:path';
import { errorCode, errorMessage, ExitCode, LetheError, remedyOf } from '../../errors.js';
import { formatBytes } from './byteSize.js';
import { unreadable } from './files.js';
import { isStale, isTemporary, releaseTemporary, takeTemporary } from './temporaries.js';
import { filesBelow } from './walk.js';
import { warn } from './warnings.js';

export type Content = Uint8Array | Iterable<Uint8Array> | AsyncIterable<Uint8Array>;

export interface Published {
  bytes: number;
  sha256: string;
}

const sliceBytes = 1 << 24;
/** Room that must stay free beside the file itself: folders, manifests, journals. */
const reserveBytes = 1 << 20;
/**
 * Writes `content` to `file` so that it appears whole or not at all; missing folders are made.
 * `expectedBytes` is checked against the free space before anything is written.
 * @throws LETHE_DISK_FULL, LETHE_FILE_UNWRITABLE (exit code 4)
 */
export function publishFile(file: string, content: Content, expectedBytes?: number): Promise<Published> {
  return throughTemporary(file, content, expectedBytes, async (temporary, made, folder) => {
    await fs.rename(temporary, file);
    await syncFolder(folder);
    return made;
  });
}

/**
 * Like publishFile, for a name that is nobody's yet: false, and nothing is changed, where there is a file of that name. Of several
 * processes at once one gets true. `onTaken` may look at what would have been published.
 * @throws LETHE_DISK_FULL, LETHE_FILE_UNWRITABLE (exit code 4)
 */
export function publishNew(
  file: string,
  content: Content,
  expectedBytes?: number,
  onTaken?: (made: Published) => Promise<void>,
): Promise<boolean> {
  return throughTemporary(file, content, expectedBytes, async (temporary, made, folder) => {
    if (await linkNew(temporary, file)) {
      await syncFolder(folder);
      return true;
    }
    await onTaken?.(made);
    return false;
  });
}

/** `place` gives the temporary file, whole and on disk, its name; what it leaves of it is removed. */
async function throughTemporary<T>(
  file: string,
  content: Content,
  expectedBytes: number | undefined,
  place: (temporary: string, made: Published, folder: string) => Promise<T>,
): Promise<T> {
  const folder = path.dirname(path.resolve(file));
  const temporary = takeTemporary(file);
  const need = content instanceof Uint8Array ? content.length : (expectedBytes ?? 0);
  try {
    await createFolder(folder);
    await requireSpace(folder, file, need);
    return await place(temporary, await writeTemporary(temporary, content), folder);
  } catch (error) {
    throw await explain(error, file, folder, need);
  } finally {
    await fs.rm(temporary, { force: true }).catch(() => undefined);
    releaseTemporary(temporary);
  }
}

async function linkNew(temporary: string, file: string): Promise<boolean> {
  try {
    await fs.link(temporary, file).catch(async (error: unknown) => {
      if (!cannotLink.includes(errorCode(error) ?? '')) throw error;
      await fs.copyFile(temporary, file, fs.constants.COPYFILE_EXCL);
    });
    return true;
  } catch (error) {
    if (errorCode(error) === 'EEXIST') return false;
    throw error;
  }
}

const cannotLink = ['EXDEV', 'EPERM', 'EMLINK', 'ENOSYS', 'EOPNOTSUPP', 'ENOTSUP'];

/** Gives a published file a second name, durably and at once, whatever was there. False where the file system cannot. @throws LETHE_FILE_UNWRITABLE, LETHE_DISK_FULL (4) */
export async function linkFile(from: string, to: string): Promise<boolean> {
  const folder = path.dirname(to);
  const temporary = takeTemporary(to);
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
    releaseTemporary(temporary);
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

/** Network and user file systems that know no fsync of folders, or no reading of this one. */
const cannotSync = ['EINVAL', 'ENOTSUP', 'EOPNOTSUPP', 'ENOSYS', 'EBADF', 'EACCES', 'EPERM', 'EISDIR'];
let saidUnsynced = false;

async function syncFolder(folder: string): Promise<void> {
  try {
    const handle = await fs.open(folder, 'r');
    try {
      await handle.sync();
    } finally {
      await handle.close();
    }
  } catch (error) {
    if (!cannotSync.includes(errorCode(error) ?? '')) throw error;
    if (!saidUnsynced) {
      warn(
        `the file system of ${folder} cannot make names durable (fsync of a folder: ${errorCode(error)!}): a power failure may undo the last files`,
      );
    }
    saidUnsynced = true;
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

/** Undefined where the file system does not say: some report that they have no blocks at all. */
async function freeBytes(folder: string): Promise<number | undefined> {
  const { blocks, bavail, bsize } = await fs.statfs(folder);
  return blocks === 0 ? undefined : bavail * bsize;
}

/**
 * Asks for free space before work is begun that will need it; `what` is named in the message.
 * @throws LETHE_DISK_FULL, LETHE_FILE_UNREADABLE (exit code 4)
 */
export async function requireSpace(folder: string, what: string, need: number): Promise<void> {
  const free = await freeBytes(folder).catch((cause: unknown) => {
    throw unreadable(folder, cause);
  });
  if (free !== undefined && free < need + reserveBytes) throw diskFull(what, need + reserveBytes, free);
}

function diskFull(what: string, need: number, free: number, cause?: unknown): LetheError {
  return new LetheError('LETHE_DISK_FULL', `no room for ${what}`, {
    expected: `${formatBytes(need)} free`,
    received: `${formatBytes(free)} free (a full quota or a lack of inodes looks the same)`,
    action: 'Free some space, then run the same command again: finished work is kept.',
    exitCode: ExitCode.environment,
    cause,
  });
}

async function explain(error: unknown, file: string, folder: string, need: number): Promise<unknown> {
  const code = errorCode(error);
  if (code === 'ENOSPC' || code === 'EDQUOT') {
    const free = await freeBytes(folder).catch(() => undefined);
    return diskFull(file, need + reserveBytes, free ?? 0, error);
  }
  // the system's own errors carry a syscall; what a content generator throws passes unchanged
  if (error instanceof Error && 'syscall' in error) {
    return new LetheError('LETHE_FILE_UNWRITABLE', `cannot write ${file}`, {
      received: error.message,
      action: remedyOf(error),
      exitCode: ExitCode.environment,
      cause: error,
    });
  }
  return error;
}

/** Removes temporary files below `root` whose writer is gone; those of live processes stay. Returns how many went. */
export async function removeStaleTemporaries(root: string): Promise<number> {
  let removed = 0;
  for (const name of await filesBelow(root)) {
    const file = path.resolve(root, name);
    if (!isTemporary(path.basename(file)) || !(await isStale(file))) continue;
    await fs.rm(file, { force: true }).then(
      () => (removed += 1),
      (error: unknown) => {
        warn(`a file of an ended command stays: ${errorMessage(error)}`);
      },
    );
  }
  return removed;
}
