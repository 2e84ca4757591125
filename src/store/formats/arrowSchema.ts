/** Columns of an Arrow file as its metadata describe them, from bytes that may be damaged. */
import { type FlatTable, FlatBufferFault } from './flatbuffer.js';

/** Types of which values are read, by their parameters; all others are known by name only. */
export type ArrowType =
  | { kind: 'int'; bits: number; signed: boolean }
  | { kind: 'float'; bits: number }
  | { kind: 'text'; offsets: 32 | 64 | 'view' }
  | { kind: 'list'; offsets: 32 | 64 }
  | { kind: 'fixedList'; width: number }
  | { kind: 'other' };

export interface ArrowField {
  name: string;
  /** For messages, e.g. "list<int32>". */
  typeName: string;
  type: ArrowType;
  /** Buffers of the column itself in a record batch; 'view' columns have further ones, by count of the batch. */
  buffers: number;
  view: boolean;
  children: ArrowField[];
}

export interface ArrowSchema {
  fields: ArrowField[];
  metadata: Map<string, string>;
}

const maxDepth = 16;

/** Numbers of the format's union Type: name, buffers in a record batch. */
const types = new Map<number, [name: string, buffers: number]>([
  [1, ['null', 0]],
  [2, ['int', 2]],
  [3, ['float', 2]],
  [4, ['binary', 3]],
  [5, ['text', 3]],
  [6, ['bool', 2]],
  [7, ['decimal', 2]],
  [8, ['date', 2]],
  [9, ['time', 2]],
  [10, ['timestamp', 2]],
  [11, ['interval', 2]],
  [12, ['list', 2]],
  [13, ['struct', 1]],
  [14, ['union', 1]],
  [15, ['fixed-size binary', 2]],
  [16, ['fixed-size list', 1]],
  [17, ['map', 2]],
  [18, ['duration', 2]],
  [19, ['large binary', 3]],
  [20, ['large text', 3]],
  [21, ['large list', 2]],
  [22, ['run-end encoded', 0]],
  [23, ['binary view', 2]],
  [24, ['text view', 2]],
  [25, ['list view', 3]],
  [26, ['large list view', 3]],
]);

/** `schema`: a table Schema. @throws FlatBufferFault */
export function readSchema(schema: FlatTable): ArrowSchema {
  if (schema.uint16(0) !== 0) throw new FlatBufferFault('big-endian numbers');
  return { fields: schema.tables(1).map((field) => readField(field, 0)), metadata: readKeyValues(schema, 2) };
}

function readKeyValues(table: FlatTable, slot: number): Map<string, string> {
  const metadata = new Map<string, string>();
  for (const entry of table.tables(slot)) {
    const key = entry.text(0) ?? '';
    if (metadata.has(key)) throw new FlatBufferFault(`metadata ${JSON.stringify(key.slice(0, 80))} twice`);
    metadata.set(key, entry.text(1) ?? '');
  }
  return metadata;
}

function readField(field: FlatTable, depth: number): ArrowField {
  if (depth > maxDepth) throw new FlatBufferFault(`columns inside columns, more than ${maxDepth} deep`);
  const number = field.uint8(2);
  const known = types.get(number);
  if (!known) throw new FlatBufferFault(`a column of the unknown type ${number}`);
  const [name, buffers] = known;
  const encoded = field.table(4) !== undefined;
  // the values of a dictionary lie elsewhere: the batch holds their numbers
  const children = encoded ? [] : field.tables(5).map((child) => readField(child, depth + 1));
  const type: ArrowType = encoded ? { kind: 'other' } : typeOf(number, field.table(3), children.length);
  const inner = children.map((child) => child.typeName).join(', ');
  return {
    name: field.text(0) ?? '',
    typeName: encoded ? `dictionary of ${name}` : `${describe(name, type)}${inner === '' ? '' : `<${inner}>`}`,
    type,
    buffers: encoded ? 2 : name === 'union' ? buffers + (field.table(3)?.uint16(0) === 1 ? 1 : 0) : buffers,
    view: !encoded && (number === 23 || number === 24),
    children,
  };
}

function typeOf(number: number, parameters: FlatTable | undefined, numChildren: number): ArrowType {
  const lists = number === 12 || number === 16 || number === 21;
  if (lists && numChildren !== 1) throw new FlatBufferFault(`a list of ${numChildren} kinds of items`);
  switch (number) {
    case 2: {
      const bits = parameters?.int32(0) ?? 0;
      if (![8, 16, 32, 64].includes(bits)) throw new FlatBufferFault(`integers of ${bits} bits`);
      return { kind: 'int', bits, signed: (parameters?.uint8(1) ?? 0) !== 0 };
    }
    case 3: {
      const bits = [16, 32, 64][parameters?.uint16(0) ?? 0];
      if (bits === undefined) throw new FlatBufferFault('floating-point numbers of an unknown size');
      return { kind: 'float', bits };
    }
    case 5:
      return { kind: 'text', offsets: 32 };
    case 20:
      return { kind: 'text', offsets: 64 };
    case 24:
      return { kind: 'text', offsets: 'view' };
    case 12:
      return { kind: 'list', offsets: 32 };
    case 21:
      return { kind: 'list', offsets: 64 };
    case 16: {
      const width = parameters?.int32(0) ?? 0;
      if (width < 0) throw new FlatBufferFault(`lists of ${width} items`);
      return { kind: 'fixedList', width };
    }
    default:
      return { kind: 'other' };
  }
}

function describe(name: string, type: ArrowType): string {
  if (type.kind === 'int') return `${type.signed ? '' : 'u'}int${type.bits}`;
  return type.kind === 'float' ? `float${type.bits}` : name;
}
