/** Which constants of an ONNX file are trained, each under a name of its own, so that none is missed, frozen or tied to another. */
import { LetheError } from '../errors.js';
import { type GraphParameter, sizeOf } from './graph/types.js';
import { leadingTo } from './onnxOrder.js';
import type { ReadModel } from './onnxReader.js';
import { arithmetic, commonValue, type Known, rolesOf, type Stored, type Use } from './onnxRoles.js';
import type { OnnxConstant, OnnxNode } from './onnxWriter.js';

export interface FoundParameters {
  /** Those that lead to the logits, reading each parameter under its own name. */
  nodes: OnnxNode[];
  /** Trainable ones first. */
  parameters: GraphParameter[];
  /** The file's own values of the parameters, in order: (numParameters). */
  values: Float32Array;
  /** What the nodes read besides. */
  constants: OnnxConstant[];
  /** What a user should know before training, a line each. */
  notes: string[];
}

/**
 * `ordered`: the nodes in an order in which each comes after those it reads. `own`: the file is of exportOnnx, whose factors are numbers
 * of the architecture.
 * @throws LETHE_ONNX_UNSUPPORTED names what would be missed or tied
 */
export function findParameters(model: ReadModel, ordered: OnnxNode[], logits: string, own: boolean): FoundParameters {
  const constants = new Map(model.constants.map((constant) => [constant.name, constant]));
  const { nodes, asRead, aliases } = withoutAliases(ordered, constants);
  const { uses, fixed } = collect(model, nodes, constants, own);
  const place = new Map(model.nodes.map((node, i) => [node.outputs[0], i]));
  uses.sort((a, b) => place.get(a.node.outputs[0])! - place.get(b.node.outputs[0])! || a.input - b.input);
  const live = leadingTo(aliases.get(logits) ?? logits, nodes);
  const used = usedIn(live, uses);
  const taken = new Set([...constants.keys(), ...nodes.flatMap(({ outputs }) => outputs)]);
  const named = nameUses(used, { fixed, asRead, taken });
  const rewritten = readingThem(live, named);
  return {
    nodes: rewritten,
    ...layOut(named),
    constants: left(rewritten, constants, named),
    notes: own ? [] : notesOf(model, { live, named, fixed }),
  };
}

/** Identity nodes of constants are other names of these. */
function withoutAliases(
  ordered: OnnxNode[],
  constants: Map<string, OnnxConstant>,
): { nodes: OnnxNode[]; asRead: Map<OnnxNode, string[]>; aliases: Map<string, string> } {
  const aliases = new Map<string, string>();
  const asRead = new Map<OnnxNode, string[]>();
  const nodes: OnnxNode[] = [];
  for (const node of ordered) {
    const inputs = node.inputs.map((name) => aliases.get(name) ?? name);
    if (node.operator === 'Identity' && constants.has(inputs[0] ?? '')) aliases.set(node.outputs[0]!, inputs[0]!);
    else {
      const plain = { ...node, inputs };
      nodes.push(plain);
      asRead.set(plain, node.inputs);
    }
  }
  return { nodes, asRead, aliases };
}

/** Every use of a constant as a parameter, and the constants that stay, by name. */
function collect(
  model: ReadModel,
  nodes: OnnxNode[],
  constants: Map<string, OnnxConstant>,
  own: boolean,
): { uses: Use[]; fixed: Map<string, OnnxNode> } {
  const known = new Map<string, Known>(model.inputs.map(({ name }) => [name, { kind: 'images' }]));
  for (const constant of model.constants) {
    const single = constant.values.length === 1 && model.constantNodes.has(constant.name);
    const number = constant.values instanceof BigInt64Array || single;
    known.set(constant.name, number ? { kind: 'number' } : { kind: 'stored', source: constant, shape: constant.shape, moved: false });
  }
  const uses: Use[] = [];
  const fixed = new Map<string, OnnxNode>();
  for (const node of nodes) {
    const inputs = node.inputs.map((name, i) => {
      const value = name === '' ? undefined : known.get(name);
      const factor = own && value?.kind === 'stored' && value.shape.length === 0;
      // a bias or weight of one element may come from a Constant node
      const weight = value?.kind === 'number' && isWeight(node, i) ? constants.get(name) : undefined;
      if (weight?.values instanceof Float32Array)
        return { kind: 'stored', source: weight, shape: weight.shape, moved: false } satisfies Stored;
      return factor ? ({ kind: 'number' } satisfies Known) : value;
    });
    const roles = rolesOf(node, inputs, constants);
    for (const use of roles.uses) uses.push(use);
    for (const { source } of roles.fixed) fixed.set(source.name, node);
    for (const output of node.outputs) known.set(output, roles.output);
  }
  return { uses, fixed };
}

