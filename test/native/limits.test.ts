/** Limits of memory, as the files of control groups tell them. */
import fs from 'node:fs';
import path from 'node:path';
import { freeMemory, memoryLimit } from '../../src/native/limits.js';
import { temporaryFolder } from '../helpers/temporary.js';

const folder = temporaryFolder();
const MiB = 2 ** 20;
let count = 0;

/** A folder that stands for "/", with these files. */
function machine(files: Record<string, string>): string {
  const root = path.join(folder, `machine-${count++}`);
  for (const [name, text] of Object.entries(files)) {
    fs.mkdirSync(path.join(root, path.dirname(name)), { recursive: true });
    fs.writeFileSync(path.join(root, name), `${text}\n`);
  }
  return root;
}

const groups = 'sys/fs/cgroup';
const unlimited = memoryLimit(machine({}));

test('of nested groups of version 2 the least limit holds', () => {
  const root = machine({
    'proc/self/cgroup': '0::/job/step/task',
    [`${groups}/job/step/task/memory.max`]: 'max',
    [`${groups}/job/step/memory.max`]: String(200 * MiB),
    [`${groups}/job/step/memory.current`]: String(50 * MiB),
    [`${groups}/job/memory.max`]: String(100 * MiB),
    [`${groups}/job/memory.current`]: String(60 * MiB),
    [`${groups}/job/memory.stat`]: `anon 1\ninactive_file ${20 * MiB}\nactive_file 5`,
  });
  expect(memoryLimit(root)).toBe(100 * MiB);
  expect(freeMemory(root)).toBe(60 * MiB);
});

test.each(['/', '/docker/of-the-host', '/../../elsewhere'])('version 1, the group is %s', (group) => {
  const root = machine({
    'proc/self/cgroup': `3:cpuset:/a\n4:memory:${group}\n0::/`,
    [`${groups}/memory/memory.limit_in_bytes`]: String(64 * MiB),
    [`${groups}/memory/memory.usage_in_bytes`]: String(14 * MiB),
  });
  expect(memoryLimit(root)).toBe(64 * MiB);
  expect(freeMemory(root)).toBe(50 * MiB);
});

test.each<Record<string, string>>([
  { 'proc/self/cgroup': '0::/', [`${groups}/memory.max`]: 'max' },
  { 'proc/self/cgroup': '4:memory:/', [`${groups}/memory/memory.limit_in_bytes`]: '9223372036854771712' },
  { 'proc/self/cgroup': 'garbage\n::\n' },
])('no limit is that of the machine: %j', (files) => {
  expect(memoryLimit(machine(files))).toBe(unlimited);
});
