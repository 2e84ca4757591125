/** An ONNX file held against the engine that made it: the same images through stock ONNX Runtime. */
import { onnxRuntime } from './onnxRuntime.js';

/** Images as bytes: (count, height, width, channels). */
export interface ImageBytes {
  count: number;
  height: number;
  width: number;
  channels: number;
  pixels: Uint8Array;
}

/** Logits (count, classes) that ONNX Runtime computes with a file of exportOnnx. @throws LETHE_ORT_UNAVAILABLE; errors of ONNX Runtime */
export async function runOnnx(file: Uint8Array, images: ImageBytes): Promise<Float32Array> {
  const ort = onnxRuntime();
  const { count, height, width, channels, pixels } = images;
  const area = height * width;
  const planes = new Float32Array(pixels.length); // (count, channels, height, width) on the 0..1 scale
  for (let i = 0; i < count; i++) {
    for (let p = 0; p < area; p++) {
      for (let c = 0; c < channels; c++) planes[(i * channels + c) * area + p] = pixels[(i * area + p) * channels + c]! / 255;
    }
  }
  const session = await ort.InferenceSession.create(file);
  try {
    const { logits } = await session.run({ images: new ort.Tensor('float32', planes, [count, channels, height, width]) });
    return logits!.data as Float32Array;
  } finally {
    await session.release();
  }
}

/** Largest difference relative to the largest expected value; NaN when anything is. */
export function relativeDifference(expected: Float32Array, received: Float32Array): number {
  let largest = 0;
  let difference = received.length === expected.length ? 0 : NaN;
  expected.forEach((value, i) => {
    largest = Math.max(largest, Math.abs(value));
    difference = Math.max(difference, Math.abs(value - received[i]!));
  });
  return difference / Math.max(largest, 1e-30);
}
