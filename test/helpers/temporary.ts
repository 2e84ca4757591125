/** A folder under the system's temporary folder, gone after the tests of the file. */
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';

export function temporaryFolder(): string {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'lethe-test-'));
  afterAll(() => {
    fs.rmSync(folder, { recursive: true, force: true });
  });
  return folder;
}