function isWeight({ operator }: OnnxNode, input: number): boolean {
  return input > 0 && ['Conv', 'Gemm', 'MatMul', 'BatchNormalization'].includes(operator);
}

/** The uses of nodes that lead to the logits. @throws LETHE_ONNX_UNSUPPORTED where another branch has parameters of its own */
function usedIn(live: OnnxNode[], uses: Use[]): Use[] {
  const nodes = new Set(live);
  const used = uses.filter(({ node }) => nodes.has(node));
  const trained = new Set(used.map(({ stored }) => stored.source.name));
  const missed = uses.filter(({ stored }) => !trained.has(stored.source.name));
  if (missed.length === 0) return used;
  throw new LetheError('LETHE_ONNX_UNSUPPORTED', 'training would miss parameters that do not lead to the logits', {
    expected: 'the logits as the first output, and no other branch with parameters',
    received: listed(missed.map(({ stored, node }) => `"${stored.source.name}" (${node.operator} at "${node.outputs[0] ?? ''}")`)),
    action: 'Export the network with its logits as the only output.',
  });
}

interface NamedUse extends Use {
  name: string;
}

/** A name for each use: the constant's own for the first one. */
function nameUses(
  uses: Use[],
  { fixed, asRead, taken }: { fixed: Map<string, OnnxNode>; asRead: Map<OnnxNode, string[]>; taken: Set<string> },
): NamedUse[] {
  const keepers = new Map([...groupBySource(uses)].map(([source, group]) => [source, keeperOf(group, fixed.get(source))]));
  return uses.map((use) => {
    const { name } = use.stored.source;
    if (keepers.get(name) === use) return { ...use, name };
    const alias = asRead.get(use.node)![use.input]!;
    let own = taken.has(alias) ? `${name}@${use.node.outputs[0]!}` : alias;
    while (taken.has(own)) own += `.${use.input}`;
    taken.add(own);
    return { ...use, name: own };
  });
}

function groupBySource(uses: Use[]): Map<string, Use[]> {
  const groups = new Map<string, Use[]>();
  for (const use of uses) {
    const group = groups.get(use.stored.source.name);
    if (group) group.push(use);
    else groups.set(use.stored.source.name, [use]);
  }
  return groups;
}

/** The use that keeps the constant's name; undefined where the constant itself is read elsewhere. */
function keeperOf(group: Use[], reader: OnnxNode | undefined): Use | undefined {
  const first = group[0]!;
  const [moved, ...moreMoved] = group.filter(({ stored }) => stored.moved);
  // exporters store equal tensors once: norms and biases of layers that were just made are equal
  const apart = group.every(({ node }) => node.operator === 'BatchNormalization') || commonValue(first.stored.source) !== undefined;
  if (group.length > 1 && (!apart || moreMoved.length > 0)) throw tied(first.stored, group);
  if (moved && reader) throw tied(first.stored, [moved]);
  return reader ? undefined : (moved ?? first);
}

function tied({ source }: Stored, group: Use[]): LetheError {
  return new LetheError('LETHE_ONNX_UNSUPPORTED', `"${source.name}" is shared: whether its layers are to stay tied cannot be told`, {
    expected: 'a tensor of its own for every layer',
    received: `one tensor for ${listed(group.map(({ node }) => `"${node.outputs[0] ?? ''}" (${node.operator})`))}`,
    action: 'Store a copy of the tensor for each of them.',
  });
}

