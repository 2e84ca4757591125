/** Tests on real images: they run where ../shared/data is, and are reported as skipped, with the reason, where it is not. */
import fs from 'node:fs';
import path from 'node:path';

const root = path.resolve(import.meta.dirname, '..', '..', '..', 'shared', 'data');

/** 5,000 train and 1,000 validation images of CIFAR-10, original pixels. */
export const cifar10SmallDirectory = path.join(root, 'cifar10-small');
/** Published forget sets, official train indices. */
export const forgetSetDirectory = path.join(root, 'forget-sets');

export const hasRealData = fs.existsSync(path.join(cifar10SmallDirectory, 'train.bin.br'));

/** `it`, or without the data `xit` under a name that says why. */
export function itWithData(name: string, body: () => Promise<void>, timeoutMs?: number): void {
  if (hasRealData) it(name, body, timeoutMs);
  else xit(`${name} (needs ${path.relative(process.cwd(), cifar10SmallDirectory)})`, body);
}
