/** The rivals: other solvers on the same problem, in processes of their own pinned to the core that we are measured on. */
import fs from 'node:fs/promises';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { unpackMasks } from '../data/masks.js';
import { ExitCode, LetheError } from '../errors.js';
import { writeNpy } from '../store/formats/npy.js';
import type { Masks } from '../types.js';
import { runChild, type ChildOptions } from './process.js';

const scripts = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '..', '..', 'bench', 'peers');

/** A program of somebody else's that is measured beside ours. */
export interface Rival {
  name: string;
  command: string;
  script: string;
  /** Arguments that load everything the script needs and do nothing else. */
  probe: string[];
  /** How to get what it needs: a sentence. */
  install: string;
}

/** A rival of the Lasso. */
export interface Peer extends Rival {
  /** The peer's own stopping tolerances, loosest first: the first that reaches our gap is timed. */
  tolerances: number[];
  /** For an optimum to compare objectives with. */
  tightTolerance: number;
  /** What its users get when they set none; timed as a row of its own. */
  defaultTolerance?: number;
}

/** The programs that run the peers: paths, or names on the PATH. */
export const defaultInterpreters = { python: 'python3', rscript: 'Rscript' };

/** PyTorch, the rival of training. */
export function torchPeer(python = defaultInterpreters.python): Rival {
  return { name: 'torch', script: path.join(scripts, 'train_torch.py'), ...inPython(python, ['numpy', 'torch'], 'numpy torch') };
}

function inPython(command: string, modules: readonly string[], packages: string): Pick<Rival, 'command' | 'probe' | 'install'> {
  return {
    command,
    probe: ['-c', probeProgram, ...modules],
    install: `For example: python3 -m venv peers && peers/bin/pip install ${packages}, then --python peers/bin/python3.`,
  };
}

/** Says which interpreter it is and what it lacks. */
const probeProgram = `
import importlib, sys
problems = []
for name in sys.argv[1:]:
    try:
        importlib.import_module(name)
    except Exception as error:
        problems.append(f"{name} ({error})")
if problems:
    sys.exit(f"{sys.executable} (Python {sys.version.split()[0]}) cannot import " + ", ".join(problems))
`;

/** The rivals of the Lasso. */
export function knownPeers({ python, rscript } = defaultInterpreters): Peer[] {
  return [
    {
      name: 'sklearn',
      script: path.join(scripts, 'lasso_sklearn.py'),
      ...inPython(python, ['numpy', 'sklearn.linear_model'], 'numpy scikit-learn'),
      // of the gap relative to ||y||^2, and of the largest step relative to the largest weight
      tolerances: [4e-4, 2e-4, 1e-4, 7e-5, 5e-5, 3e-5, 2e-5, 1e-5],
      tightTolerance: 1e-9,
    },
    {
      name: 'glmnet',
      command: rscript,
      script: path.join(scripts, 'lasso_glmnet.R'),
      probe: ['-e', 'library(glmnet)'],
      install: 'On Debian: apt-get install --no-install-recommends r-cran-glmnet. Another R is named by --rscript PATH.',
      // of the largest decrease of the objective in a sweep, relative to the null deviance
      tolerances: [1e-7, 3e-8, 1e-8, 3e-9, 1e-9, 3e-10, 1e-10, 3e-11, 1e-11],
      tightTolerance: 1e-13,
      defaultTolerance: 1e-7,
    },
  ];
}

/** What a peer reads: see the head of bench/peers/lasso_sklearn.py. */
export interface PeerFiles {
  folder: string;
  numTargets: number;
  numTrain: number;
}

/** A sequence of lambdas a target, descending, and the place of the one whose weights count. */
export interface Walk {
  lambdas: number[];
  selected: number;
}

/** outputs: (masks.numModels, numTargets). grids: named ways to reach the selected lambda, one walk a target. */
export async function writePeerFiles(
  folder: string,
  masks: Masks,
  outputs: Float32Array,
  grids: ReadonlyMap<string, Walk[]>,
): Promise<PeerFiles> {
  const { numModels, numTrain } = masks;
  const numTargets = outputs.length / numModels;
  await writeNpy(path.join(folder, 'masks.npy'), [numModels, numTrain], unpackMasks(masks), { bool: true });
  await writeNpy(path.join(folder, 'outputs.npy'), [numModels, numTargets], outputs);
  for (const [name, walks] of grids) {
    const length = walks.reduce((most, { lambdas }) => Math.max(most, lambdas.length), 0);
    const padded = new Float64Array(numTargets * length);
    walks.forEach(({ lambdas }, target) => {
      padded.set(lambdas, target * length);
    });
    await writeNpy(path.join(folder, `lambdas-${name}.npy`), [numTargets, length], padded);
    await writeNpy(
      path.join(folder, `selected-${name}.npy`),
      [numTargets],
      Int32Array.from(walks, ({ selected }) => selected),
    );
  }
  return { folder, numTargets, numTrain };
}

