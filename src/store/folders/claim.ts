/** Results that are not mixed: a folder belongs to the command that came first, and a file of another result is not overwritten. */
import fs from 'node:fs/promises';
import path from 'node:path';
import { LetheError } from '../../errors.js';
import { hashFile, readWhole } from '../disk/files.js';
import { decodeSealed, encodeSealed } from '../disk/json.js';
import { differenceText } from './planIdentity.js';
import { type Content, publishFile, publishNew } from '../disk/publish.js';

/** What decides the bytes of a result, and nothing else. */
export type Command = Record<string, unknown>;

export const claimFile = 'command.json';

/** Of commands at once one is first. @throws what `refuse` makes of the differences, where another command was first */
export async function claim(file: string, command: Command, refuse: (differences: string) => LetheError): Promise<void> {
  const mine = encodeSealed(command);
  if (await publishNew(file, mine)) return;
  const theirs = await readClaim(file);
  if (!theirs) {
    await publishFile(file, mine); // damaged: results say for themselves what made them
    return;
  }
  const differences = differenceText(theirs, command, 'there');
  if (differences !== undefined) throw refuse(differences);
}

/** Undefined where there is none, or it is damaged. */
export async function readClaim(file: string): Promise<Command | undefined> {
  const bytes = await readWhole(file);
  return bytes && (decodeSealed(bytes) as Command | undefined);
}

/** Claims a folder for files that do not say themselves what they were made of, and fills it. @throws LETHE_OUT_TAKEN (exit code 2) */
export async function fillFolder<Made>(folder: string, command: Command, work: () => Promise<Made>): Promise<Made> {
  const take = (): Promise<void> => claim(path.join(folder, claimFile), command, (differences) => taken(folder, differences));
  return whileClaimed(folder, take, work);
}

/** A command that ends before it has made anything leaves no claim: who mends its options may use the same folder. */
export async function whileClaimed<T>(folder: string, take: () => Promise<void>, work: () => Promise<T>): Promise<T> {
  const wasThere = await isThere(folder);
  await take();
  try {
    return await work();
  } catch (error) {
    const names = await fs.readdir(folder).catch((): string[] => []);
    if (names.length === 1 && names[0] === claimFile) {
      await fs.rm(path.join(folder, claimFile), { force: true }).catch(() => undefined);
      if (!wasThere) await fs.rmdir(folder).catch(() => undefined);
    }
    throw error;
  }
}

async function isThere(folder: string): Promise<boolean> {
  return (await fs.stat(folder).catch(() => undefined)) !== undefined;
}

/**
 * Publishes a result under the name that somebody chose for it.
 * @throws LETHE_OUT_TAKEN (exit code 2) where another result has that name; LETHE_DISK_FULL, LETHE_FILE_UNWRITABLE (4)
 */
export async function publishResult(file: string, content: Content, expectedBytes?: number): Promise<void> {
  await publishNew(file, content, expectedBytes, async (made) => {
    const there = await hashFile(file);
    if (there?.sha256 !== made.sha256) throw taken(file, `another one of ${there?.bytes ?? 0} bytes`);
  });
}

/** For results that take long and differ each time: said before they are made. @throws LETHE_OUT_TAKEN (exit code 2) */
export async function requireFree(file: string | undefined): Promise<void> {
  const there = file === undefined ? undefined : await hashFile(file);
  if (there) throw taken(file!, `one of ${there.bytes} bytes`);
}

function taken(where: string, received: string): LetheError {
  return new LetheError('LETHE_OUT_TAKEN', `${path.resolve(where)} holds another result`, {
    expected: 'a new name, or the result of the same command',
    received,
    action: 'Give another --out, or remove what is there.',
  });
}
