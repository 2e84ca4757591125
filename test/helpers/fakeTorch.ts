/**
 * PyTorch for tests where it is not installed: speaks the files of bench/peers/train_torch.py, trains with our own engine at its portable
 * level. With FAKE_PEER=wrong its gradient is ten percent off.
 */
import fs from 'node:fs/promises';
import path from 'node:path';
import { checkEngine } from '../../src/bench/train/check.js';
import { stepCase } from '../../src/bench/train/suite.js';
import { NativeEngine } from '../../src/engines/native.js';
import { readNpy, toFloat32, writeNpy } from '../../src/store/formats/npy.js';
import type { Dataset } from '../../src/types.js';

interface TorchRequest {
  width: number;
  batchSize: number;
  mean: number[];
  std: number[];
  precisions?: string[]; // of a timing only
  learningRate: number;
  momentum: number;
  weightDecay: number;
}

const version = '0.0 (fake)';

async function check(folder: string, request: TorchRequest): Promise<object> {
  const read = (name: string): ReturnType<typeof readNpy> => readNpy(path.join(folder, name));
  const [pixels, labels, parameters] = await Promise.all(['pixels.npy', 'labels.npy', 'parameters.npy'].map(read));
  const { learningRate, momentum, weightDecay } = request;
  const dataset = {
    ...{ name: 'fake', height: 32, width: 32, channels: 3, numTrain: labels!.shape[0]!, numValidation: 0 },
    ...{ pixels: pixels!.data, labels: labels!.data, mean: request.mean, std: request.std },
  } as unknown as Dataset;
  const inputs = { dataset, parameters: toFloat32(parameters!), settings: { learningRate, momentum, weightDecay } };
  const of = stepCase(request.width, request.batchSize);
  const engine = new NativeEngine({ isa: 'portable' });
  const { numTrainable } = engine.describeNet(of.net, 1);
  const { loss, gradient, updated } = await checkEngine(engine, of, inputs, numTrainable);
  const factor = process.env['FAKE_PEER'] === 'wrong' ? 1.1 : 1;
  await writeNpy(
    path.join(folder, 'gradient.npy'),
    [gradient.length],
    gradient.map((value) => factor * value),
  );
  await writeNpy(path.join(folder, 'updated.npy'), [updated.length], updated);
  return { losses: [loss] };
}

/** The probe asks whether packages load; anything else is a script, a mode and a folder. */
export async function main([first, mode, , folder]: string[]): Promise<void> {
  if (first === '-c') return;
  const request = JSON.parse(await fs.readFile(path.join(folder!, 'request.json'), 'utf8')) as TorchRequest;
  const rates = request.precisions?.map((precision) => ({ precision, imagesPerCpuSecond: 50, steps: 2 }));
  const answer = mode === 'check' ? await check(folder!, request) : { rates };
  process.stdout.write(JSON.stringify({ version, ...answer }));
}
