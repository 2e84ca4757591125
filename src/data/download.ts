/**
 * Resumable download of one file of known size and checksum over HTTP. Servers are strangers: whatever they do, it ends, and nothing but the
 * part file is written.
 */
import { constants } from 'node:fs';
import fs from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { ExitCode, LetheError } from '../errors.js';
import { hashFile } from '../store/disk/files.js';
import { proxyFor } from './proxy.js';

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
  /** Attempts in a row that bring next to nothing before it gives up. */
  maxAttempts?: number;
  /** Pause before the second attempt, doubled for every further one. */
  backoffMs?: number;
  /** A connection that brings less than `minBytes` in so long is dropped and tried again. */
  stallMs?: number;
  /** What an attempt must bring to count as progress. */
  minBytes?: number;
}

/** Trying again cannot help. */
class Refusal extends Error {}

const mostRedirects = 10;

/**
 * @throws LETHE_DOWNLOAD_URL, LETHE_DOWNLOAD_PART (exit code 2), LETHE_DOWNLOAD_FAILED (1), LETHE_DOWNLOAD_ABORTED (75, the part file
 * stays), LETHE_DOWNLOAD_SIZE and LETHE_DOWNLOAD_CHECKSUM (3, the part file is removed)
 */
export async function download(options: DownloadOptions): Promise<void> {
  const { url, partFile, bytes, maxAttempts = 6, backoffMs = 1000, minBytes = leastBytes, note = () => undefined } = options;
  requireUrl(url);
  let fruitless = 0;
  if ((await sizeOf(partFile)) !== bytes && proxyFor(url) !== undefined) note(`${proxyFor(url)!} is set, but downloads do not use a proxy`);
  for (let have = await sizeOf(partFile); have !== bytes; have = await sizeOf(partFile)) {
    if (have > bytes) await fs.rm(partFile);
    const before = have > bytes ? 0 : have;
    try {
      await attempt(options, before);
    } catch (cause) {
      if (options.signal?.aborted) throw aborted(options);
      if (cause instanceof LetheError) throw cause;
      const reason = explain(cause);
      fruitless = (await sizeOf(partFile)) - before >= minBytes ? 0 : fruitless + 1;
      if (cause instanceof Refusal || isDiskError(cause) || fruitless >= maxAttempts) {
        throw new LetheError('LETHE_DOWNLOAD_FAILED', `${url} could not be downloaded`, {
          received: reason,
          action: wayOn(options),
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

/** Less than this in half a minute is no download. */
const leastBytes = 1 << 16;

/** @throws LETHE_DOWNLOAD_URL (exit code 2) */
function requireUrl(url: string): void {
  if (URL.canParse(url) && isWeb(new URL(url))) return;
  throw new LetheError('LETHE_DOWNLOAD_URL', 'nothing can be downloaded from there', {
    expected: 'an address that begins with https:// or http://',
    received: JSON.stringify(url.slice(0, 200)),
  });
}

function isWeb({ protocol }: URL): boolean {
  return protocol === 'https:' || protocol === 'http:';
}

function wayOn({ url, partFile }: DownloadOptions): string {
  const again = 'What has arrived is kept: run the same command again, or give a mirror with --url.';
  const proxy = proxyFor(url);
  if (proxy === undefined) return again;
  return (
    `${proxy} is set, but downloads do not use a proxy: fetch the file with a program that does, curl -fL -o ${partFile} ${url}, ` +
    'and run the same command again, which checks it and goes on.'
  );
}

/** One request: goes on behind the first `have` bytes where the server can, from the start where it cannot. */
async function attempt(options: DownloadOptions, have: number): Promise<void> {
  const { stallMs = 30000, minBytes = leastBytes } = options;
  const controller = new AbortController();
  const drop = (): void => {
    controller.abort(new Error(options.signal?.aborted ? 'interrupted' : `next to nothing arrived for ${stallMs / 1000} s`));
  };
  if (options.signal?.aborted) drop();
  options.signal?.addEventListener('abort', drop, { once: true });
  const stall = setTimeout(drop, stallMs);
  try {
    const headers = { 'accept-encoding': 'identity', ...(have > 0 ? { range: `bytes=${have}-` } : {}) };
    const response = await request(options.url, { headers, signal: controller.signal });
    const start = startOf(response, have);
    if (start < have) options.note?.('the server cannot resume: starting again');
    let arrived = 0;
    await store(options, response, start, (count) => {
      arrived += count;
      if (arrived < minBytes) return;
      arrived = 0;
      stall.refresh();
    });
  } catch (error) {
    throw controller.signal.aborted ? controller.signal.reason : error;
  } finally {
    clearTimeout(stall);
    options.signal?.removeEventListener('abort', drop);
    controller.abort();
  }
}

/** Follows redirects itself: to addresses of the web only, and not for ever. */
async function request(url: string, init: RequestInit): Promise<Response> {
  let at = new URL(url);
  for (let hop = 0; hop <= mostRedirects; hop++) {
    const response = await fetch(at, { ...init, redirect: 'manual' });
    const location = response.headers.get('location');
    if (![301, 302, 303, 307, 308].includes(response.status) || location === null) return response;
    await response.body?.cancel();
    if (!URL.canParse(location, at)) throw new Refusal(`a redirect to ${JSON.stringify(location.slice(0, 200))}`);
    at = new URL(location, at);
    if (!isWeb(at)) throw new Refusal(`a redirect to ${at.protocol}, which is not followed`);
  }
  throw new Refusal(`more than ${mostRedirects} redirects`);
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

async function store(options: DownloadOptions, response: Response, start: number, onArrival: (bytes: number) => void): Promise<void> {
  const { partFile, bytes, onProgress } = options;
  const length = response.headers.get('content-length');
  if (length !== null && start + Number(length) !== bytes) throw await wrongSize(options, `${start + Number(length)} bytes`);
  const flags = start > 0 ? constants.O_RDWR : constants.O_WRONLY | constants.O_CREAT | constants.O_TRUNC;
  const file = await fs.open(partFile, flags | constants.O_NOFOLLOW, 0o666);
  let position = start;
  try {
    for await (const chunk of response.body as unknown as AsyncIterable<Uint8Array>) {
      onArrival(chunk.length);
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

/** 0 where there is none. A link would lead the download out of its folder. @throws LETHE_DOWNLOAD_PART (exit code 2) */
async function sizeOf(file: string): Promise<number> {
  const stat = await fs.lstat(file).catch(() => undefined);
  if (!stat) return 0;
  if (stat.isFile() && stat.nlink === 1) return stat.size;
  throw new LetheError('LETHE_DOWNLOAD_PART', `${file} cannot take a download`, {
    expected: 'a file of an earlier download, or nothing',
    received: stat.isFile() ? 'a file with a second name elsewhere' : stat.isSymbolicLink() ? 'a symbolic link' : 'no file',
    action: 'Remove it, then run the same command again.',
  });
}

/** Errors of fetch carry the network's reason one level down. */
function explain(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  return error.cause instanceof Error ? `${error.message} (${error.cause.message})` : error.message;
}

function isDiskError(error: unknown): boolean {
  return error instanceof Error && 'syscall' in error;
}
