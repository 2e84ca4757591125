/** SHA256SUMS beside the files of a data set, as sha256sum writes it: where it is there, what it says must hold. */
import path from 'node:path';
import { damaged, hashFile, readText, sha256 } from '../store/disk/files.js';

const sumsName = 'SHA256SUMS';
const maxBytes = 1 << 20;

export class Sums {
  private constructor(
    private readonly file: string,
    private readonly sums: ReadonlyMap<string, string>,
  ) {}

  /** Of a folder without the file nothing is known. @throws LETHE_DATA_SUMS (exit code 3) for lines that are no sums */
  static async read(directory: string): Promise<Sums> {
    const file = path.join(directory, sumsName);
    const text = (await readText(file, maxBytes)) ?? '';
    const sums = new Map<string, string>();
    text.split(/\r?\n/).forEach((line, k) => {
      if (line.trim() === '' || line.startsWith('#')) return;
      const [, sum, name] = /^([0-9a-f]{64}) [ *](?:\.\/)?(.+)$/i.exec(line) ?? [];
      if (sum === undefined || name === undefined || sums.has(name)) {
        const received = `line ${k + 1}: ${JSON.stringify(line.slice(0, 100))}`;
        throw damaged(
          'LETHE_DATA_SUMS',
          `${file} is unreadable`,
          'a sha256 and a name in each line, each name once',
          received,
          again(directory),
        );
      }
      sums.set(name, sum.toLowerCase());
    });
    return new Sums(file, sums);
  }

  /** @throws LETHE_DATA_CHECKSUM (exit code 3) when the content is not that of the file `name` */
  require(name: string, content: Uint8Array): void {
    if (this.sums.has(name)) this.compare(name, sha256(content));
  }

  /** The same for a file that need not fit in memory. */
  async requireFile(name: string): Promise<void> {
    if (this.sums.has(name)) this.compare(name, (await hashFile(path.join(path.dirname(this.file), name)))?.sha256 ?? 'no file');
  }

  private compare(name: string, received: string): void {
    const expected = this.sums.get(name);
    if (received === expected) return;
    const directory = path.dirname(this.file);
    throw damaged(
      'LETHE_DATA_CHECKSUM',
      `${path.join(directory, name)} is not what ${sumsName} says`,
      `sha256 ${expected}`,
      received,
      again(directory),
    );
  }
}

const again = (directory: string): string => `Copy ${directory} again, or remove its ${sumsName} if the data were changed on purpose.`;
