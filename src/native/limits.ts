/** What of the machine's memory this process may take: control groups of both versions, its own and all above it. */
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';

interface GroupMemory {
  limit: number;
  used: number;
}

/** Files of a group, by version of control groups. */
const names = {
  first: { limit: 'memory.limit_in_bytes', used: 'memory.usage_in_bytes', cache: 'total_inactive_file' },
  second: { limit: 'memory.max', used: 'memory.current', cache: 'inactive_file' },
} as const;

/** Bytes that exist for this process: the machine's, or the least limit of its groups. */
export function memoryLimit(root = ''): number {
  // Node knows the limit of the innermost group; 0 or absurdly much: none
  const known = process.constrainedMemory();
  return groups(root).reduce((least, { limit }) => Math.min(least, limit), Math.min(os.totalmem(), known > 0 ? known : Infinity));
}

/** Bytes that are free for this process now. */
export function freeMemory(root = ''): number {
  return Math.max(
    0,
    groups(root).reduce((least, { limit, used }) => Math.min(least, limit - used), process.availableMemory()),
  );
}

/** Half of what is free: the other half stays for the page cache, which reads of outputs live on. */
export function defaultMemory(): number {
  return Math.floor(freeMemory() / 2);
}

/** Groups with a limit. `root` is what stands before /proc and /sys. */
function groups(root: string): GroupMemory[] {
  return (read(`${root}/proc/self/cgroup`) ?? '').split('\n').flatMap((line) => {
    const [, controllers, group] = /^\d+:([^:]*):(.*)$/.exec(line) ?? [];
    if (controllers === undefined || group === undefined) return [];
    if (controllers === '') return levels(`${root}/sys/fs/cgroup`, group, 'second');
    return controllers.split(',').includes('memory') ? levels(`${root}/sys/fs/cgroup/memory`, group, 'first') : [];
  });
}

/** In a container the path of the group may be the host's: what is not there is passed over. */
function levels(mount: string, group: string, version: keyof typeof names): GroupMemory[] {
  const found: GroupMemory[] = [];
  let at = path.posix.normalize(`/${group}`);
  for (;;) {
    const memory = memoryOf(path.posix.join(mount, at), version);
    if (memory) found.push(memory);
    if (at === '/') return found;
    at = path.posix.dirname(at);
  }
}

function memoryOf(folder: string, version: keyof typeof names): GroupMemory | undefined {
  const { limit: limitFile, used: usedFile, cache } = names[version];
  const limit = number(read(path.posix.join(folder, limitFile)));
  if (limit === undefined || limit >= os.totalmem()) return undefined;
  // files that nobody uses go when memory is wanted
  const unused = number(new RegExp(`^${cache} (\\d+)$`, 'm').exec(read(path.posix.join(folder, 'memory.stat')) ?? '')?.[1]) ?? 0;
  return { limit, used: Math.max(0, (number(read(path.posix.join(folder, usedFile))) ?? 0) - unused) };
}

/** "max" and nothing are no numbers. */
function number(text: string | undefined): number | undefined {
  return text !== undefined && /^\s*\d+\s*$/.test(text) ? Number(text) : undefined;
}

function read(file: string): string | undefined {
  try {
    return fs.readFileSync(file, 'utf8');
  } catch {
    return undefined;
  }
}
