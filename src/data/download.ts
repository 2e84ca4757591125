/** Resumable download of one file of known size and checksum over HTTP. */
import fs from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { ExitCode, LetheError } from '../errors.js';
import { hashFile } from '../store/files.js';

export interface DownloadOptions {
  url: string;
  /** Grows while the download runs and is what a later call goes on with; complete and checked when the call returns. */
  partFile: string;
  bytes: number;
  sha256: string;
  onProgress?: ((done: number, total: number) => void) | undefined;
  /** Takes one line for people about retries and restarts. */
  note?: ((line: string) => void) | undefined;
  signal?: AbortSignal | undefined;
  /** Attempts in a row that bring no byte before it gives up. */
  maxAttempts?: number;
  /** Pause before the second attempt, doubled for every further one. */
  backoffMs?: number;
  /** A connection that brings nothing for so long is dropped and tried again. */
  stallMs?: number;
}

/** Trying again cannot help. */
class Refusal extends Error {}

/**
 * @throws LETHE_DOWNLOAD_FAILED (exit code 1), LETHE_DOWNLOAD_ABORTED (75, the part file stays), LETHE_DOWNLOAD_SIZE and
 * LETHE_DOWNLOAD_CHECKSUM (3, the part file is removed)
 */
export async function download(options: DownloadOptions): Promise<void> {
  const { url, partFile, bytes, maxAttempts = 6, backoffMs = 1000, note = () => undefined } = options;
  let fruitless = 0;
  for (let have = await sizeOf(partFile); have !== bytes; have = await sizeOf(partFile)) {
    if (have > bytes) await fs.rm(partFile);
    const before = have > bytes ? 0 : have;
    try {
      await attempt(options, before);
    } catch (cause) {
      if (options.signal?.aborted) throw aborted(options);
      if (cause instanceof LetheError) throw cause;
      const reason = explain(cause);
      fruitless = (await sizeOf(partFile)) > before ? 0 : fruitless + 1;
      if (cause instanceof Refusal || isDiskError(cause) || fruitless >= maxAttempts) {
        throw new LetheError('LETHE_DOWNLOAD_FAILED', `${url} could not be downloaded`, {
          received: reason,
          action: 'What has arrived is kept: run the same command again, or give a mirror with --url.',
          exitCode: ExitCode.taskFailed,
          cause,
        });
      }
      const pause = backoffMs * 2 ** Math.max(0, fruitless - 1);
      note(`${reason}; trying again in ${(pause / 1000).toFixed(1)} s`);
      await sleep(pause, undefined, options.signal ? { signal: options.signal } : {}).catch(() => {
        throw aborted(options);
      });
    }
  }
  options.onProgress?.(bytes, bytes);
  await check(options);
}

/** One request: goes on behind the first `have` bytes where the server can, from the start where it cannot. */
async function attempt(options: DownloadOptions, have: number): Promise<void> {
  const { url, stallMs = 30000 } = options;
  const controller = new AbortController();
  const drop = (): void => {
    controller.abort(new Error(options.signal?.aborted ? 'interrupted' : `nothing arrived for ${stallMs / 1000} s`));
  };
  if (options.signal?.aborted) drop();
  options.signal?.addEventListener('abort', drop, { once: true });
  const stall = setTimeout(drop, stallMs);
  try {
    const headers = { 'accept-encoding': 'identity', ...(have > 0 ? { range: `bytes=${have}-` } : {}) };
    const response = await fetch(url, { headers, signal: controller.signal });
    const start = startOf(response, have);
    if (start < have) options.note?.('the server cannot resume: starting again');
    await store(options, response, start, () => stall.refresh());
  } catch (error) {
    throw controller.signal.aborted ? controller.signal.reason : error;
  } finally {
    clearTimeout(stall);
    options.signal?.removeEventListener('abort', drop);
    controller.abort();
  }
}

/** Where in the file the body of this answer belongs. */
function startOf(response: Response, have: number): number {
  const { status } = response;
  if (status === 200) return 0;
  if (status === 206) {
    const range = response.headers.get('content-range') ?? 'no range';
    if (new RegExp(`^bytes ${have}-`).test(range)) return have;
    throw new Refusal(`the server answered with ${range} when asked for bytes ${have}-`);
  }
  if (status === 408 || status === 429 || status >= 500) throw new Error(`HTTP status ${status}`);
  throw new Refusal(`HTTP status ${status}`);
}

async function store(options: DownloadOptions, response: Response, start: number, onArrival: () => void): Promise<void> {
  const { partFile, bytes, onProgress } = options;
  const length = response.headers.get('content-length');
  if (length !== null && start + Number(length) !== bytes) throw await wrongSize(options, `${start + Number(length)} bytes`);
  const file = await fs.open(partFile, start > 0 ? 'r+' : 'w');
  let position = start;
  try {
    for await (const chunk of response.body as unknown as AsyncIterable<Uint8Array>) {
      onArrival();
      if (position + chunk.length > bytes) throw await wrongSize(options, 'more');
      for (let at = 0; at < chunk.length;) at += (await file.write(chunk, at, chunk.length - at, position + at)).bytesWritten;
      position += chunk.length;
      onProgress?.(position, bytes);
    }
    await file.sync();
  } finally {
    await file.close();
  }
  if (position < bytes) throw new Error(`the connection ended after ${position} of ${bytes} bytes`);
}

async function check(options: DownloadOptions): Promise<void> {
  const found = await hashFile(options.partFile);
  if (found?.sha256 === options.sha256) return;
  await fs.rm(options.partFile, { force: true });
  throw new LetheError('LETHE_DOWNLOAD_CHECKSUM', `what came from ${options.url} is not the expected file`, {
    expected: `sha256 ${options.sha256}`,
    received: found?.sha256 ?? 'no file',
    action: 'It was removed: run the same command again, or give a mirror with --url.',
    exitCode: ExitCode.damagedInput,
  });
}

async function wrongSize(options: DownloadOptions, received: string): Promise<LetheError> {
  await fs.rm(options.partFile, { force: true });
  return new LetheError('LETHE_DOWNLOAD_SIZE', `${options.url} has the wrong size`, {
    expected: `${options.bytes} bytes`,
    received,
    action: 'Give a mirror of the expected file with --url.',
    exitCode: ExitCode.damagedInput,
  });
}

function aborted(options: DownloadOptions): LetheError {
  return new LetheError('LETHE_DOWNLOAD_ABORTED', `the download of ${options.url} was interrupted`, {
    action: 'What has arrived is kept: the same command goes on from there.',
    exitCode: ExitCode.interrupted,
  });
}

async function sizeOf(file: string): Promise<number> {
  const stat = await fs.stat(file).catch(() => undefined);
  return stat?.size ?? 0;
}

/** Errors of fetch carry the network's reason one level down. */
function explain(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  return error.cause instanceof Error ? `${error.message} (${error.cause.message})` : error.message;
}

function isDiskError(error: unknown): boolean {
  return error instanceof Error && 'syscall' in error;
}
