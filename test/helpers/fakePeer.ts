/**
 * A rival for tests where none is installed: speaks the files of bench/peers, solves with our own fit. With FAKE_PEER=wrong its weights are
 * ten percent off.
 */
import fs from 'node:fs/promises';
import path from 'node:path';
import { packMasks } from '../../src/data/masks.js';
import { defaultFitOptions, denseWeights, fitDatamodels } from '../../src/datamodels/fit.js';
import { readNpy, toFloat32 } from '../../src/store/formats/npy.js';

interface PeerArguments {
  folder: string;
  grid: string;
  tolerances: string;
  targets: string;
}

async function solve({ folder, grid, tolerances, targets }: PeerArguments): Promise<void> {
  const read = (name: string): ReturnType<typeof readNpy> => readNpy(path.join(folder, `${name}.npy`));
  const [masks, outputs, lambdas, selected] = await Promise.all(
    ['masks', 'outputs', `lambdas-${grid}`, `selected-${grid}`].map((name) => read(name)),
  );
  const [m, n] = masks!.shape as [number, number];
  const stride = outputs!.shape[1]!;
  const factor = process.env['FAKE_PEER'] === 'wrong' ? 1.1 : 1;
  const packed = packMasks(masks!.data as Uint8Array, m, n);
  const rows: Float32Array[] = [];
  for (let target = 0; target < Number(targets); target++) {
    const y = toFloat32(outputs!).filter((_, at) => at % stride === target);
    const lambda = lambdas!.data[target * lambdas!.shape[1]! + selected!.data[target]!]!;
    const options = { ...defaultFitOptions, select: 'none', lambda, gapTolerance: 1e-8 } as const;
    const fitted = await fitDatamodels({ masks: packed, outputs: y, numTargets: 1 }, options, { threads: 1 });
    rows.push(denseWeights(fitted).map((weight) => factor * weight));
  }
  await fs.writeFile(
    path.join(folder, 'fake.f32'),
    Buffer.concat(rows.map((row) => Buffer.from(row.buffer, row.byteOffset, row.byteLength))),
  );
  const runs = tolerances.split(',').map((tolerance) => ({ tolerance: Number(tolerance), cpuSeconds: 0.5, weights: 'fake.f32' }));
  await fs.writeFile(path.join(folder, 'sklearn.json'), JSON.stringify({ version: '0.0 (fake)', gramSeconds: 0.25, runs }));
}

/** The probe asks whether packages load; anything else is a script and its arguments. */
export async function main([first, ...rest]: string[]): Promise<void> {
  if (first === '-c') return;
  const pairs = rest.flatMap((word, at) => (at % 2 === 0 ? [[word.slice(2), rest[at + 1]!]] : []));
  await solve(Object.fromEntries(pairs) as PeerArguments);
}
