/** Matrix products. */
import type { GraphBuilder } from '../builder.js';
import { float, input, integer, type Rule, type RuleNode, sameNode, unsupported } from '../rule.js';
import type { Dim, Value } from '../types.js';

function matrices(node: RuleNode): [Value, Value] {
  const [a, b] = [input(node, 0), input(node, 1)];
  const flags = ['transA', 'transB'].map((name) => integer(node, name, 0));
  if (flags.some((flag) => flag !== 0 && flag !== 1)) throw unsupported(node, 'transA and transB 0 or 1', flags.join(' and '));
  const inner = [a.shape[flags[0] ? 0 : 1], b.shape[flags[1] ? 1 : 0]];
  if (a.shape.length === 2 && b.shape.length === 2 && inner[0] === inner[1]) return [a, b];
  throw unsupported(node, 'two matrices that fit', `(${a.shape.join(', ')}) and (${b.shape.join(', ')})`);
}

/** a' b with either factor transposed, times a number. */
function gemm(g: GraphBuilder, a: Value, b: Value, transA: number, transB: number, alpha = 1): Value {
  const shape = [a.shape[transA ? 1 : 0]!, b.shape[transB ? 0 : 1]!];
  return g.node('Gemm', [a, b], shape, { transA, transB, alpha: { float: alpha } });
}

/** a (..., m, k) b (k, n): the leading sides of a as rows. */
const matMul: Rule = {
  forward: (g, node) => {
    const [a, b] = [input(node, 0), input(node, 1)];
    if (a.shape.length < 2 || b.shape.length !== 2 || a.shape.at(-1) !== b.shape[0]) {
      throw unsupported(node, 'a matrix that fits as second factor', `(${a.shape.join(', ')}) and (${b.shape.join(', ')})`);
    }
    return sameNode(g, node, [...a.shape.slice(0, -1), b.shape[1]!]);
  },
  backward: (g, node, dy) => {
    const [a, b] = [input(node, 0), input(node, 1)];
    const rows = (x: Value): Value => g.reshape(x, [rowsOf(x), x.shape.at(-1)!]);
    return [
      node.wanted[0] ? g.reshape(gemm(g, rows(dy), b, 0, 1), a.shape) : undefined,
      node.wanted[1] ? gemm(g, rows(a), rows(dy), 1, 0) : undefined,
    ];
  },
};

function rowsOf({ shape }: Value): Dim {
  return shape.slice(0, -1).reduce<Dim>((all, side) => (all === 'n' || side === 'n' ? 'n' : all * side), 1);
}

/** alpha A' B' + beta C, C (n) or (m, n) broadcast */
const gemmRule: Rule = {
  attributes: ['alpha', 'beta', 'transA', 'transB'],
  forward: (g, node) => {
    const [a, b] = matrices(node);
    return sameNode(g, node, [a.shape[integer(node, 'transA', 0) ? 1 : 0]!, b.shape[integer(node, 'transB', 0) ? 0 : 1]!]);
  },
  backward: (g, node, dy) => {
    const [a, b] = matrices(node);
    const [transA, transB, alpha] = [integer(node, 'transA', 0), integer(node, 'transB', 0), float(node, 'alpha', 1)];
    const c = node.inputs[2];
    const da = (): Value => (transA ? gemm(g, b, dy, transB, 1, alpha) : gemm(g, dy, b, 0, 1 - transB, alpha));
    const db = (): Value => (transB ? gemm(g, dy, a, 1, transA, alpha) : gemm(g, a, dy, 1 - transA, 0, alpha));
    return [
      node.wanted[0] ? da() : undefined,
      node.wanted[1] ? db() : undefined,
      node.wanted[2] && c ? biasGradient(g, node, dy, c) : undefined,
    ];
  },
};

function biasGradient(g: GraphBuilder, node: RuleNode, dy: Value, c: Value): Value {
  if (c.shape.length > 1 && c.shape[0] !== 1) throw unsupported(node, 'a bias (n) or (1, n)', `(${c.shape.join(', ')})`);
  const beta = float(node, 'beta', 1);
  const sum = g.sum(dy, c.shape.at(-1) === 1 ? [0, 1] : [0]);
  return g.reshape(beta === 1 ? sum : g.multiply(sum, g.scalar(beta)), c.shape);
}

export const linearRules: Record<string, Rule> = { MatMul: matMul, Gemm: gemmRule };
