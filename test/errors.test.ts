/** Errors of the operating system become ours: with the path, what the system said, and a way on. */
import fs from 'node:fs';
import { LetheError, systemError } from '../src/errors.js';

test('an error of a system call has a code, the path and what to do', async () => {
  const thrown: unknown = await fs.promises.readdir('/no/such/folder').catch((error: unknown) => error);
  expect(systemError(thrown)).toMatchObject({ code: 'LETHE_IO_FAILED', exitCode: 4, action: 'Check the path.', cause: thrown });
  expect(systemError(thrown)!.message).toMatch(/scandir of \/no\/such\/folder; received ENOENT: /);
});

test.each(['EMFILE', 'EIO', 'ENOSPC', 'EROFS', 'EACCES', 'ENAMETOOLONG', 'ESTRANGE'])('%s has a remedy', (code) => {
  const error = Object.assign(new Error(`${code}: failed, read`), { code, syscall: 'read' });
  expect(systemError(error)?.action).toMatch(/^[A-Z].*\.$/);
});

test('other errors pass unchanged', () => {
  for (const error of [new TypeError('x'), new LetheError('LETHE_DISK_FULL', 'x'), 'x', undefined])
    expect(systemError(error)).toBeUndefined();
});
