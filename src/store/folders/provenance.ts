/** Where and how a run was made: one entry a session in provenance.json. Times live here and nowhere else. */
import { execFile } from 'node:child_process';
import fs from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { decodeSealed, encodeSealed, readJsonBytes } from '../disk/json.js';
import { layout } from './layout.js';
import { publishFile } from '../disk/publish.js';
import { isAlive, processSpace } from '../disk/temporaries.js';

/** What only the caller knows. */
export interface SessionFacts {
  command: string[];
  seed: number;
  threads: number;
  executor: string;
  /** Engine.describe(): instruction set, precision, device. */
  engine: Record<string, string | number>;
  dataset: { name: string; description: string; sha256: string };
}

export interface Session extends SessionFacts {
  startedAt: string;
  /** Absent while the session runs, or when it was killed. */
  finishedAt?: string;
  elapsedMs?: number;
  /** "done", "failed", "interrupted". */
  outcome?: string;
  lethe: string;
  /** Commit of the source tree, with "-dirty" when it was changed; absent in an installed package. */
  commit?: string;
  node: string;
  platform: string;
  host: string;
  /** Absent in runs of earlier versions. */
  pid?: number;
  /** Where that number counts. */
  pidSpace?: string;
  cpu: string;
  cores: number;
  memoryBytes: number;
}

const packageRoot = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '..', '..', '..');
const keptSessions = 200;

async function version(): Promise<string> {
  const text = await fs.readFile(path.join(packageRoot, 'package.json'), 'utf8');
  return (JSON.parse(text) as { version: string }).version;
}

/** Asks git, but only when the package is the repository itself and not a dependency inside another one. */
async function commit(): Promise<string | undefined> {
  const git = async (...args: string[]): Promise<string> =>
    (await promisify(execFile)('git', ['-C', packageRoot, ...args], { timeout: 10_000 })).stdout.trim();
  try {
    if ((await git('rev-parse', '--show-toplevel')) !== packageRoot) return undefined;
    return await git('describe', '--always', '--dirty', '--abbrev=40', '--exclude=*');
  } catch {
    return undefined;
  }
}

/** Sessions of a run, oldest first; empty when none were recorded or the record is damaged. */
export async function readSessions(root: string): Promise<Session[]> {
  const bytes = await readJsonBytes(path.join(root, layout.provenance));
  const record = bytes && (decodeSealed(bytes) as { sessions: Session[] } | undefined);
  return record?.sessions ?? [];
}

/** A session of another process on this machine that still works in the run folder. */
export async function runningSession(root: string): Promise<Session | undefined> {
  const open = (await readSessions(root)).filter(({ outcome, pidSpace }) => outcome === undefined && pidSpace === processSpace);
  return open.find(({ pid }) => pid !== undefined && pid !== process.pid && isAlive(pid));
}

/** Records the start of a session; the returned function records its end. */
export async function startSession(root: string, facts: SessionFacts): Promise<(outcome: string) => Promise<void>> {
  const started = Date.now();
  const revision = await commit();
  const session: Session = {
    ...facts,
    startedAt: new Date(started).toISOString(),
    lethe: await version(),
    ...(revision === undefined ? {} : { commit: revision }),
    node: process.version,
    platform: `${process.platform} ${process.arch} ${os.release()}`,
    host: os.hostname(),
    pid: process.pid,
    pidSpace: processSpace,
    cpu: os.cpus()[0]?.model ?? 'unknown',
    cores: os.availableParallelism(),
    memoryBytes: os.totalmem(),
  };
  await store(root, session);
  return async (outcome) => {
    const finished = Date.now();
    await store(root, { ...session, finishedAt: new Date(finished).toISOString(), elapsedMs: finished - started, outcome });
  };
}

/** Adds a session or replaces the entry of the same start. */
async function store(root: string, session: Session): Promise<void> {
  const others = (await readSessions(root)).filter((other) => other.startedAt !== session.startedAt || other.host !== session.host);
  const sessions = [...others, session].slice(-keptSessions);
  await publishFile(path.join(root, layout.provenance), encodeSealed({ sessions }));
}
