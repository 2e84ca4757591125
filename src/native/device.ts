/** Where an op runs that has a twin on the GPU. */
import { ExitCode, LetheError } from '../errors.js';
import { buildCommand, nativeAddon } from './addon.js';

export const deviceNames = ['cpu', 'cuda', 'auto'] as const;
export type DeviceName = (typeof deviceNames)[number];

/** Only 'auto' may choose. @throws LETHE_GPU_UNAVAILABLE (exit code 4) */
export function chooseDevice(choice: DeviceName): 'cpu' | 'cuda' {
  if (choice === 'cpu') return 'cpu';
  const { built, devices, problem } = nativeAddon().systemInfo().cuda;
  if (devices.length > 0) return 'cuda';
  if (choice === 'auto') return 'cpu';
  throw new LetheError('LETHE_GPU_UNAVAILABLE', 'there is no GPU to run on', {
    expected: 'an NVIDIA GPU with a working driver, and an addon built with CUDA',
    received: problem,
    action: built ? 'Use --device cpu, or mend the driver (nvidia-smi).' : `Use --device cpu, or build where nvcc is: ${buildCommand('LETHE_CUDA=ON')}`,
    exitCode: ExitCode.environment,
  });
}
