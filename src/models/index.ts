/** Networks by name. A network is data (NetSpec): the engines never know where it came from. */
import { didYouMean, LetheError } from '../errors.js';
import type { NetSpec } from '../types.js';
import { resnet18 } from './resnet18.js';
import { resnet9, type NetOptions } from './resnet9.js';
import { smallcnn } from './smallcnn.js';

export { resnet18, resnet9, smallcnn, type NetOptions };

const builders: Record<string, (options: NetOptions) => NetSpec> = { resnet9, resnet18, smallcnn };

export const netNames = Object.keys(builders);

/** @throws LETHE_NET_UNKNOWN with the known names; LETHE_NET_INVALID for a width that is not a positive number. */
export function buildNet({ name, ...options }: NetOptions & { name: string }): NetSpec {
  const build = Object.hasOwn(builders, name) ? builders[name] : undefined;
  if (!build) {
    throw new LetheError('LETHE_NET_UNKNOWN', `no network is called "${name}"`, {
      expected: netNames.join(' or '),
      received: name,
      action: didYouMean(name, netNames),
    });
  }
  if (!(options.width > 0)) {
    throw new LetheError('LETHE_NET_INVALID', `network "${name}"`, {
      expected: 'a width divisor > 0 (1, 4, 8)',
      received: String(options.width),
    });
  }
  return build(options);
}
