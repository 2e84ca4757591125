/** One model as a safetensors file: the flat parameter buffer of an engine, tensor by tensor, and what it needs to be used elsewhere. */
import { damaged, sha256 } from '../disk/files.js';
import { parseJson } from '../disk/jsonText.js';
import { readSafetensors, type TensorFile, writeSafetensors, type Tensor } from '../formats/safetensors.js';
import type { DatasetFacts, NetSpec, ParameterTensor } from '../../types.js';

/** What a model that Lethe wrote says about itself. */
export interface ModelFacts {
  net: NetSpec;
  /** Of the data set it was trained on. */
  dataset: Pick<DatasetFacts, 'sha256' | 'mean' | 'std' | 'classNames'>;
}

/** Metadata of a checkpoint: the name of its network for people, and ModelFacts; of an ONNX file its sha256 in place of the network. */
export function factsMetadata(net: NetSpec, { sha256: dataset, mean, std, classNames }: DatasetFacts): Record<string, string> {
  const facts = { ...(net.onnx ? {} : { netSpec: net }), mean, std, classNames };
  const texts = Object.entries(facts).map(([name, value]) => [name, JSON.stringify(value)] as const);
  return { net: net.name, dataset, ...(net.onnx ? { [onnxKey]: sha256(net.onnx) } : {}), ...Object.fromEntries(texts) };
}

const onnxKey = 'onnxSha256';

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
 * The flat parameter buffer of a checkpoint, what it says about itself, and what was left out of it, for people. Any safetensors file will
 * do whose tensors have the names and shapes of the layout.
 * @throws LETHE_CHECKPOINT_MISMATCH (exit code 3) when its tensors are not those of the network; the errors of readSafetensors
 */
export async function readCheckpoint(
  path: string,
  layout: ParameterTensor[],
): Promise<{ parameters: Float32Array; metadata: Map<string, string>; notes: string[] }> {
  const file = await readSafetensors(path);
  const { metadata, counters } = file;
  const notes = counters.length > 0 ? [`${path}: ${counters.length} counters (${counters[0]!}, ...) are left out: nothing reads them`] : [];
  return { parameters: flatten(file, path, layout), metadata, notes };
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
      return parseJson(metadata.get(name) ?? '');
    } catch {
      return undefined;
    }
  };
  const [net, mean, std, classNames] = [read('netSpec') as Partial<NetSpec> | null, read('mean'), read('std'), read('classNames')];
  const isNet =
    typeof net === 'object' && net !== null && net.onnx === undefined && typeof net.input === 'object' && Array.isArray(net.layers);
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
  const action = metadata.has(onnxKey)
    ? 'Its network is an ONNX file: its tensors have the names and layouts of that file, and can be put back there.'
    : 'Use a checkpoint of lethe train or lethe unlearn; lethe train --init takes other ones.';
  const found = [...metadata.keys()].join(', ') || 'none';
  throw damaged(
    'LETHE_CHECKPOINT_FOREIGN',
    `${path} does not say which network it is`,
    'metadata netSpec, mean, std, classNames',
    found,
    action,
  );
}

/** @throws LETHE_CHECKPOINT_MISMATCH with every tensor that does not fit */
function flatten({ tensors }: TensorFile, path: string, layout: ParameterTensor[]): Float32Array {
  const known = new Set(layout.map(({ name }) => name));
  const wrong = layout.filter(({ name, shape }) => tensors.get(name)?.shape.join() !== shape.join());
  const unknown = [...tensors].filter(([name]) => !known.has(name));
  const differences = [
    ...wrong.map(({ name, shape }): Difference => ({ expected: `${name} (${shape.join(', ')})`, received: describe(tensors.get(name)) })),
    ...unknown.map(([name, tensor]): Difference => ({
      expected: `${layout.length} tensors`,
      received: `another one: ${JSON.stringify(name.slice(0, 80))} ${describe(tensor)}`,
    })),
  ];
  if (differences.length > 0) throw mismatch(path, differences);
  const parameters = new Float32Array(layout.reduce((end, tensor) => Math.max(end, tensor.offset + tensor.size), 0));
  for (const { name, offset } of layout) parameters.set(tensors.get(name)!.data, offset);
  return parameters;
}

interface Difference {
  expected: string;
  received: string;
}

function describe(tensor: Tensor | undefined): string {
  return tensor ? `(${tensor.shape.join(', ')})` : 'no such tensor';
}

const maxListed = 200;
const recipe =
  'Use the network, width and image size that the checkpoint is for. A checkpoint from PyTorch has to be rewritten with these names, weights of ' +
  'convolutions as w.permute(2, 3, 1, 0).contiguous() and of linear layers as w.t().contiguous(), norms as gamma, beta, runningMean, ' +
  'runningVariance; or export its network and train that: lethe train --engine ort --net-file model.onnx --init model.onnx.';

function mismatch(path: string, [first, ...others]: Difference[]): Error {
  const lines = others.slice(0, maxListed).map(({ expected, received }) => `  expected ${expected}, received ${received}\n`);
  const rest = others.length > maxListed ? `  and ${others.length - maxListed} more\n` : '';
  const more = others.length > 0 ? `; also\n${lines.join('')}${rest}` : '';
  return damaged(
    'LETHE_CHECKPOINT_MISMATCH',
    `${path} does not belong to this network`,
    first!.expected,
    `${first!.received}${more}`,
    recipe,
  );
}