/** Those that run here, and why the others do not. */
export async function probePeers<T extends Rival>(
  peers: readonly T[],
  say: (line: string) => void,
): Promise<{ available: T[]; problems: string[] }> {
  const available: T[] = [];
  const problems: string[] = [];
  for (const peer of peers) {
    try {
      await probePeer(peer);
      available.push(peer);
    } catch (error) {
      problems.push(error instanceof Error ? error.message : String(error));
      say(problems.at(-1)!);
    }
  }
  return { available, problems };
}

/** @throws LETHE_PEER_MISSING (exit code 4): what its interpreter lacks, and how to get it */
export async function probePeer(peer: Rival): Promise<void> {
  await runChild(peer.command, peer.probe, { cores: [] }).catch((cause: unknown) => {
    throw new LetheError('LETHE_PEER_MISSING', `${peer.name} cannot be run`, {
      expected: `${peer.command} with ${peer.name}`,
      received: cause instanceof LetheError ? cause.received! : String(cause),
      action: peer.install,
      exitCode: ExitCode.environment,
      cause,
    });
  });
}

export interface PeerRun {
  version: string;
  gramSeconds: number;
  runs: {
    tolerance: number;
    /** Of all targets together. */
    cpuSeconds: number;
    weights: Float32Array; // (numTargets, numTrain)
  }[];
}

interface PeerDocument {
  version: string;
  gramSeconds: number;
  runs: { tolerance: number; cpuSeconds: number; weights: string }[];
}

export interface PeerRequest {
  grid: string;
  tolerances: readonly number[];
  /** The first so many targets. */
  numTargets: number;
  precision: 'fast' | 'tight';
}

/** @throws LETHE_BENCH_PROCESS (exit code 1) */
export async function runPeer(
  peer: Peer,
  files: PeerFiles,
  request: PeerRequest,
  place: Omit<ChildOptions, 'environment'>,
): Promise<PeerRun> {
  const { folder, numTrain } = files;
  const args = ['--folder', folder, '--grid', request.grid, '--tolerances', request.tolerances.join(',')];
  args.push('--targets', String(request.numTargets), '--precision', request.precision);
  await runChild(peer.command, [peer.script, ...args], { ...place, environment: peerEnvironment() });
  const document = JSON.parse(await fs.readFile(path.join(folder, `${peer.name}.json`), 'utf8')) as PeerDocument;
  const runs = await Promise.all(
    document.runs.map(async ({ tolerance, cpuSeconds, weights }) => {
      const bytes = await fs.readFile(path.join(folder, weights));
      const values = new Float32Array(request.numTargets * numTrain);
      if (bytes.byteLength !== values.byteLength) {
        throw new LetheError('LETHE_BENCH_PROCESS', `${peer.name} wrote weights of another shape`, {
          expected: `(${request.numTargets}, ${numTrain}) float32`,
          received: `${bytes.byteLength} bytes`,
          exitCode: ExitCode.taskFailed,
        });
      }
      new Uint8Array(values.buffer).set(bytes);
      return { tolerance, cpuSeconds, weights: values };
    }),
  );
  return { version: document.version, gramSeconds: document.gramSeconds, runs };
}

/** One thread, and the BLAS kernels that the library itself chooses for this processor. */
export function peerEnvironment(from: NodeJS.ProcessEnv = process.env): NodeJS.ProcessEnv {
  const chosenForUs = ['OPENBLAS_CORETYPE', 'OPENBLAS_L2_SIZE'];
  const kept = Object.entries(from).filter(([name]) => !chosenForUs.includes(name));
  return { ...Object.fromEntries(kept), OPENBLAS_NUM_THREADS: '1', OMP_NUM_THREADS: '1', MKL_NUM_THREADS: '1' };
}
