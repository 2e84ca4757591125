/** The options that choose an engine, the same for every verb that trains or evaluates networks. */
import { Option } from 'commander';
import { deviceNames, type DeviceName, type EngineName, engineNames } from '../engines/index.js';
import type { Command } from './common.js';

export interface EngineFlags {
  engine: EngineName;
  device: DeviceName;
}

export function engineOptions(command: Command): Command {
  return command
    .addOption(
      new Option('--engine <name>', 'native: C++ kernels; ort: ONNX Runtime, which also trains ONNX files')
        .choices(engineNames)
        .default('native'),
    )
    .addOption(new Option('--device <name>', 'where --engine ort trains').choices(deviceNames).default('cpu'));
}
