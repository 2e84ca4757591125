/** Sizes of memory and files on the command line. */
import { InvalidArgumentError } from 'commander';

const units = new Map<string, number>();
['', 'k', 'm', 'g', 't'].forEach((letter, power) => {
  units.set(`${letter}b`, 1000 ** power);
  units.set(`${letter}ib`, 1024 ** power);
  if (letter !== '') units.set(letter, 1024 ** power);
});
units.set('', 1);

/** "4GiB", "500MB", "2.5G" (G is GiB), "1000000": a commander argument parser. */
export function byteSize(text: string): number {
  const [, number, unit] = /^\s*(\d+(?:\.\d+)?)\s*([a-z]*)\s*$/i.exec(text) ?? [];
  const factor = unit === undefined ? undefined : units.get(unit.toLowerCase());
  const bytes = Math.floor(Number(number) * (factor ?? NaN));
  if (Number.isSafeInteger(bytes) && bytes > 0) return bytes;
  throw new InvalidArgumentError(`expected a size such as 4GiB or 500MB; received "${text}".`);
}
