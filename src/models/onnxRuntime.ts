/** ONNX Runtime, loaded when it is first needed: where it cannot be loaded, everything else works. */
import { createRequire } from 'node:module';
import { ExitCode, LetheError } from '../errors.js';

export type OnnxRuntime = typeof import('onnxruntime-node');

const packageName = 'onnxruntime-node';
const load = createRequire(import.meta.url);

/** @throws LETHE_ORT_UNAVAILABLE (exit code 4) */
export function onnxRuntime(from: (name: string) => unknown = load): OnnxRuntime {
  try {
    return from(packageName) as OnnxRuntime;
  } catch (cause) {
    throw new LetheError('LETHE_ORT_UNAVAILABLE', 'ONNX Runtime cannot be loaded', {
      expected: `the package ${packageName}, whose libraries this system can load`,
      received: cause instanceof Error ? cause.message.split('\n')[0]! : String(cause),
      action: 'Run npm ci where Lethe is installed. Training with --engine native and everything but ONNX works without it.',
      exitCode: ExitCode.environment,
      cause,
    });
  }
}
