/** Reading files of any size: Node refuses single reads of 2 GiB and more, so everything here goes in chunks. */
import { createHash } from 'node:crypto';
import { constants, type Stats } from 'node:fs';
import fs from 'node:fs/promises';
import os from 'node:os';
import { errorCode, ExitCode, LetheError, remedyOf } from '../../errors.js';
import { memoryLimit } from '../../native/limits.js';
import { nativeBuffer } from '../../native/memory.js';
import { formatBytes } from './byteSize.js';

const chunkBytes = 1 << 24;

/** A Uint8Array of Node 20 ends here. */
const wholeFileLimit = 2 ** 32;

/** The damaged-input error every reader of this folder throws: exit code 3. */
export function damaged(code: `LETHE_${string}`, summary: string, expected: string, received: string, action?: string): LetheError {
  return new LetheError(code, summary, {
    expected,
    received,
    ...(action === undefined ? {} : { action }),
    exitCode: ExitCode.damagedInput,
  });
}

function kindOf(stat: Stats): string {
  if (stat.isDirectory()) return 'a folder';
  if (stat.isFIFO()) return 'a pipe (FIFO)';
  return stat.isCharacterDevice() || stat.isBlockDevice() ? 'a device' : 'something else';
}

/** Of files that are open for reading: errors of reads do not name them. */
const paths = new WeakMap<fs.FileHandle, string>();

/**
 * Opens a file for reading. A pipe or device is refused: it may have no end, and cannot be read at a place.
 * @throws LETHE_FILE_MISSING (exit code 2), LETHE_FILE_UNREADABLE (exit code 4)
 */
export async function openForReading(path: string): Promise<{ handle: fs.FileHandle; bytes: number }> {
  try {
    // without O_NONBLOCK the opening of a pipe waits for a writer
    const handle = await fs.open(path, constants.O_RDONLY | constants.O_NONBLOCK);
    const stat = await handle.stat();
    if (stat.isFile()) {
      paths.set(handle, path);
      return { handle, bytes: stat.size };
    }
    await handle.close();
    throw new LetheError('LETHE_FILE_UNREADABLE', `${path} is not a file`, {
      expected: 'a regular file',
      received: kindOf(stat),
      action: 'Write the data into a file first.',
      exitCode: ExitCode.environment,
    });
  } catch (cause) {
    if (cause instanceof LetheError) throw cause;
    const code = errorCode(cause);
    if (code === 'ENOENT' || code === 'ENOTDIR') {
      throw new LetheError('LETHE_FILE_MISSING', `there is no file ${path}`, {
        action: 'Check the path.',
        exitCode: ExitCode.usage,
        cause,
      });
    }
    throw unreadable(path, cause);
  }
}

function tooLarge(path: string, bytes: number, most: number): LetheError {
  return new LetheError('LETHE_FILE_TOO_LARGE', `${path} is too large to be read whole`, {
    expected: `at most ${formatBytes(most)}`,
    received: formatBytes(bytes),
    action: most < wholeFileLimit ? 'Is it the file that was meant?' : 'Use smaller shards (modelsPerShard).',
    exitCode: ExitCode.environment,
  });
}

export function unreadable(path: string, cause: unknown): LetheError {
  return new LetheError('LETHE_FILE_UNREADABLE', `cannot read ${path}`, {
    received: cause instanceof Error ? cause.message : String(cause),
    action: remedyOf(cause),
    exitCode: ExitCode.environment,
    cause,
  });
}

/**
 * Fills `target` with the file's content from `position` on; returns the bytes read, fewer only at the end of the file.
 * The target is a buffer because one Uint8Array cannot be longer than 4 GiB.
 * @throws LETHE_FILE_UNREADABLE (exit code 4)
 */
