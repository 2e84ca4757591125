/** Engines by name: the only place that chooses one. */
import { LetheError } from '../errors.js';
import type { Engine } from '../types.js';
import { type DeviceName, deviceNames } from '../native/device.js';
import { NativeEngine, type PrecisionChoice, precisionNames } from './native.js';
import { OrtEngine } from './ort.js';

export { type DeviceName, deviceNames, type PrecisionChoice, precisionNames };

export const engineNames = ['native', 'ort'] as const;
export type EngineName = (typeof engineNames)[number];

export interface EngineChoice {
  engine: EngineName;
  /** Absent: cpu. */
  device?: DeviceName;
  /** Absent: auto. */
  precision?: PrecisionChoice;
  /** Models trained at the same time; 0 or absent: every processor this process may use, or what the GPUs hold. */
  threads?: number;
}

/** @throws LETHE_DEVICE_UNSUPPORTED; LETHE_PRECISION_UNSUPPORTED; LETHE_ORT_UNAVAILABLE, LETHE_PROVIDER_MISSING (exit code 4) */
export function createEngine({ engine, device = 'cpu', precision = 'auto', threads = 0 }: EngineChoice): Engine {
  if (engine === 'native') return new NativeEngine({ threads, precision, device });
  if (device === 'auto') {
    throw new LetheError('LETHE_DEVICE_UNSUPPORTED', 'only the native engine chooses its device', {
      expected: '--device cpu or cuda',
      received: device,
    });
  }
  if (precision !== 'bf16') return new OrtEngine({ threads, provider: device });
  throw new LetheError('LETHE_PRECISION_UNSUPPORTED', 'ONNX Runtime trains in fp32 here', {
    expected: '--precision fp32 or auto',
    received: precision,
    action: 'Leave --precision out, or use --engine native.',
  });
}

/**
 * What must stay the same for bytes to stay the same: part of a run's identity. Engines agree with each other within rounding only,
 * so that a run made by one is not resumed by another.
 */
export function engineIdentity(engine: Engine): Record<string, string> {
  const { engine: name, precision, isa, onnxruntime, device } = engine.describe();
  return {
    engine: `${name} ${precision} ${isa}`,
    ...(onnxruntime === undefined ? {} : { onnxruntime: String(onnxruntime) }),
    ...(onnxruntime !== undefined || device === 'cuda' ? { device: String(device) } : {}),
  };
}

/** The choice that led to an identity. */
export function choiceOf(identity: Record<string, string>): EngineChoice {
  const [name, stored] = identity['engine']?.split(' ') ?? [];
  const engine = engineNames.find((known) => known === name);
  const device = deviceNames.find((known) => known === identity['device']);
  const precision = precisionNames.find((known) => known === stored);
  if (engine) return { engine, ...(device === undefined ? {} : { device }), ...(precision === undefined ? {} : { precision }) };
  throw new LetheError('LETHE_ENGINE_UNKNOWN', 'the run was made by an engine this version does not have', {
    expected: engineNames.join(' or '),
    received: JSON.stringify(identity['engine']),
  });
}
