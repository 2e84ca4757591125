/** What the nodes of an ONNX file do with its constants: which inputs are parameters, and how those are drawn. */
import { LetheError } from '../errors.js';
import { GraphBuilder } from './graph/builder.js';
import { shapeOf } from './graph/tape.js';
import { type GraphParameter, sizeOf } from './graph/types.js';
import type { OnnxConstant, OnnxNode } from './onnxWriter.js';

export type Drawn = Pick<GraphParameter, 'trainable' | 'fanIn' | 'start'>;

/** A constant as it stands in the file, or moved (transposed, reshaped) on its way to the node that reads it. */
export interface Stored {
  kind: 'stored';
  source: OnnxConstant;
  shape: number[];
  moved: boolean;
}

/** What is known of a value before anything is trained. */
export type Known =
  | Stored
  /** Numbers of the architecture: whole ones, and single ones that are no parameters. */
  | { kind: 'number' }
  /** Made of stored constants by arithmetic. */
  | { kind: 'computed'; by: OnnxNode }
  /** Made of the images alone. */
  | { kind: 'images' }
  /** Behind a layer; `product`: the fan-in of a layer without a bias that has made it. */
  | { kind: 'trained'; product?: number };

export interface Use {
  node: OnnxNode;
  input: number;
  stored: Stored;
  how: Drawn;
}

export interface Roles {
  output: Known;
  uses: Use[];
  /** Constants that stay as they are. */
  fixed: Stored[];
}

const movers = new Set(['Identity', 'Reshape', 'Flatten', 'Transpose', 'Squeeze', 'Unsqueeze']);
export const arithmetic: ReadonlySet<string> = new Set(['Add', 'Sub', 'Mul', 'Div']);

function refused(node: OnnxNode, expected: string, received: string, action: string): LetheError {
  const where = `node "${node.outputs[0] ?? ''}" (${node.operator})`;
  return new LetheError('LETHE_ONNX_UNSUPPORTED', `${where} cannot be trained as it is in the file`, { expected, received, action });
}

const storeAdvice = 'Export the network so that its weights are stored as its layers read them (constant folding).';

/** `inputs`: undefined where an optional one is absent. @throws LETHE_ONNX_UNSUPPORTED where parameters would be missed */
export function rolesOf(node: OnnxNode, inputs: (Known | undefined)[], constants: Map<string, OnnxConstant>): Roles {
  switch (node.operator) {
    case 'Conv':
    case 'Gemm':
    case 'MatMul':
      return layerRoles(node, inputs);
    case 'BatchNormalization':
      return normRoles(node, inputs);
    default:
      if (movers.has(node.operator)) return { output: moved(node, inputs, constants), uses: [], fixed: [] };
      return arithmetic.has(node.operator) ? arithmeticRoles(node, inputs) : otherRoles(node, inputs);
  }
}

/** A weight or bias as it is stored. @throws LETHE_ONNX_UNSUPPORTED */
function weightOf(node: OnnxNode, input: number, known: Known | undefined): Stored {
  if (known?.kind === 'stored') return known;
  const name = JSON.stringify(node.inputs[input] ?? '');
  const by =
    known?.kind === 'computed' ? `, computed by "${known.by.outputs[0] ?? ''}" (${known.by.operator})` : `, which is no stored tensor`;
  throw refused(node, 'weights that the file stores', `${name}${known ? by : ', which is absent'}`, storeAdvice);
}

const depends = (known: Known | undefined): boolean => known?.kind === 'images' || known?.kind === 'trained';

