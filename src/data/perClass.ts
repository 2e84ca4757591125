import { LetheError } from '../errors.js';

/**
 * Positions of the first `perClass` labels of every class, ascending; 0 takes all.
 * @throws LETHE_DATA_TOO_FEW when a class has fewer
 */
export function firstPerClass(labels: ArrayLike<number>, numClasses: number, perClass: number, split: string): Int32Array {
  const taken = new Array<number>(numClasses).fill(0);
  const selected: number[] = [];
  for (let at = 0; at < labels.length; at++) {
    const label = labels[at]!;
    if (perClass > 0 && taken[label] === perClass) continue;
    taken[label]!++;
    selected.push(at);
  }
  const short = taken.findIndex((count) => count < perClass);
  if (short < 0) return Int32Array.from(selected);
  throw new LetheError('LETHE_DATA_TOO_FEW', `there are not enough ${split} examples of class ${short}`, {
    expected: `${perClass} per class`,
    received: String(taken[short]),
    action: 'Ask for fewer, or for 0 to take all.',
  });
}
