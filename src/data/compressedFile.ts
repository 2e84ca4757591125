/** Reads a file that may lie there plain, as .gz or as .br, never more of it than the caller allows. */
import fs from 'node:fs/promises';
import path from 'node:path';
import { promisify } from 'node:util';
import zlib from 'node:zlib';
import { ExitCode, LetheError } from '../errors.js';

const brotli = promisify<zlib.InputType, zlib.BrotliOptions, Buffer>(zlib.brotliDecompress);
const gunzip = promisify<zlib.InputType, zlib.ZlibOptions, Buffer>(zlib.gunzip);

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
 * @throws LETHE_DATA_UNREADABLE, LETHE_DATA_CORRUPT for a damaged compressed stream, LETHE_DATA_SIZE for more than maxBytes (exit code 3)
 */
export async function readFound(file: FoundFile, maxBytes: number): Promise<Buffer> {
  const stat = await fs.stat(file.path).catch((cause: unknown) => {
    throw unreadable(file, cause);
  });
  if (stat.size > maxBytes) throw tooLarge(file, maxBytes, `${stat.size} bytes on disk`);
  const stored = await fs.readFile(file.path).catch((cause: unknown) => {
    throw unreadable(file, cause);
  });
  if (file.compression === 'none') return stored;
  try {
    const options = { maxOutputLength: maxBytes };
    return await (file.compression === 'gzip' ? gunzip(stored, options) : brotli(stored, options));
  } catch (cause) {
    if (cause instanceof Error && 'code' in cause && cause.code === 'ERR_BUFFER_TOO_LARGE') throw tooLarge(file, maxBytes, 'more');
    throw new LetheError('LETHE_DATA_CORRUPT', `${file.path} cannot be decompressed`, {
      expected: `a complete ${file.compression} stream`,
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
