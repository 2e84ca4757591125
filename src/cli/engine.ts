/** The options that choose an engine, the same for every verb that trains or evaluates networks. */
import { Option } from 'commander';
import { deviceNames, type DeviceName, type EngineName, engineNames, type PrecisionChoice, precisionNames } from '../engines/index.js';
import type { Command } from './common.js';

export interface EngineFlags {
  engine: EngineName;
  device: DeviceName;
  precision: PrecisionChoice;
}

export const deviceHelp =
  'where networks train (a run of the native engine also fits and scores there); auto (native engine only): a GPU where there is one';

export function engineOptions(command: Command): Command {
  return command
    .addOption(
      new Option('--engine <name>', 'native: C++ kernels; ort: ONNX Runtime, which also trains ONNX files')
        .choices(engineNames)
        .default('native'),
    )
    .addOption(new Option('--device <name>', deviceHelp).choices(deviceNames).default('cpu'))
    .addOption(
      new Option('--precision <name>', 'of the native engine; auto: bf16 on a GPU and where the processor has AMX, fp32 elsewhere')
        .choices(precisionNames)
        .default('auto'),
    );
}
