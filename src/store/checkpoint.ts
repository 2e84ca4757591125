/** One model as a safetensors file: the flat parameter buffer of an engine, tensor by tensor. */
import { damaged } from './files.js';
import { readSafetensors, writeSafetensors, type Tensor } from './safetensors.js';
import type { ParameterTensor } from '../types.js';

/** `parameters` is the flat buffer that `layout` describes. @throws LETHE_SHAPE_MISMATCH, LETHE_DISK_FULL, LETHE_FILE_UNWRITABLE */
export async function writeCheckpoint(
  path: string,
  layout: ParameterTensor[],
  parameters: Float32Array,
  metadata: Record<string, string>,
): Promise<void> {
  const tensors = layout.map(({ name, shape, offset, size }): [string, Tensor] => [
    name,
    { shape, data: parameters.subarray(offset, offset + size) },
  ]);
  await writeSafetensors(path, tensors, metadata);
}

/**
 * The flat parameter buffer of a checkpoint.
 * @throws LETHE_CHECKPOINT_MISMATCH (exit code 3) when its tensors are not those of the network; the errors of readSafetensors
 */
export async function readCheckpoint(path: string, layout: ParameterTensor[]): Promise<Float32Array> {
  const { tensors } = await readSafetensors(path);
  const parameters = new Float32Array(layout.reduce((end, tensor) => Math.max(end, tensor.offset + tensor.size), 0));
  for (const { name, shape, offset } of layout) {
    const tensor = tensors.get(name);
    if (tensor?.shape.join() !== shape.join()) throw mismatch(path, `${name} (${shape.join(', ')})`, describe(tensor));
    parameters.set(tensor.data, offset);
  }
  if (tensors.size !== layout.length) throw mismatch(path, `${layout.length} tensors`, `${tensors.size} tensors`);
  return parameters;
}

function describe(tensor: Tensor | undefined): string {
  return tensor ? `(${tensor.shape.join(', ')})` : 'no such tensor';
}

function mismatch(path: string, expected: string, received: string): Error {
  const action = 'Use the network and width that the checkpoint was trained with.';
  return damaged('LETHE_CHECKPOINT_MISMATCH', `${path} does not belong to this network`, expected, received, action);
}
