/**
 * Temporary files and who writes them. A number alone does not tell a process: machines share disks, and containers of one machine count
 * their processes each from 1. So names hold the host, where its numbers count, and the number.
 */
import { createHash, randomBytes } from 'node:crypto';
import fs, { readFileSync, readlinkSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { errorCode } from '../../errors.js';

/** Nobody writes one file for so long without a byte. */
const staleHours = 24;
/** Some file systems allow 143 bytes a name. */
const mostNameBytes = 60;
const temporaryName = /^\.(.+)\.([a-z0-9]*)-(\d+)-[0-9a-f]{12}\.tmp$/;

/** The machine, since it was started, and the namespace in which the numbers of processes mean something: all that may be asked about them. */
export const processSpace = `${hostName()}${spaceSum()}`;

function hostName(): string {
  return os
    .hostname()
    .toLowerCase()
    .replaceAll(/[^a-z0-9]/g, '')
    .slice(0, 24);
}

function spaceSum(): string {
  const facts = [
    () => readFileSync('/proc/sys/kernel/random/boot_id', 'utf8'),
    () => readlinkSync('/proc/self/ns/pid'),
    // what a number counts from: namespaces get each other's inodes when they are gone
    () => statFields('1')?.[startTimeField] ?? '',
  ].map((read) => {
    try {
      return read();
    } catch {
      return '';
    }
  });
  return createHash('sha256')
    .update([os.hostname(), ...facts].join('\n'))
    .digest('hex')
    .slice(0, 8);
}

const startTimeField = 19;

/** The fields of /proc/PID/stat behind the name of the process. */
function statFields(pid: string): string[] | undefined {
  const text = readFileSync(`/proc/${pid}/stat`, 'latin1');
  return text.slice(text.lastIndexOf(')') + 2).split(' ');
}

const active = new Set<string>();

/** A name for content that becomes `file`, in the same folder. It counts as in use until it is released. */
export function takeTemporary(file: string): string {
  const writer = `${processSpace}-${process.pid}-${randomBytes(6).toString('hex')}`;
  const temporary = path.join(path.dirname(path.resolve(file)), `.${shortened(path.basename(file))}.${writer}.tmp`);
  active.add(temporary);
  return temporary;
}

export function releaseTemporary(temporary: string): void {
  active.delete(temporary);
}

/** Whole characters of a name. */
function shortened(name: string): string {
  let kept = '';
  for (const character of name) {
    if (Buffer.byteLength(kept + character) > mostNameBytes) break;
    kept += character;
  }
  return kept;
}

/** True for the name of a temporary file of any process. */
export function isTemporary(name: string): boolean {
  return temporaryName.test(name);
}

/** True where the writer of a temporary file is gone; false where that cannot be known and the file is not old. */
export async function isStale(file: string): Promise<boolean> {
  const [, , space, writer] = temporaryName.exec(path.basename(file))!;
  if (active.has(file)) return false;
  const stat = await fs.promises.stat(file).catch(() => undefined);
  if (!stat) return false;
  if (Date.now() - stat.mtimeMs > staleHours * 3600_000) return true;
  // our own number but not our file: an earlier process had it
  return space === processSpace && (Number(writer) === process.pid || !isAlive(Number(writer)));
}

/** Whether a process of this machine and this namespace runs. Asked in two ways: a wrong no takes files from a writer at work. */
export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return errorCode(error) === 'EPERM' || fs.existsSync(`/proc/${pid}`);
  }
}
