// Builds the addon where it is not current. CMake works in build-addon/; what it made is published only when all of it is there.
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import { dependencies, digest, isCurrent, publish, root, writeStamp } from './stamp.mjs';

const tree = path.join(root, 'build-addon');
const addon = 'build/Release/lethe.node';
/** Of `lethe bench gpu`; there is none without nvcc. */
const gpuBench = 'build/Release/lethe_gpu_bench';
const cuda = process.env.LETHE_CUDA ?? 'AUTO';

const hasNvcc = () => process.env.CUDACXX !== undefined || spawnSync('nvcc', ['--version']).status === 0;
const inputs = digest(['CMakeLists.txt', 'native'], {
  cuda: cuda === 'AUTO' ? hasNvcc() : cuda,
  nodeAddonApi: dependencies['node-addon-api'],
  nodeApiHeaders: dependencies['node-api-headers'],
});
if (isCurrent('addon', inputs, [addon])) console.error(`lethe: ${addon} is current`);
else {
  build();
  publish(path.join(root, addon), fs.readFileSync(path.join(tree, 'Release', 'lethe.node')), 0o755);
  const bench = path.join(tree, 'Release', 'lethe_gpu_bench');
  if (fs.existsSync(bench)) publish(path.join(root, gpuBench), fs.readFileSync(bench), 0o755);
  else fs.rmSync(path.join(root, gpuBench), { force: true });
  writeStamp('addon', inputs, [addon]);
}

/** Configures each time: `cmake-js build` alone ignores changed options once a cache exists. */
function build() {
  // a checkout that was moved or copied: CMake refuses a cache of another place
  const cache = path.join(tree, 'CMakeCache.txt');
  if (fs.existsSync(cache) && !fs.readFileSync(cache, 'utf8').includes(`CMAKE_HOME_DIRECTORY:INTERNAL=${root}\n`)) {
    fs.rmSync(tree, { recursive: true });
  }
  const options = ['--out', tree, '--parallel', '2', '--log-level', 'warn', `--CDLETHE_CUDA=${cuda}`, '--CDLETHE_GPU_BENCH=ON'];
  for (const verb of ['configure', 'build']) {
    const { status } = spawnSync(process.execPath, [cmakeJs(), verb, ...options], { cwd: root, stdio: 'inherit' });
    if (status === 0) continue;
    console.error(`lethe: "cmake-js ${verb}" failed. Needed: CMake >= 3.22 and a C++20 compiler (g++ >= 11).`);
    process.exit(status ?? 1);
  }
}

/** Where Node finds it: as a dependency of another project, lethe has no node_modules of its own. */
function cmakeJs() {
  try {
    const manifest = createRequire(import.meta.url).resolve('cmake-js/package.json');
    return path.join(path.dirname(manifest), 'bin', 'cmake-js');
  } catch {
    console.error(`lethe: cmake-js, which builds the addon, is not installed. Run: cd "${root}" && npm ci`);
    process.exit(1);
  }
}