/** The nodes, reading their parameters by name; one that comes moved keeps its way. */
function readingThem(nodes: OnnxNode[], named: NamedUse[]): OnnxNode[] {
  const uses = new Map<OnnxNode, NamedUse[]>();
  for (const use of named) uses.set(use.node, [...(uses.get(use.node) ?? []), use]);
  return nodes.map((node) => {
    const inputs = [...node.inputs];
    for (const { input, name, stored } of uses.get(node) ?? []) if (!stored.moved) inputs[input] = name;
    return { ...node, inputs };
  });
}

function layOut(named: NamedUse[]): { parameters: GraphParameter[]; values: Float32Array } {
  const ordered = [...named.filter(({ how }) => how.trainable), ...named.filter(({ how }) => !how.trainable)];
  const values = new Float32Array(ordered.reduce((sum, { stored }) => sum + sizeOf(stored.source.shape), 0));
  let offset = 0;
  const parameters = ordered.map(({ name, stored: { source }, how }): GraphParameter => {
    values.set(source.values as Float32Array, offset);
    offset += source.values.length;
    return { name, shape: source.shape, ...how };
  });
  return { parameters, values };
}

/** Constants that the nodes read and that are no parameters. */
function left(nodes: OnnxNode[], constants: Map<string, OnnxConstant>, named: NamedUse[]): OnnxConstant[] {
  const parameters = new Set(named.map(({ name }) => name));
  const read = new Set(nodes.flatMap(({ inputs }) => inputs));
  return [...constants.values()].filter(({ name }) => read.has(name) && !parameters.has(name));
}

function notesOf(
  model: ReadModel,
  { live, named, fixed }: { live: OnnxNode[]; named: NamedUse[]; fixed: Map<string, OnnxNode> },
): string[] {
  const at = ({ operator, outputs }: OnnxNode): string => `${operator} at "${outputs[0] ?? ''}"`;
  const apart = named.filter(({ name, stored }) => name !== stored.source.name);
  const factors = named.filter(({ node, how }) => how.fanIn === 0 && arithmetic.has(node.operator));
  const kept = [...fixed].filter(([, node]) => live.some(({ outputs }) => outputs[0] === node.outputs[0]));
  const read = new Set(model.nodes.flatMap(({ inputs }) => inputs));
  const unread = model.constants.filter(({ name, values }) => values instanceof Float32Array && !read.has(name));
  const has = (operator: string): boolean => live.some((node) => node.operator === operator);
  const last = live.at(-1)?.operator ?? '';
  const lines: [string, string[]][] = [
    ['tensors that several nodes share are trained apart', apart.map(({ name, stored }) => `"${stored.source.name}" also as "${name}"`)],
    ['factors and summands are trained', factors.map(({ name, node, how }) => `"${name}" (${at(node)}) from ${how.start}`)],
    ['constants that work on the images stay as they are', kept.map(([name, node]) => `"${name}" (${at(node)})`)],
    ['tensors that no node reads are left out', unread.map(({ name }) => `"${name}"`)],
    ['its last operator makes probabilities, which are taken as logits', last.endsWith('Softmax') || last === 'Sigmoid' ? [last] : []],
  ];
  const notes = lines.filter(([, items]) => items.length > 0).map(([what, items]) => `${what}: ${listed(items)}`);
  if (has('BatchNormalization') || !has('Conv')) return notes;
  const advice =
    'if the network had norms, its exporter folded them into the convolutions (PyTorch keeps them with training=TrainingMode.PRESERVE)';
  return [...notes, `no BatchNormalization is left in it: ${advice}`];
}

const shown = 8;

/** The first of the items, and how many more there are. */
function listed(items: string[]): string {
  const more = items.length - shown;
  return [...items.slice(0, shown), ...(more > 0 ? [`and ${more} more`] : [])].join(', ');
}
