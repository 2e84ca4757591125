/** Typed arrays one behind the other. */
type Numbers = Float32Array | Float64Array | Int32Array | Uint8Array;

/** A new array of `kind` with the values of all parts. */
export function concatenate<T extends Numbers>(kind: new (length: number) => T, parts: readonly T[]): T {
  const whole = new kind(parts.reduce((length, part) => length + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}
