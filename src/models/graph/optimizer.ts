/** Parameter updates over the flat vector of all trainable parameters; PyTorch's definitions, as in the native engine. */
import type { GraphBuilder } from './builder.js';
import type { Value } from './types.js';

export type OptimizerKind = 'sgd' | 'adam';

/** Scalars an update reads, in the order in which the numbers of a step list them. */
export const optimizerNumbers = {
  sgd: ['learningRate', 'momentum', 'weightDecay'],
  /** learningRate is divided by 1 - beta1^t already, root is 1 / sqrt(1 - beta2^t). */
  adam: ['learningRate', 'beta1', 'restOfBeta1', 'beta2', 'restOfBeta2', 'root', 'epsilon', 'weightDecay'],
} as const;

/** The flat vectors an optimiser keeps beside the parameters. */
export const optimizerMoments = { sgd: ['first'], adam: ['first', 'second'] } as const;

interface Update {
  parameters: Value;
  moments: Value[];
}

export function update(
  g: GraphBuilder,
  kind: OptimizerKind,
  numbers: Value[],
  state: { parameters: Value; moments: Value[]; gradient: Value },
): Update {
  return kind === 'sgd' ? sgd(g, numbers, state) : adam(g, numbers, state);
}

type State = Parameters<typeof update>[3];

/** v = mu v + g + wd w; w -= lr v */
function sgd(g: GraphBuilder, numbers: Value[], { parameters, moments, gradient }: State): Update {
  const [rate, momentum, weightDecay] = numbers as [Value, Value, Value];
  const velocity = g.add(g.add(g.multiply(moments[0]!, momentum), gradient), g.multiply(parameters, weightDecay));
  return { parameters: g.subtract(parameters, g.multiply(velocity, rate)), moments: [velocity] };
}

function adam(g: GraphBuilder, numbers: Value[], { parameters, moments, gradient }: State): Update {
  const [rate, beta1, rest1, beta2, rest2, root, epsilon, weightDecay] = numbers as [
    Value,
    Value,
    Value,
    Value,
    Value,
    Value,
    Value,
    Value,
  ];
  const slope = g.add(gradient, g.multiply(parameters, weightDecay));
  const first = g.add(g.multiply(moments[0]!, beta1), g.multiply(slope, rest1));
  const second = g.add(g.multiply(moments[1]!, beta2), g.multiply(g.multiply(slope, slope), rest2));
  const scale = g.add(g.multiply(g.node('Sqrt', [second], second.shape), root), epsilon);
  return { parameters: g.subtract(parameters, g.divide(g.multiply(first, rate), scale)), moments: [first, second] };
}
