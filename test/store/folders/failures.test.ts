import fs from 'node:fs';
import path from 'node:path';
import { recordFailures } from '../../../src/store/folders/failures.js';
import { layout } from '../../../src/store/folders/layout.js';
import { temporaryFolder } from '../../helpers/temporary.js';

const root = temporaryFolder();

function lines(): Record<string, string>[] {
  const text = fs.readFileSync(path.join(root, layout.failed), 'utf8');
  expect(text.endsWith('\n')).toBe(true);
  return text
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as Record<string, string>);
}

test('a failed task is a line, also with line breaks in its message; sessions append', async () => {
  const first = { task: 'a', label: 'models 0-9', code: 'LETHE_WORKER_DIED', message: 'first\nsecond "line"\u2028' };
  const second = { task: 'b', label: 'models 10-19', code: 'LETHE_DISK_FULL', message: 'full' };
  await recordFailures(root, [first, second]);
  await recordFailures(root, [second]);
  expect(lines()).toMatchObject([first, second, second]);
  for (const { at, retry } of lines()) {
    expect(Math.abs(Date.now() - Date.parse(at!))).toBeLessThan(600_000);
    expect(retry).toBe('run the same command again');
  }
});
