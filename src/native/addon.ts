/** Loads the addon once. `LETHE_ADDON` names another build (sanitizers, tests). */
import { createRequire } from 'node:module';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { ExitCode, LetheError } from '../errors.js';
import type { NativeAddon } from './types.js';

const packageRoot = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '..', '..');
let loaded: NativeAddon | undefined;

export function addonPath(): string {
  return process.env['LETHE_ADDON'] ?? path.join(packageRoot, 'build', 'Release', 'lethe.node');
}

/** For advice: works from any folder. `environment`: assignments before the command. */
export function buildCommand(environment = ''): string {
  const folder = /^[\w./-]+$/.test(packageRoot) ? packageRoot : `'${packageRoot.replaceAll("'", "'\\''")}'`;
  return `cd ${folder} && ${environment === '' ? '' : `${environment} `}npm run build:addon`;
}

/** @throws LETHE_ADDON_MISSING when the addon is not built or does not load (exit code 4). */
export function nativeAddon(): NativeAddon {
  if (loaded) return loaded;
  const file = addonPath();
  try {
    loaded = createRequire(import.meta.url)(file) as NativeAddon;
    return loaded;
  } catch (cause) {
    throw new LetheError('LETHE_ADDON_MISSING', 'the native addon does not load', {
      expected: `a built addon at ${file}`,
      received: cause instanceof Error ? cause.message : String(cause),
      action: `Run: ${buildCommand()}`,
      exitCode: ExitCode.environment,
      cause,
    });
  }
}

/** One flag a signal: a run makes thousands of calls with the same one. */
const flags = new WeakMap<AbortSignal, Int32Array>();

/** An Int32Array the addon polls, set when the signal aborts. */
export function abortFlag(signal: AbortSignal | undefined): Int32Array {
  const known = signal && flags.get(signal);
  if (known) return known;
  const flag = new Int32Array(new SharedArrayBuffer(4));
  if (!signal) return flag;
  if (signal.aborted) flag[0] = 1;
  else signal.addEventListener('abort', () => Atomics.store(flag, 0, 1), { once: true });
  flags.set(signal, flag);
  return flag;
}
