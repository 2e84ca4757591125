/** What lies below a folder. */
import fs from 'node:fs/promises';
import path from 'node:path';
import { errorCode } from '../../errors.js';
import { unreadable } from './files.js';

/** Folders that belong to somebody else (lost+found), or went while they were looked at. */
const skipped = ['EACCES', 'EPERM', 'ENOENT'];

/**
 * All files, sorted, relative to `root`, with forward slashes. Folders below it that may not be read are left out.
 * @throws LETHE_FILE_UNREADABLE (exit code 4)
 */
export async function filesBelow(root: string): Promise<string[]> {
  const found: string[] = [];
  const folders = [''];
  for (let folder = folders.pop(); folder !== undefined; folder = folders.pop()) {
    const at = path.join(root, folder);
    const entries = await fs.readdir(at, { withFileTypes: true }).catch((cause: unknown) => {
      if (at !== root && skipped.includes(errorCode(cause) ?? '')) return [];
      throw unreadable(at, cause);
    });
    for (const entry of entries) (entry.isDirectory() ? folders : found).push(path.posix.join(folder, entry.name));
  }
  return found.sort();
}
