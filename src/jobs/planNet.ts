/** The network file of a plan that names one (`net: { file: model.onnx }`). */
import path from 'node:path';
import { LetheError } from '../errors.js';
import { readWhole, sha256 } from '../store/disk/files.js';
import type { Plan } from '../types.js';

/**
 * The bytes of the ONNX file of a plan, found beside the plan file; undefined where the plan names a network of its own.
 * @throws LETHE_FILE_MISSING, LETHE_NET_CHANGED (exit code 2): a resolved plan knows the sha256
 */
export async function readPlanNet(planFile: string, net: Plan['net']): Promise<Uint8Array | undefined> {
  if (!('file' in net)) return undefined;
  const { bytes, sum } = await readNet(planFile, net.file);
  if (sum !== net.sha256) {
    throw new LetheError('LETHE_NET_CHANGED', `${net.file} is not the network of this plan`, {
      expected: `sha256 ${net.sha256}`,
      received: sum,
      action: 'Restore the file, or remove net.sha256 and start another run.',
    });
  }
  return bytes;
}

/** sha256 of the file; what a resolved plan keeps of it. */
export async function planNetSum(planFile: string, file: string): Promise<string> {
  return (await readNet(planFile, file)).sum;
}

async function readNet(planFile: string, file: string): Promise<{ bytes: Uint8Array; sum: string }> {
  const found = path.resolve(path.dirname(planFile), file);
  const bytes = await readWhole(found);
  if (!bytes) {
    throw new LetheError('LETHE_FILE_MISSING', 'the network of the plan is not there', {
      expected: `an ONNX file ${found}`,
      action: 'Paths of net.file count from the folder of the plan.',
    });
  }
  return { bytes, sum: sha256(bytes) };
}
