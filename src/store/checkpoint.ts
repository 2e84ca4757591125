/** One model as a safetensors file: the flat parameter buffer of an engine, tensor by tensor, and what it needs to be used elsewhere. */
import { damaged } from './files.js';
import { readSafetensors, type TensorFile, writeSafetensors, type Tensor } from './safetensors.js';
import type { DatasetFacts, NetSpec, ParameterTensor } from '../types.js';

/** What a model that Lethe wrote says about itself. */
export interface ModelFacts {
  net: NetSpec;
  /** Of the data set it was trained on. */
  dataset: Pick<DatasetFacts, 'sha256' | 'mean' | 'std' | 'classNames'>;
}

/** Metadata of a checkpoint: the name of its network for people, and ModelFacts. */
export function factsMetadata(net: NetSpec, { sha256, mean, std, classNames }: DatasetFacts): Record<string, string> {
  const facts = { netSpec: net, mean, std, classNames };
  const texts = Object.entries(facts).map(([name, value]) => [name, JSON.stringify(value)] as const);
  return { net: net.name, dataset: sha256, ...Object.fromEntries(texts) };
}

/** `parameters` is the flat buffer that `layout` describes. @throws LETHE_SHAPE_MISMATCH, LETHE_DISK_FULL, LETHE_FILE_UNWRITABLE */
export async function writeCheckpoint(
  path: string,
  layout: ParameterTensor[],
  parameters: Float32Array,
  metadata: Record<string, string>,
  publish?: Parameters<typeof writeSafetensors>[3],
): Promise<void> {
  const tensors = layout.map(({ name, shape, offset, size }): [string, Tensor] => [
    name,
    { shape, data: parameters.subarray(offset, offset + size) },
  ]);
  await writeSafetensors(path, tensors, metadata, publish);
}

/**
 * The flat parameter buffer of a checkpoint, and what it says about itself. Any safetensors file will do whose tensors have the names and
 * shapes of the layout.
 * @throws LETHE_CHECKPOINT_MISMATCH (exit code 3) when its tensors are not those of the network; the errors of readSafetensors
 */
export async function readCheckpoint(
  path: string,
  layout: ParameterTensor[],
): Promise<{ parameters: Float32Array; metadata: Map<string, string> }> {
  const file = await readSafetensors(path);
  return { parameters: flatten(file, path, layout), metadata: file.metadata };
}

/**
 * A model that Lethe wrote, with its network and normalisation. `layoutOf`: Engine.parameters.
 * @throws LETHE_CHECKPOINT_FOREIGN (exit code 3) when the file does not say which network it is; the errors of readCheckpoint and layoutOf
 */
export async function readModel(
  path: string,
  layoutOf: (net: NetSpec) => ParameterTensor[],
): Promise<ModelFacts & { parameters: Float32Array }> {
  const file = await readSafetensors(path);
  const facts = readFacts(file.metadata, path);
  return { ...facts, parameters: flatten(file, path, layoutOf(facts.net)) };
}

function readFacts(metadata: Map<string, string>, path: string): ModelFacts {
  const read = (name: string): unknown => {
    try {
      return JSON.parse(metadata.get(name) ?? '');
    } catch {
      return undefined;
    }
  };
  const [net, mean, std, classNames] = [read('netSpec') as Partial<NetSpec> | null, read('mean'), read('std'), read('classNames')];
  const isNet = typeof net === 'object' && net !== null && typeof net.input === 'object' && Array.isArray(net.layers);
  const all = (value: unknown, type: string) => Array.isArray(value) && value.every((item) => typeof item === type);
  if (isNet && all(mean, 'number') && all(std, 'number') && all(classNames, 'string')) {
    const dataset = {
      sha256: metadata.get('dataset') ?? '',
      mean: mean as number[],
      std: std as number[],
      classNames: classNames as string[],
    };
    return { net: net as NetSpec, dataset };
  }
  const action = 'Use a checkpoint of lethe train or lethe unlearn; lethe train --init takes other ones.';
  const found = [...metadata.keys()].join(', ') || 'none';
  throw damaged(
    'LETHE_CHECKPOINT_FOREIGN',
    `${path} does not say which network it is`,
    'metadata netSpec, mean, std, classNames',
    found,
    action,
  );
}

function flatten({ tensors }: TensorFile, path: string, layout: ParameterTensor[]): Float32Array {
  const parameters = new Float32Array(layout.reduce((end, tensor) => Math.max(end, tensor.offset + tensor.size), 0));
  for (const { name, shape, offset } of layout) {
    const tensor = tensors.get(name);
    if (tensor?.shape.join() !== shape.join()) throw mismatch(path, `${name} (${shape.join(', ')})`, describe(tensor));
    parameters.set(tensor.data, offset);
  }
  const known = new Set(layout.map(({ name }) => name));
  const unknown = [...tensors.keys()].filter((name) => !known.has(name));
  if (unknown.length > 0) {
    const shown = unknown.slice(0, 3).map((name) => JSON.stringify(name.slice(0, 80)));
    throw mismatch(path, `${layout.length} tensors`, `${tensors.size}, among them ${shown.join(', ')}`);
  }
  return parameters;
}

function describe(tensor: Tensor | undefined): string {
  return tensor ? `(${tensor.shape.join(', ')})` : 'no such tensor';
}

function mismatch(path: string, expected: string, received: string): Error {
  const action = 'Use the network, width and image size that the checkpoint is for; weights of convolutions are (kernel, kernel, in, out).';
  return damaged('LETHE_CHECKPOINT_MISMATCH', `${path} does not belong to this network`, expected, received, action);
}
