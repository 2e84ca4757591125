/** CIFAR in forms that are not read, recognised by their files, with the command that makes them readable; none of them needs a network. */
import fs from 'node:fs/promises';
import path from 'node:path';

export interface ForeignData {
  /** What it is. */
  found: string;
  /** What to do, a sentence. */
  action: string;
}

/** A record of CIFAR-100 has two labels before its pixels. */
const cifar100RecordBytes = 3074;
const recordBytes = 3073;
const batches = ['data_batch_1', 'data_batch_2', 'data_batch_3', 'data_batch_4', 'data_batch_5', 'test_batch'];
const archives = /\.(tar\.gz|tgz|tar|zip|tar\.bz2|tar\.xz)$/;

/** Undefined where nothing of the kind is there. */
export async function recogniseForeign(directory: string): Promise<ForeignData | undefined> {
  if (await isFile(directory)) return archives.test(directory) ? archive(directory) : undefined;
  const below = (name: string): string[] => [directory, path.join(directory, name)];
  for (const folder of below('cifar-10-batches-py')) if (await hasFiles(folder, batches.slice(0, 1))) return pickles10(folder);
  for (const folder of below('cifar-100-python')) if (await hasFiles(folder, ['train', 'test', 'meta'])) return pickles100(folder);
  for (const folder of below('cifar-100-binary')) if (await isCifar100(folder)) return binary100(folder);
  const names = await fs.readdir(directory).catch(() => []);
  const packed = names.sort().find((name) => name.startsWith('cifar') && archives.test(name)) ?? names.find((name) => archives.test(name));
  return packed === undefined ? undefined : archive(path.join(directory, packed));
}

/** Whether train.bin and test.bin of a folder are those of CIFAR-100, or as many records of its kind. */
export async function isCifar100(folder: string): Promise<boolean> {
  const sizes = await Promise.all(['train.bin', 'test.bin'].map((name) => sizeOf(path.join(folder, name))));
  if (sizes.some((size) => size === undefined || size === 0 || size % cifar100RecordBytes !== 0)) return false;
  return sizes.some((size) => size! % recordBytes !== 0) || hasFiles(folder, ['fine_label_names.txt']);
}

function pickles10(folder: string): ForeignData {
  const script =
    "import numpy as n; [n.insert(d[b'data'], 0, d[b'labels'], axis=1).tofile(f + '.bin') " +
    "for f in ['data_batch_%d' % k for k in range(1, 6)] + ['test_batch'] for d in [n.load(f, allow_pickle=True, encoding='bytes')]]";
  return {
    found: 'CIFAR-10 as Python pickles (its "python version")',
    action: `Write the binary version beside them: ${inFolder(folder, script)} and give the folder ${folder}`,
  };
}

const images = 'reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)';
const splits = "for f, o in [('train', 'train'), ('test', 'validation')]";
const save = (pixels: string, labels: string): string =>
  `(n.save(o + '_images', n.ascontiguousarray(${pixels}.${images})), n.save(o + '_labels', ${labels}))`;

function pickles100(folder: string): ForeignData {
  const script =
    `import numpy as n; [${save("d[b'data']", "n.array(d[b'fine_labels'])")} ${splits} ` +
    "for d in [n.load(f, allow_pickle=True, encoding='bytes')]]";
  return { found: 'CIFAR-100 as Python pickles', action: asImages(folder, script) };
}

function binary100(folder: string): ForeignData {
  const script = `import numpy as n; [${save('r[:, 2:]', 'r[:, 1]')} ${splits} for r in [n.fromfile(f + '.bin', 'u1').reshape(-1, ${cifar100RecordBytes})]]`;
  return { found: 'CIFAR-100, whose records have two labels', action: asImages(folder, script) };
}

function asImages(folder: string, script: string): string {
  return `Write it as NumPy images beside them: ${inFolder(folder, script)} and give the folder ${folder} to the data set npy`;
}

function inFolder(folder: string, script: string): string {
  return `(cd ${quoted(folder)} && python3 -c "${script}")`;
}

function archive(file: string): ForeignData {
  const folder = path.dirname(file);
  const command = file.endsWith('.zip') ? `unzip ${quoted(file)} -d ${quoted(folder)}` : `tar -xf ${quoted(file)} -C ${quoted(folder)}`;
  return {
    found: `an archive, ${path.basename(file)}`,
    action: `Unpack it: ${command} and give the folder ${folder} or the one it made there`,
  };
}

/** For a shell. */
function quoted(name: string): string {
  return /^[\w./-]+$/.test(name) ? name : `'${name.replaceAll("'", "'\\''")}'`;
}

async function sizeOf(file: string): Promise<number | undefined> {
  const stat = await fs.stat(file).catch(() => undefined);
  return stat?.isFile() ? stat.size : undefined;
}

async function isFile(file: string): Promise<boolean> {
  return (await sizeOf(file)) !== undefined;
}

async function hasFiles(folder: string, names: readonly string[]): Promise<boolean> {
  const present = await Promise.all(names.map((name) => isFile(path.join(folder, name))));
  return present.every(Boolean);
}
