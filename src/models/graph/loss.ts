/** The loss of one term and the gradient of its logits; formulas of Objective in types.ts. */
import type { GraphBuilder } from './builder.js';
import type { Dim, Value } from './types.js';

/** Which parts a term's loss has: a part without weight is not in the graph, so that it adds nothing and not 0 * infinity. */
export interface LossParts {
  crossEntropy: boolean;
  matchLogits: boolean;
  distill: boolean;
}

/** Scalars (but for the first two); the three weights are those of the objective times that of the term. */
export interface LossInputs {
  /** (n, classes): probabilities to predict, label smoothing included. With crossEntropy. */
  wanted?: Value;
  /** (n, classes): logits to match, or the teacher's. With matchLogits and distill. */
  targets?: Value;
  crossEntropy: Value;
  matchLogits: Value;
  distill: Value;
  temperature: Value;
  /** Images in the batch. */
  batch: Value;
}

export interface Loss {
  /** Scalar: weighted mean over the batch. */
  loss: Value;
  /** (n, classes) */
  gradient: Value;
}

export function loss(g: GraphBuilder, logits: Value, parts: LossParts, inputs: LossInputs): Loss {
  const terms = [
    ...(parts.crossEntropy ? [crossEntropy(g, logits, inputs)] : []),
    ...(parts.matchLogits ? [matchLogits(g, logits, inputs)] : []),
    ...(parts.distill ? [distill(g, logits, inputs)] : []),
  ];
  const none = { loss: g.scalar(0), gradient: g.multiply(logits, g.scalar(0)) };
  return terms.length === 0 ? none : terms.reduce((a, b) => ({ loss: g.add(a.loss, b.loss), gradient: g.add(a.gradient, b.gradient) }));
}

function total(g: GraphBuilder, x: Value): Value {
  return g.reshape(g.sum(x, [0, 1]), []);
}

function logSoftmax(g: GraphBuilder, z: Value): Value {
  return g.node('LogSoftmax', [z], z.shape, { axis: 1 });
}

const exponential = (g: GraphBuilder, x: Value): Value => g.node('Exp', [x], x.shape);

/** -w/n sum wanted log p; gradient w/n (p - wanted), as the wanted probabilities sum to one. */
function crossEntropy(g: GraphBuilder, z: Value, { wanted, crossEntropy: weight, batch }: LossInputs): Loss {
  const share = g.divide(weight, batch);
  const logP = logSoftmax(g, z);
  return {
    loss: g.negate(g.multiply(share, total(g, g.multiply(wanted!, logP)))),
    gradient: g.multiply(g.subtract(exponential(g, logP), wanted!), share),
  };
}

/** w/(n c) sum (z - t)^2 */
function matchLogits(g: GraphBuilder, z: Value, { targets, matchLogits: weight, batch }: LossInputs): Loss {
  const share = g.divide(weight, g.multiply(batch, g.scalar(z.shape[1] as Dim & number)));
  const difference = g.subtract(z, targets!);
  return {
    loss: g.multiply(share, total(g, g.multiply(difference, difference))),
    gradient: g.multiply(difference, g.multiply(share, g.scalar(2))),
  };
}

/** w T^2/n sum p (log p - log q), p and q at temperature T; gradient w T/n (q - p). */
function distill(g: GraphBuilder, z: Value, { targets, distill: weight, temperature, batch }: LossInputs): Loss {
  const share = g.multiply(temperature, g.divide(weight, batch));
  const logQ = logSoftmax(g, g.divide(z, temperature));
  const logP = logSoftmax(g, g.divide(targets!, temperature));
  const p = exponential(g, logP);
  return {
    loss: g.multiply(g.multiply(share, temperature), total(g, g.multiply(p, g.subtract(logP, logQ)))),
    gradient: g.multiply(g.subtract(exponential(g, logQ), p), share),
  };
}
