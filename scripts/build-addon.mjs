// Configures and builds the addon: `cmake-js build` alone ignores changed options once a cache exists.
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import { fileURLToPath } from 'node:url';
import path from 'node:path';

const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '..');
const cmakeJs = path.join(root, 'node_modules', 'cmake-js', 'bin', 'cmake-js');
// the program of `lethe bench gpu` is built too where nvcc is
const options = ['--CDLETHE_CUDA=' + (process.env.LETHE_CUDA ?? 'AUTO'), '--CDLETHE_GPU_BENCH=ON'];

// a checkout that was moved or copied: CMake refuses a cache of another place
const cache = path.join(root, 'build', 'CMakeCache.txt');
if (fs.existsSync(cache) && !fs.readFileSync(cache, 'utf8').includes(`CMAKE_HOME_DIRECTORY:INTERNAL=${root}\n`)) {
  fs.rmSync(path.join(root, 'build'), { recursive: true });
}

for (const verb of ['configure', 'build']) {
  const result = spawnSync(process.execPath, [cmakeJs, verb, '--parallel', '2', '--log-level', 'warn', ...options], {
    cwd: root,
    stdio: 'inherit',
  });
  if (result.status !== 0) {
    console.error(`lethe: "cmake-js ${verb}" failed. Needed: CMake >= 3.22 and a C++20 compiler (g++ >= 11).`);
    process.exit(result.status ?? 1);
  }
}
