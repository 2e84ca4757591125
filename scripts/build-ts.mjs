// Compiles src/ to dist/ where it is not current. The compiler writes elsewhere; dist/ stays as it is until all has compiled.
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import { devDependencies, digest, filesUnder, isCurrent, publish, root, writeStamp } from './stamp.mjs';

const inputs = digest(['src', 'tsconfig.json', 'tsconfig.build.json'], { typescript: devDependencies.typescript });
if (isCurrent('dist', inputs, ['dist'])) console.error('lethe: dist is current');
else {
  removeStale();
  // beside dist/, as source maps hold relative paths
  const fresh = path.join(root, `dist.${process.pid}.tmp`);
  try {
    compile(fresh);
    publishFolder(fresh, path.join(root, 'dist'));
  } finally {
    fs.rmSync(fresh, { recursive: true, force: true });
  }
  writeStamp('dist', inputs, ['dist']);
}

function compile(folder) {
  const { status } = spawnSync(
    process.execPath,
    [typescript(), '-p', path.join(root, 'tsconfig.build.json'), '--outDir', folder, '--noEmitOnError'],
    { cwd: root, stdio: 'inherit' },
  );
  if (status === 0) return;
  console.error('lethe: src/ does not compile; dist/ is as it was.');
  fs.rmSync(folder, { recursive: true, force: true });
  process.exit(status ?? 1);
}

function typescript() {
  try {
    return createRequire(import.meta.url).resolve('typescript/bin/tsc');
  } catch {
    console.error(`lethe: the TypeScript compiler is not installed. Run: cd "${root}" && npm ci`);
    process.exit(1);
  }
}

/** What a killed compilation has left. */
function removeStale() {
  for (const name of fs.readdirSync(root)) {
    const [, pid] = /^dist\.(\d+)\.tmp$/.exec(name) ?? [];
    if (pid !== undefined && !fs.existsSync(`/proc/${pid}`)) fs.rmSync(path.join(root, name), { recursive: true, force: true });
  }
}

/** File by file, each at once: there is no moment without a program. What is no longer made goes. */
function publishFolder(fresh, target) {
  const made = filesUnder(fresh, fs.readdirSync(fresh));
  for (const file of made) {
    const mode = file === path.join('cli', 'main.js') ? 0o755 : 0o644;
    publish(path.join(target, file), fs.readFileSync(path.join(fresh, file)), mode);
  }
  const kept = new Set(made);
  for (const file of filesUnder(target, fs.readdirSync(target))) if (!kept.has(file)) fs.rmSync(path.join(target, file));
}
