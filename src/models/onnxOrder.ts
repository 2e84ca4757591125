/** The nodes of an ONNX file in an order in which each comes after those it reads, in time linear in the file. */
import { LetheError } from '../errors.js';
import type { OnnxModel, OnnxNode } from './onnxWriter.js';

function invalid(summary: string, expected: string, received: string): LetheError {
  return new LetheError('LETHE_ONNX_INVALID', summary, { expected, received, action: 'Export the model again.' });
}

const nameOf = ({ operator, outputs }: OnnxNode): string => `node "${outputs[0] ?? ''}" (${operator})`;

/** Which node makes each value. @throws LETHE_ONNX_INVALID for a value that is made twice */
function makersOf({ nodes, constants, inputs }: OnnxModel): Map<string, OnnxNode | undefined> {
  const makers = new Map<string, OnnxNode | undefined>();
  for (const { name } of [...inputs, ...constants]) makers.set(name, undefined);
  for (const node of nodes) {
    for (const output of node.outputs) {
      if (output === '') continue;
      if (makers.has(output)) throw invalid(`${nameOf(node)} makes a value that is there already`, 'every value once', `"${output}"`);
      makers.set(output, node);
    }
  }
  return makers;
}

/**
 * Nodes as a file must list them; some tools do not. Those of a file in order stay as they are.
 * @throws LETHE_ONNX_INVALID for a value that nothing makes or that is made twice, and for a cycle
 */
export function inOrder(model: OnnxModel): OnnxNode[] {
  const makers = makersOf(model);
  const state = new Map<OnnxNode, 'open' | 'done'>();
  const ordered: OnnxNode[] = [];
  for (const root of model.nodes) {
    if (state.has(root)) continue;
    // a stack of our own: files may be a chain of any length
    const path = [{ node: root, next: 0 }];
    state.set(root, 'open');
    while (path.length > 0) {
      const top = path.at(-1)!;
      if (top.next === top.node.inputs.length) {
        state.set(top.node, 'done');
        ordered.push(top.node);
        path.pop();
        continue;
      }
      const input = top.node.inputs[top.next++]!;
      if (input === '') continue;
      if (!makers.has(input)) {
        throw new LetheError('LETHE_ONNX_INVALID', `${nameOf(top.node)} reads a value that nothing makes`, { received: input });
      }
      const maker = makers.get(input);
      if (!maker || state.get(maker) === 'done') continue;
      if (state.has(maker)) throw invalid(`${nameOf(maker)} reads what is made from its own output`, 'no cycle', `"${input}"`);
      state.set(maker, 'open');
      path.push({ node: maker, next: 0 });
    }
  }
  return ordered;
}

/** Those of the nodes, in their order, that the value depends on. */
export function leadingTo(value: string, ordered: OnnxNode[]): OnnxNode[] {
  const needed = new Set([value]);
  return ordered
    .toReversed()
    .filter(({ inputs, outputs }) => {
      const counts = outputs.some((output) => output !== '' && needed.has(output));
      if (counts) for (const input of inputs) needed.add(input);
      return counts;
    })
    .toReversed();
}
