/**
 * A reader of FlatBuffers for metadata from strangers: every offset is checked, and all that is looked at together may not be much more
 * than the buffer itself. So neither cycles nor tables that point at one place many times cost more than a pass over the bytes.
 */

/** What is wrong with the bytes; the caller knows the file. */
export class FlatBufferFault extends Error {}

/** Bytes that may be looked at, as a multiple of the buffer's: strings and tables are met once or twice by an honest reader. */
const allowance = 8;

class Source {
  private left: number;

  constructor(readonly view: DataView) {
    this.left = allowance * view.byteLength + 64;
  }

  /** `length` bytes at `at` are about to be read. */
  claim(at: number, length: number): number {
    if (at < 0 || length < 0 || at + length > this.view.byteLength) {
      throw new FlatBufferFault(`an offset that leads to bytes ${at} to ${at + length} of ${this.view.byteLength}`);
    }
    this.left -= length;
    if (this.left < 0) throw new FlatBufferFault('tables that point at the same bytes many times');
    return at;
  }

  uint8(at: number): number {
    return this.view.getUint8(this.claim(at, 1));
  }

  uint16(at: number): number {
    return this.view.getUint16(this.claim(at, 2), true);
  }

  int32(at: number): number {
    return this.view.getInt32(this.claim(at, 4), true);
  }

  /** Where the offset stored at `at` leads. */
  follow(at: number): number {
    const to = at + this.view.getUint32(this.claim(at, 4), true);
    return this.claim(to, 4);
  }

  int64(at: number): number {
    const value = this.view.getBigInt64(this.claim(at, 8), true);
    if (value >= Number.MIN_SAFE_INTEGER && value <= Number.MAX_SAFE_INTEGER) return Number(value);
    throw new FlatBufferFault(`a number as large as ${value}`);
  }
}

/** A vector whose items lie inside the buffer. */
export interface Structs {
  readonly length: number;
  /** The int64 at `offset` of an item. */
  int64(item: number, offset: number): number;
  int32(item: number, offset: number): number;
}

/** A table; `slot` is the position of a field in the schema, counted from 0. Absent fields have the schema's default. */
export class FlatTable {
  private constructor(
    private readonly source: Source,
    private readonly at: number,
    private readonly vtable: number,
    private readonly vtableBytes: number,
  ) {}

  /** The root table. @throws FlatBufferFault, as all methods do */
  static root(bytes: Uint8Array): FlatTable {
    const source = new Source(new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength));
    return FlatTable.open(source, source.follow(0));
  }

  private static open(source: Source, at: number): FlatTable {
    const vtable = at - source.int32(at);
    return new FlatTable(source, at, vtable, source.uint16(vtable));
  }

  /** Where the value of a field lies; undefined: it is absent. */
  private place(slot: number): number | undefined {
    const entry = 4 + 2 * slot;
    if (entry + 2 > this.vtableBytes) return undefined;
    const offset = this.source.uint16(this.vtable + entry);
    return offset === 0 ? undefined : this.at + offset;
  }

  uint8(slot: number): number {
    const at = this.place(slot);
    return at === undefined ? 0 : this.source.uint8(at);
  }

  uint16(slot: number): number {
    const at = this.place(slot);
    return at === undefined ? 0 : this.source.uint16(at);
  }

  int32(slot: number): number {
    const at = this.place(slot);
    return at === undefined ? 0 : this.source.int32(at);
  }

  int64(slot: number): number {
    const at = this.place(slot);
    return at === undefined ? 0 : this.source.int64(at);
  }

  table(slot: number): FlatTable | undefined {
    const at = this.place(slot);
    return at === undefined ? undefined : FlatTable.open(this.source, this.source.follow(at));
  }

  text(slot: number): string | undefined {
    const at = this.place(slot);
    if (at === undefined) return undefined;
    const start = this.source.follow(at);
    const length = this.source.int32(start);
    const { buffer, byteOffset } = this.source.view;
    const from = this.source.claim(start + 4, length);
    return new TextDecoder().decode(new Uint8Array(buffer, byteOffset + from, length));
  }

  tables(slot: number): FlatTable[] {
    const { start, length } = this.vector(slot, 4);
    return Array.from({ length }, (_, item) => FlatTable.open(this.source, this.source.follow(start + 4 * item)));
  }

  /** A vector of structs of `itemBytes` bytes each. */
  structs(slot: number, itemBytes: number): Structs {
    const { start, length } = this.vector(slot, itemBytes);
    return {
      length,
      int64: (item, offset) => this.source.int64(start + item * itemBytes + offset),
      int32: (item, offset) => this.source.int32(start + item * itemBytes + offset),
    };
  }

  private vector(slot: number, itemBytes: number): { start: number; length: number } {
    const at = this.place(slot);
    if (at === undefined) return { start: 0, length: 0 };
    const start = this.source.follow(at);
    const length = this.source.int32(start);
    if (length < 0) throw new FlatBufferFault(`a vector of ${length} items`);
    return { start: this.source.claim(start + 4, length * itemBytes), length };
  }
}
