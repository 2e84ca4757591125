/** Writes ustar archives for tests. */
export interface TarFile {
  name: string;
  content: string | Uint8Array;
  /** ustar type flag; '0' is a regular file. */
  type?: string;
}

/** 512 bytes; `sizeField` overrides the octal size. */
export function tarHeader(name: string, bytes: number, type = '0', sizeField = bytes.toString(8).padStart(11, '0')): Buffer {
  const header = Buffer.alloc(512);
  header.write(name, 0, 'latin1');
  header.write('0000644\0', 100);
  header.write(`${sizeField}\0`, 124);
  header.write(' '.repeat(8), 148);
  header.write(type, 156);
  header.write('ustar\u000000', 257);
  const sum = header.reduce((total, byte) => total + byte, 0);
  header.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148);
  return header;
}

export function tar(files: TarFile[]): Buffer {
  const parts: Buffer[] = [];
  for (const { name, content, type } of files) {
    const bytes = Buffer.from(content as string, 'latin1');
    parts.push(tarHeader(name, bytes.length, type), bytes, Buffer.alloc((512 - (bytes.length % 512)) % 512));
  }
  return Buffer.concat([...parts, Buffer.alloc(1024)]);
}
