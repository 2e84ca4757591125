/** Batch normalisation, with batch statistics (training) or running ones. */
import type { GraphBuilder } from '../builder.js';
import { float, input, type Rule, type RuleNode, type RuleOutput, unsupported } from '../rule.js';
import { sizeOf, type Value } from '../types.js';

/** A vector per channel (c) in the shape that broadcasts over x. */
function along(g: GraphBuilder, vector: Value, x: Value): Value {
  return g.reshape(
    vector,
    x.shape.map((_, axis) => (axis === 1 ? vector.shape[0]! : 1)),
  );
}

export const normRules: Record<string, Rule> = {
  BatchNormalization: {
    attributes: ['epsilon', 'momentum', 'training_mode'],
    forward: (g, node) => {
      const epsilon = float(node, 'epsilon', 1e-5);
      const [x, gamma, beta, runningMean, runningVariance] = [0, 1, 2, 3, 4].map((i) => input(node, i)) as [
        Value,
        Value,
        Value,
        Value,
        Value,
      ];
      const channels = x.shape[1];
      for (const vector of [gamma, beta, runningMean, runningVariance]) {
        if (vector.shape.length === 1 && vector.shape[0] === channels && typeof channels === 'number') continue;
        throw unsupported(node, `values for ${channels ?? 'no'} channels`, `(${vector.shape.join(', ')}) in "${vector.name}"`);
      }
      const made = node.trainBatchNorm
        ? withBatchStatistics(g, node, epsilon)
        : {
            output: g.node('BatchNormalization', [x, gamma, beta, runningMean, runningVariance], x.shape, { epsilon: { float: epsilon } }),
            mean: runningMean,
            variance: runningVariance,
          };
      const inverse = g.divide(g.scalar(1), g.node('Sqrt', [g.add(made.variance, g.scalar(epsilon))], made.variance.shape));
      return { output: made.output, saved: [made.mean, inverse] };
    },
    backward,
  },
};

/** dbeta = S(dy); dgamma = inv (S(dy x) - mean dbeta); dx = P dy + Q x + R, where Q and R are zero with running statistics. */
function backward(g: GraphBuilder, node: RuleNode, dy: Value, made: Required<RuleOutput>): (Value | undefined)[] {
  const [x, gamma] = [input(node, 0), input(node, 1)];
  const [mean, inverse] = made.saved as [Value, Value];
  const dBeta = g.sumPerChannel(dy);
  const dGamma = g.multiply(inverse, g.subtract(g.sumPerChannel(g.multiply(dy, x)), g.multiply(mean, dBeta)));
  if (!node.wanted[0]) return [undefined, dGamma, dBeta];
  const p = g.multiply(gamma, inverse);
  let dx = g.multiply(dy, along(g, p, x));
  if (node.trainBatchNorm) {
    const share = g.divide(p, elements(g, node, x));
    const q = g.negate(g.multiply(share, g.multiply(dGamma, inverse)));
    const r = g.negate(g.add(g.multiply(q, mean), g.multiply(share, dBeta)));
    dx = g.add(g.add(dx, g.multiply(x, along(g, q, x))), along(g, r, x));
  }
  return [dx, dGamma, dBeta];
}

/** How many elements of x a channel has: a scalar. */
function elements(g: GraphBuilder, node: RuleNode, x: Value): Value {
  return g.multiply(node.batch, g.scalar(sizeOf(x.shape.slice(2) as number[])));
}

function withBatchStatistics(g: GraphBuilder, node: RuleNode, epsilon: number): { output: Value; mean: Value; variance: Value } {
  const made = g.provider === 'cuda' ? explicitStatistics(g, node, epsilon) : operatorStatistics(g, node, epsilon);
  moveRunning(g, node, made);
  return made;
}

/**
 * In training mode ONNX Runtime may write the new running statistics over those it was given: momentum 0 makes them the batch statistics,
 * and what is overwritten are zeros that belong to this node alone and are fed anew in every step.
 */
function operatorStatistics(g: GraphBuilder, node: RuleNode, epsilon: number): { output: Value; mean: Value; variance: Value } {
  const [x, gamma, beta] = [input(node, 0), input(node, 1), input(node, 2)];
  const channels = gamma.shape[0] as number;
  const [output, mean, variance] = g.nodeWithOutputs(
    'BatchNormalization',
    [x, gamma, beta, node.blank(channels), node.blank(channels)],
    [x.shape, [channels], [channels]],
    { epsilon: { float: epsilon }, momentum: { float: 0 }, training_mode: 1 },
  ) as [Value, Value, Value];
  return { output, mean, variance };
}

/** Never E[x^2] - mean^2 in 32 bits. */
function explicitStatistics(g: GraphBuilder, node: RuleNode, epsilon: number): { output: Value; mean: Value; variance: Value } {
  const [x, gamma, beta] = [input(node, 0), input(node, 1), input(node, 2)];
  const count = elements(g, node, x);
  const mean = g.divide(g.sumPerChannel(x), count);
  const centred = g.subtract(x, along(g, mean, x));
  const variance = g.divide(g.sumPerChannel(g.multiply(centred, centred)), count);
  const output = g.node('BatchNormalization', [x, gamma, beta, mean, variance], x.shape, { epsilon: { float: epsilon } });
  return { output, mean, variance };
}

/** running = momentum running + (1 - momentum) batch, the variance unbiased. */
function moveRunning(g: GraphBuilder, node: RuleNode, { mean, variance }: { mean: Value; variance: Value }): void {
  const momentum = float(node, 'momentum', 0.9);
  const count = elements(g, node, input(node, 0));
  const others = g.node('Max', [g.subtract(count, g.scalar(1)), g.scalar(1)], []);
  const unbiased = g.multiply(variance, g.divide(count, others));
  for (const [i, batch] of [
    [3, mean],
    [4, unbiased],
  ] as const) {
    const running = input(node, i);
    const moved = g.add(g.multiply(running, g.scalar(momentum)), g.multiply(batch, g.scalar(1 - momentum)));
    node.moveState(node.source.inputs[i]!, moved);
  }
}