export async function readFully(handle: fs.FileHandle, target: ArrayBuffer, position: number): Promise<number> {
  let filled = 0;
  while (filled < target.byteLength) {
    const window = new Uint8Array(target, filled, Math.min(chunkBytes, target.byteLength - filled));
    const { bytesRead } = await handle.read(window, 0, window.length, position + filled).catch((cause: unknown) => {
      throw unreadable(paths.get(handle) ?? 'a file', cause);
    });
    if (bytesRead === 0) break;
    filled += bytesRead;
  }
  return filled;
}

/**
 * Memory for `bytes` of file content, outside the JavaScript heap. It is refused before anything is read: where a control group limits this
 * process, the system ends who takes more.
 * @throws LETHE_MEMORY_SHORT (exit code 4) when the machine, or what of it this process may use, cannot hold it
 */
export function allocate(bytes: number, what: string): ArrayBuffer {
  const limit = memoryLimit();
  const limited = limit < os.totalmem();
  const most = limited ? Math.max(0, limit - process.memoryUsage.rss()) : limit;
  try {
    if (bytes <= most) return nativeBuffer(bytes);
  } catch (cause) {
    if (!(cause instanceof RangeError)) throw cause;
  }
  const whose = limited ? `left of the limit of ${formatBytes(limit)} of this process` : 'the memory of this machine';
  throw new LetheError('LETHE_MEMORY_SHORT', `${what} does not fit in memory`, {
    expected: `at most ${formatBytes(most)} (${whose})`,
    received: formatBytes(bytes),
    action: limited ? 'Allow the job or container more memory, or split the file.' : 'Split the file or use a larger machine.',
    exitCode: ExitCode.environment,
  });
}

/**
 * Whole content of a file of at most `most` bytes; undefined when there is none.
 * @throws LETHE_FILE_TOO_LARGE, LETHE_MEMORY_SHORT, LETHE_FILE_UNREADABLE (exit code 4)
 */
export async function readWhole(path: string, most = wholeFileLimit): Promise<Uint8Array | undefined> {
  let opened;
  try {
    opened = await openForReading(path);
  } catch (error) {
    if (errorCode(error) === 'LETHE_FILE_MISSING') return undefined;
    throw error;
  }
  const { handle, bytes } = opened;
  try {
    if (bytes > most) throw tooLarge(path, bytes, most);
    const content = allocate(bytes, path);
    return new Uint8Array(content, 0, await readFully(handle, content, 0));
  } catch (cause) {
    throw cause instanceof LetheError ? cause : unreadable(path, cause);
  } finally {
    await handle.close();
  }
}

/** The same of a text in UTF-8. */
export async function readText(path: string, most: number): Promise<string | undefined> {
  const bytes = await readWhole(path, most);
  return bytes && new TextDecoder().decode(bytes);
}

/** Of a text in UTF-8, or the bytes of an array. */
export function sha256(content: ArrayBufferView | string): string {
  const hash = createHash('sha256');
  if (typeof content === 'string') return hash.update(content).digest('hex');
  const bytes = new Uint8Array(content.buffer, content.byteOffset, content.byteLength);
  for (let at = 0; at < bytes.length; at += chunkBytes) hash.update(bytes.subarray(at, at + chunkBytes));
  return hash.digest('hex');
}

/** Size and sha256 of a file without holding it in memory; undefined when there is none. */
export async function hashFile(path: string): Promise<{ bytes: number; sha256: string } | undefined> {
  let opened;
  try {
    opened = await openForReading(path);
  } catch (error) {
    if (errorCode(error) === 'LETHE_FILE_MISSING') return undefined;
    throw error;
  }
  const hash = createHash('sha256');
  const buffer = new Uint8Array(Math.max(1, Math.min(chunkBytes, opened.bytes)));
  let position = 0;
  try {
    for (;;) {
      const { bytesRead } = await opened.handle.read(buffer, 0, buffer.length, position);
      if (bytesRead === 0) return { bytes: position, sha256: hash.digest('hex') };
      hash.update(buffer.subarray(0, bytesRead));
      position += bytesRead;
    }
  } catch (cause) {
    throw unreadable(path, cause);
  } finally {
    await opened.handle.close();
  }
}
