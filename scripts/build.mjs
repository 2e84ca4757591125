// `npm run build`, and `prepare` of `npm ci`: builds what is not current.
import { spawnSync } from 'node:child_process';
import path from 'node:path';
import { root } from './stamp.mjs';

// npx runs `prepare` too, with its output hidden and for users who may not write here: it builds nothing
if (process.env.npm_command !== 'exec') {
  for (const script of ['build-addon.mjs', 'build-ts.mjs']) {
    const { status } = spawnSync(process.execPath, [path.join(root, 'scripts', script)], { stdio: 'inherit' });
    if (status !== 0) process.exit(status ?? 1);
  }
}
