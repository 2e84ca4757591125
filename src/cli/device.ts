/** The option of the verbs whose ops have a twin on the GPU. */
import { Option } from 'commander';
import { deviceNames } from '../native/device.js';

export function deviceOption(): Option {
  return new Option('--device <name>', 'cuda: an NVIDIA GPU; auto: the GPU where there is one').choices(deviceNames).default('cpu');
}
