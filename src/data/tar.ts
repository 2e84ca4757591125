/** A bounded reader of tar streams: regular files by name, nothing is ever written where the archive says. */
import { ExitCode, LetheError } from '../errors.js';

const blockBytes = 512;

export interface TarMember {
  /** As in the archive; a name to compare, never a path to open. */
  name: string;
  bytes: number;
  /** The member's content; what is left unread is skipped. */
  content: AsyncGenerator<Uint8Array>;
}

/** Hands out exact amounts of a stream of chunks of any size. */
class ByteReader {
  private readonly iterator: AsyncIterator<Uint8Array>;
  private chunk: Uint8Array = new Uint8Array(0);

  constructor(source: AsyncIterable<Uint8Array>) {
    this.iterator = source[Symbol.asyncIterator]();
  }

  /** Between 1 and `limit` bytes, or undefined at the end of the stream. */
  async some(limit: number): Promise<Uint8Array | undefined> {
    while (this.chunk.length === 0) {
      const next = await this.iterator.next();
      if (next.done) return undefined;
      this.chunk = next.value;
    }
    const part = this.chunk.subarray(0, limit);
    this.chunk = this.chunk.subarray(part.length);
    return part;
  }

  /** Ends the stream behind it too. */
  async close(): Promise<void> {
    await this.iterator.return?.();
  }

  /** One block, or undefined when the stream ends before it. */
  async block(): Promise<Uint8Array | undefined> {
    const block = new Uint8Array(blockBytes);
    for (let filled = 0; filled < blockBytes;) {
      const part = await this.some(blockBytes - filled);
      if (part === undefined) return undefined;
      block.set(part, filled);
      filled += part.length;
    }
    return block;
  }
}

/**
 * The regular files of a tar stream (ustar, old and GNU headers; folders and header extensions are passed over).
 * @throws LETHE_ARCHIVE_DAMAGED for a wrong header sum, size or end, or more than maxBytes of content;
 * LETHE_ARCHIVE_UNSAFE for links, devices and names that lead out of the archive's folder (exit code 3)
 */
export async function* readTar(source: AsyncIterable<Uint8Array>, maxBytes: number): AsyncGenerator<TarMember> {
  const reader = new ByteReader(source);
  let allowance = maxBytes;
  try {
    for (;;) {
      const header = await reader.block();
      if (header === undefined) throw damaged('an end-of-archive block', 'the end of the stream');
      if (header.every((byte) => byte === 0)) return;
      const { name, type, bytes } = parseHeader(header);
      allowance -= bytes;
      if (allowance < 0) throw damaged(`at most ${maxBytes} bytes of files`, `more, at ${JSON.stringify(name)}`);
      const member = { name, left: bytes };
      if (type === 'file') yield { name, bytes, content: contentOf(reader, member) };
      member.left += (blockBytes - (bytes % blockBytes)) % blockBytes; // what the caller left, and the padding
      while (member.left > 0) await take(reader, member);
    }
  } finally {
    await reader.close();
  }
}

interface OpenMember {
  name: string;
  /** Bytes of it that are still in the stream. */
  left: number;
}

async function* contentOf(reader: ByteReader, member: OpenMember): AsyncGenerator<Uint8Array> {
  while (member.left > 0) yield await take(reader, member);
}

async function take(reader: ByteReader, member: OpenMember): Promise<Uint8Array> {
  const part = await reader.some(member.left);
  if (part === undefined) throw damaged(`${member.left} more bytes of ${JSON.stringify(member.name)}`, 'the end of the stream');
  member.left -= part.length;
  return part;
}

function parseHeader(header: Uint8Array): { name: string; type: 'file' | 'other'; bytes: number } {
  const text = (from: number, length: number): string =>
    Buffer.from(header.subarray(from, from + length))
      .toString('utf8')
      .replace(/\0.*$/s, '');
  const sum = header.reduce((total, byte, k) => total + (k >= 148 && k < 156 ? 32 : byte), 0);
  if (octal(text(148, 8)) !== sum) throw damaged(`a header sum of ${sum}`, JSON.stringify(text(148, 8)));
  const prefix = text(257, 5) === 'ustar' && text(345, 155) !== '' && text(257, 8) !== 'ustar  ' ? `${text(345, 155)}/` : '';
  const name = prefix + text(0, 100);
  const bytes = octal(text(124, 12));
  if (bytes === undefined) throw damaged('an octal size', JSON.stringify(text(124, 12)));
  const flag = String.fromCharCode(header[156]!);
  if (name.startsWith('/') || name.split(/[/\\]/).includes('..')) throw unsafe('names inside the archive', JSON.stringify(name));
  if (flag === '0' || flag === '\0' || flag === '7') return { name, type: 'file', bytes };
  // folder, pax headers, GNU long names: their content only describes members
  if ('5xgLK'.includes(flag)) return { name, type: 'other', bytes };
  throw unsafe('files and folders only', `an entry of type ${JSON.stringify(flag)} named ${JSON.stringify(name)}`);
}

function octal(text: string): number | undefined {
  const digits = text.trim();
  return /^[0-7]{1,11}$/.test(digits) ? parseInt(digits, 8) : undefined;
}

function damaged(expected: string, received: string): LetheError {
  return new LetheError('LETHE_ARCHIVE_DAMAGED', 'the archive is damaged', { expected, received, exitCode: ExitCode.damagedInput });
}

function unsafe(expected: string, received: string): LetheError {
  return new LetheError('LETHE_ARCHIVE_UNSAFE', 'the archive is refused', { expected, received, exitCode: ExitCode.damagedInput });
}
