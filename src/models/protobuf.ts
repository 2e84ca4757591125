/** The fields of a protobuf message, read with every length checked against what is there. */

export interface Field {
  number: number;
  /** Varints and fixed-size numbers as their bits; messages, texts and packed numbers as bytes. */
  value: bigint | Uint8Array;
}

export class ProtobufError extends Error {}

/** @throws ProtobufError where the bytes are no message */
export function* fieldsOf(bytes: Uint8Array): Generator<Field> {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let at = 0;
  const take = (count: number): number => {
    if (count > bytes.length - at) throw new ProtobufError(`a field of ${count} bytes where ${bytes.length - at} are left`);
    at += count;
    return at - count;
  };
  while (at < bytes.length) {
    const [tag, afterTag] = varint(bytes, at);
    at = afterTag;
    const number = Number(tag >> 3n);
    const wire = Number(tag & 7n);
    if (number === 0) throw new ProtobufError('a field with number 0');
    if (wire === 0) {
      const [value, next] = varint(bytes, at);
      at = next;
      yield { number, value };
    } else if (wire === 1) yield { number, value: view.getBigUint64(take(8), true) };
    else if (wire === 5) yield { number, value: BigInt(view.getUint32(take(4), true)) };
    else if (wire === 2) {
      const [length, next] = varint(bytes, at);
      at = next;
      if (length > BigInt(bytes.length)) throw new ProtobufError(`a field of ${length.toString()} bytes`);
      const from = take(Number(length));
      yield { number, value: bytes.subarray(from, at) };
    } else throw new ProtobufError(`wire type ${wire}`);
  }
}

function varint(bytes: Uint8Array, from: number): [bigint, number] {
  let value = 0n;
  for (let at = from; at < bytes.length && at < from + 10; at++) {
    value |= BigInt(bytes[at]! & 0x7f) << BigInt(7 * (at - from));
    if (bytes[at]! < 0x80) return [BigInt.asUintN(64, value), at + 1];
  }
  throw new ProtobufError('a number without end');
}

/** Appends the numbers of a repeated field: one a field, or packed into bytes. */
export function pushIntegers(values: bigint[], value: Field['value']): void {
  if (typeof value === 'bigint') {
    values.push(BigInt.asIntN(64, value));
    return;
  }
  for (let at = 0; at < value.length;) {
    const [item, next] = varint(value, at);
    values.push(BigInt.asIntN(64, item));
    at = next;
  }
}

/** Appends the floats of a repeated field. */
export function pushFloats(values: number[], value: Field['value']): void {
  if (typeof value === 'bigint') {
    values.push(floatOf(value));
    return;
  }
  if (value.length % 4 !== 0) throw new ProtobufError('packed floats that end in the middle of one');
  const view = new DataView(value.buffer, value.byteOffset, value.byteLength);
  for (let at = 0; at < value.length; at += 4) values.push(view.getFloat32(at, true));
}

export function floatOf(bits: bigint): number {
  const view = new DataView(new ArrayBuffer(4));
  view.setUint32(0, Number(BigInt.asUintN(32, bits)));
  return view.getFloat32(0);
}
