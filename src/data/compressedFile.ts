/** Reads a file that may lie there plain, as .gz or as .br, never more of it than the caller allows. */
import fs from 'node:fs/promises';
import path from 'node:path';
import { promisify } from 'node:util';
import zlib from 'node:zlib';
import { ExitCode, LetheError } from '../errors.js';
import { readWhole } from '../store/disk/files.js';
import type { Sums } from './sums.js';

/** What `info: true` gives; engine.bytesWritten: how much of the input the stream took. */
interface Decompressed {
  buffer: Buffer;
  engine: { bytesWritten: number };
}
interface Limits {
  info: true;
  maxOutputLength: number;
}
type Decompress = (input: Uint8Array, options: Limits) => Promise<Decompressed>;
const decompressors = {
  brotli: promisify(zlib.brotliDecompress) as unknown as Decompress,
  gzip: promisify(zlib.gunzip) as unknown as Decompress,
};

/** In order of preference. */
const suffixes = ['', '.gz', '.br'] as const;

export interface FoundFile {
  /** Name without the compression suffix. */
  name: string;
  path: string;
  compression: 'none' | 'gzip' | 'brotli';
  /** Further forms of the same file that are not read. */
  alternatives: string[];
}

/** Finds the preferred form of a file, or nothing. */
export async function findFile(directory: string, name: string): Promise<FoundFile | undefined> {
  const present: string[] = [];
  for (const suffix of suffixes) {
    const stat = await fs.stat(path.join(directory, name + suffix)).catch(() => undefined);
    if (stat?.isFile()) present.push(name + suffix);
  }
  const [chosen, ...alternatives] = present;
  if (chosen === undefined) return undefined;
  const compression = chosen.endsWith('.gz') ? 'gzip' : chosen.endsWith('.br') ? 'brotli' : 'none';
  return { name, path: path.join(directory, chosen), compression, alternatives };
}

/**
 * The content of a file. `sums`: of its folder, with the plain or the compressed name.
 * @throws LETHE_DATA_UNREADABLE, LETHE_DATA_CORRUPT for a damaged compressed stream, LETHE_DATA_SIZE for more than maxBytes,
 * LETHE_DATA_CHECKSUM (exit code 3)
 */
export async function readFound(file: FoundFile, maxBytes: number, sums: Sums): Promise<Buffer> {
  const stat = await fs.stat(file.path).catch((cause: unknown) => {
    throw unreadable(file, cause);
  });
  if (stat.size > maxBytes) throw tooLarge(file, maxBytes, `${stat.size} bytes on disk`);
  const stored = await readWhole(file.path, maxBytes).catch((cause: unknown) => {
    throw unreadable(file, cause);
  });
  if (!stored) throw unreadable(file, 'it is gone');
  sums.require(path.basename(file.path), stored);
  if (file.compression === 'none') return Buffer.from(stored.buffer, stored.byteOffset, stored.length);
  const content = await decompress(file, file.compression, stored, maxBytes);
  sums.require(file.name, content);
  return content;
}

async function decompress(file: FoundFile, compression: 'gzip' | 'brotli', stored: Uint8Array, maxBytes: number): Promise<Buffer> {
  try {
    const { buffer, engine } = await decompressors[compression](stored, { info: true, maxOutputLength: maxBytes });
    if (engine.bytesWritten === stored.length) return buffer;
    throw new Error(`${stored.length - engine.bytesWritten} bytes behind its end`);
  } catch (cause) {
    if (cause instanceof Error && 'code' in cause && cause.code === 'ERR_BUFFER_TOO_LARGE') throw tooLarge(file, maxBytes, 'more');
    throw new LetheError('LETHE_DATA_CORRUPT', `${file.path} cannot be decompressed`, {
      expected: `a complete ${compression} stream and nothing else`,
      received: cause instanceof Error ? cause.message : String(cause),
      action: 'Copy the file again.',
      exitCode: ExitCode.damagedInput,
      cause,
    });
  }
}

function unreadable(file: FoundFile, cause: unknown): LetheError {
  return new LetheError('LETHE_DATA_UNREADABLE', `${file.path} cannot be read`, {
    received: cause instanceof Error ? cause.message : String(cause),
    exitCode: ExitCode.damagedInput,
    cause,
  });
}

function tooLarge(file: FoundFile, maxBytes: number, received: string): LetheError {
  return new LetheError('LETHE_DATA_SIZE', `${file.path} is too large`, {
    expected: `at most ${maxBytes} bytes`,
    received,
    exitCode: ExitCode.damagedInput,
  });
}