function layerRoles(node: OnnxNode, inputs: (Known | undefined)[]): Roles {
  const [a, b, bias] = inputs;
  if (!depends(a) && !depends(b)) return otherRoles(node, inputs);
  const uses: Use[] = [];
  let fanIn: number | undefined;
  const use = (input: number, sum: (shape: number[]) => number): void => {
    const stored = weightOf(node, input, inputs[input]);
    fanIn = sum(stored.shape);
    uses.push({ node, input, stored, how: { trainable: true, fanIn, start: 0 } });
  };
  const flag = (name: string): boolean => node.attributes?.[name] === 1;
  if (node.operator === 'Conv') use(1, (shape) => sizeOf(shape.slice(1)));
  // two factors made of the images have no weights
  else if (!depends(b)) use(1, (shape) => shape.at(flag('transB') ? -1 : -2) ?? 0);
  else if (!depends(a)) use(0, (shape) => shape.at(flag('transA') ? -2 : -1) ?? 0);
  if (bias === undefined) return { output: { kind: 'trained', ...(fanIn === undefined ? {} : { product: fanIn }) }, uses, fixed: [] };
  if (!depends(bias)) {
    uses.push({ node, input: 2, stored: weightOf(node, 2, bias), how: { trainable: true, fanIn: fanIn ?? 0, start: 0 } });
  }
  return { output: { kind: 'trained' }, uses, fixed: [] };
}

/** Scale and shift are trained, the running statistics move. */
function normRoles(node: OnnxNode, inputs: (Known | undefined)[]): Roles {
  if (!depends(inputs[0])) return otherRoles(node, inputs);
  const uses = [1, 0, 0, 1].map((start, i): Use => {
    const stored = weightOf(node, i + 1, inputs[i + 1]);
    const trainable = i < 2;
    if (!trainable && stored.moved) {
      throw refused(node, 'running statistics that the file stores', `"${stored.source.name}" in another layout`, storeAdvice);
    }
    return { node, input: i + 1, stored, how: { trainable, fanIn: 0, start } };
  });
  return { output: { kind: 'trained' }, uses, fixed: [] };
}

/** Elements in another order or shape. */
function moved(node: OnnxNode, [known]: (Known | undefined)[], constants: Map<string, OnnxConstant>): Known {
  if (known?.kind !== 'stored') return known ?? { kind: 'number' };
  const g = new GraphBuilder('cpu');
  const values = node.inputs.map((name, i) => {
    if (i === 0) return { name, shape: known.shape };
    const constant = constants.get(name);
    return constant && g.store(constant);
  });
  return { ...known, moved: true, shape: shapeOf(g, node, values) as number[] };
}

/**
 * What is added to or multiplied with the output of a layer is a parameter. What works on the images before any layer normalises them,
 * and stays.
 */
function arithmeticRoles(node: OnnxNode, inputs: (Known | undefined)[]): Roles {
  const [a, b] = inputs;
  const [data, other] = depends(a) ? [a, b] : [b, a];
  if (!data || !other || !depends(data)) return otherRoles(node, inputs);
  const input = other === a ? 0 : 1;
  const output: Known = data.kind === 'images' && other.kind !== 'trained' ? { kind: 'images' } : { kind: 'trained' };
  if (depends(other) || other.kind === 'number') return { output, uses: [], fixed: [] };
  if (data.kind === 'images') return { output, uses: [], fixed: other.kind === 'stored' ? [other] : [] };
  const stored = weightOf(node, input, other);
  const sum = node.operator === 'Add' || node.operator === 'Sub';
  const product = sum && data.kind === 'trained' ? data.product : undefined;
  const how = { trainable: true, fanIn: product ?? 0, start: product === undefined ? (commonValue(stored.source) ?? (sum ? 0 : 1)) : 0 };
  return { output, uses: [{ node, input, stored, how }], fixed: [] };
}

/** The value that all elements of a constant have. */
export function commonValue({ values }: OnnxConstant): number | undefined {
  const first = values[0];
  return first !== undefined && values.every((value: number | bigint) => value === first) ? Number(first) : undefined;
}

function otherRoles(node: OnnxNode, inputs: (Known | undefined)[]): Roles {
  const present = inputs.filter((known) => known !== undefined);
  const parts = present.find(({ kind }) => kind === 'stored' || kind === 'computed');
  if (present.some(depends)) {
    if (parts) {
      const at = inputs.indexOf(parts);
      throw refused(
        node,
        'values made of the images',
        `the stored values "${node.inputs[at]!}"`,
        'No parameter can be trained there: export the network without this node.',
      );
    }
    return { output: { kind: present.some(({ kind }) => kind === 'trained') ? 'trained' : 'images' }, uses: [], fixed: [] };
  }
  return { output: parts ? { kind: 'computed', by: node } : { kind: 'number' }, uses: [], fixed: [] };
}
