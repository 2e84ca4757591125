/** The options that choose an engine, the same for every verb that trains or evaluates networks. */
import { Option } from 'commander';
import {
  createEngine,
  deviceNames,
  type DeviceName,
  type EngineChoice,
  type EngineName,
  engineNames,
  type PrecisionChoice,
  precisionNames,
} from '../engines/index.js';
import type { Engine } from '../types.js';
import { type Command, say } from './common.js';

export interface EngineFlags {
  engine: EngineName;
  device: DeviceName;
  precision: PrecisionChoice;
}

export const deviceHelp = 'where networks train; auto (native engine only): a GPU where there is one';

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

/** The engine of a choice; what auto chose is said. */
export function engineOf(choice: EngineChoice): Engine {
  const engine = createEngine(choice);
  if (choice.device === 'auto') say(`--device auto: ${engine.describe()['device']}`);
  return engine;
}
