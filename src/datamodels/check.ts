/** Shapes of what is fitted, checked before any work. */
import { LetheError } from '../errors.js';

/** outputs: (numModels, numTargets). @throws LETHE_SHAPE_MISMATCH (exit code 2) */
export function checkOutputs(outputs: Float32Array | Float64Array, numModels: number, numTargets: number): void {
  if (Number.isSafeInteger(numTargets) && numTargets >= 0 && outputs.length === numModels * numTargets) return;
  throw new LetheError('LETHE_SHAPE_MISMATCH', 'outputs do not match the masks', {
    expected: `(${numModels}, ${numTargets}) = ${numModels * numTargets} values, one row a model`,
    received: `${outputs.length} values`,
    action: 'Pass the outputs of exactly the models that the masks describe.',
  });
}

/**
 * Targets that share a column of row weights (numModels, columns): one each, or the classes of a point.
 * @throws LETHE_SHAPE_MISMATCH (exit code 2)
 */
export function targetsPerRowWeight(columns: number, numTargets: number, numClasses = 1): number {
  if (columns === numTargets) return 1;
  if (columns * numClasses === numTargets) return numClasses;
  const points = numClasses === 1 ? '' : ` or one a point (${numTargets / numClasses})`;
  throw new LetheError('LETHE_SHAPE_MISMATCH', 'row weights do not match the outputs', {
    expected: `one column a target (${numTargets})${points}`,
    received: `${columns} columns`,
  });
}
