/** `lethe data fetch`: the official CIFAR-10 archive, checked as a whole and file by file, unpacked into a data directory. */
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import fs from 'node:fs/promises';
import path from 'node:path';
import zlib from 'node:zlib';
import { ExitCode, LetheError } from '../errors.js';
import { hashFile } from '../store/disk/files.js';
import { makeFolder, publishFile } from '../store/disk/publish.js';
import { archiveFolder } from './cifar10.js';
import { download, type DownloadOptions } from './download.js';
import { readTar, type TarMember } from './tar.js';

/** An archive of known content: nothing of it is used before its checksum agrees. */
export interface ArchiveSpec {
  url: string;
  bytes: number;
  sha256: string;
  /** What is taken out of it; files are published under the last part of the name. */
  members: { name: string; bytes: number; sha256: string }[];
}

const batchBytes = 30730000;

/** Sums of the files the University of Toronto has published unchanged since 2009. */
export const cifar10Archive: ArchiveSpec = {
  url: 'https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz',
  bytes: 170052171,
  sha256: 'c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd',
  members: [
    ['data_batch_1.bin', 'cee916563c9f80d84e3cc88e17fdc0941787f1244f00a67874d45b261883ada5'],
    ['data_batch_2.bin', 'a591ca11fa1708a91ee40f54b3da4784ccd871ecf2137de63f51ada8b3fa57ed'],
    ['data_batch_3.bin', 'bbe8596564c0f86427f876058170b84dac6670ddf06d79402899d93ceea26f67'],
    ['data_batch_4.bin', '014e562d6e23c72197cc727519169a60359f5eccd8945ad5a09d710285ff4e48'],
    ['data_batch_5.bin', '755304fc0b379caeae8c14f0dac912fbc7d6cd469eb67a1029a08a39453a9add'],
    ['test_batch.bin', '8e2eb146ae340b09e24670f29cabc6326dba54da8789dab6768acf480273f65b'],
  ].map(([name, sha256]) => ({ name: `${archiveFolder}/${name!}`, bytes: batchBytes, sha256: sha256! })),
};

export interface FetchOptions extends Pick<
  DownloadOptions,
  'onProgress' | 'note' | 'signal' | 'maxAttempts' | 'backoffMs' | 'stallMs' | 'minBytes'
> {
  directory: string;
  /** A mirror of the same archive. */
  url?: string | undefined;
}

export interface FetchResult {
  directory: string;
  files: string[];
  /** False when everything was there already and agreed with its checksum. */
  downloaded: boolean;
}

/**
 * Files appear in `directory` whole or not at all; the archive is removed in the end.
 * @throws LETHE_OUT_TAKEN (exit code 2) for a file of the name with other content; what download and readTar throw; LETHE_ARCHIVE_MEMBER for a missing or wrong file in the archive (3), LETHE_DISK_FULL (4)
 */
export async function fetchArchive(archive: ArchiveSpec, options: FetchOptions): Promise<FetchResult> {
  const { directory, url = archive.url, ...rest } = options;
  const files = archive.members.map((member) => path.join(directory, path.posix.basename(member.name)));
  const present = await Promise.all(files.map((file) => hashFile(file)));
  if (archive.members.every((member, k) => present[k]?.sha256 === member.sha256)) return { directory, files, downloaded: false };
  archive.members.forEach(({ sha256 }, k) => {
    const there = present[k];
    if (there && there.sha256 !== sha256) throw taken(files[k]!, sha256, there.sha256);
  });
  await makeFolder(directory);
  const partFile = path.join(directory, `${path.posix.basename(archive.url)}.part`);
  await requireSpace(archive, directory, partFile);
  await download({ ...rest, url, partFile, bytes: archive.bytes, sha256: archive.sha256 });
  await unpack(archive, partFile, directory);
  await fs.rm(partFile);
  return { directory, files, downloaded: true };
}

/** Files are published whole: another one is somebody's own, or was damaged later. */
function taken(file: string, expected: string, received: string): LetheError {
  return new LetheError('LETHE_OUT_TAKEN', `${file} is there, and not the file of the archive`, {
    expected: `no such file, or one with sha256 ${expected}`,
    received,
    action: 'Give another folder, or remove it.',
  });
}

async function requireSpace(archive: ArchiveSpec, directory: string, partFile: string): Promise<void> {
  const part = await fs.stat(partFile).catch(() => undefined);
  const need = archive.bytes - (part?.size ?? 0) + archive.members.reduce((sum, member) => sum + member.bytes, 0);
  const { bavail, bsize } = await fs.statfs(directory);
  if (bavail * bsize >= need) return;
  throw new LetheError('LETHE_DISK_FULL', `no room for the data set in ${directory}`, {
    expected: `${need} free bytes, for the archive and its files`,
    received: `${bavail * bsize} free bytes`,
    exitCode: ExitCode.environment,
  });
}

async function unpack(archive: ArchiveSpec, archiveFile: string, directory: string): Promise<void> {
  const missing = new Set(archive.members.map((member) => member.name));
  const wantedBytes = archive.members.reduce((sum, member) => sum + member.bytes, 0);
  // folders, readme and class names beside the wanted files are small
  for await (const member of readTar(gunzip(archiveFile), wantedBytes + (1 << 20))) {
    const wanted = archive.members.find(({ name }) => name === member.name);
    if (wanted === undefined || !missing.delete(wanted.name)) continue;
    await publishFile(path.join(directory, path.posix.basename(wanted.name)), checked(member, wanted), wanted.bytes);
  }
  if (missing.size > 0) throw memberError(`all of ${archive.members.length} files`, `none named ${[...missing].join(', ')}`);
}

async function* gunzip(file: string): AsyncGenerator<Uint8Array> {
  const source = createReadStream(file);
  const stream = source.pipe(zlib.createGunzip());
  source.on('error', (error) => stream.destroy(error));
  try {
    yield* stream as AsyncIterable<Uint8Array>;
  } catch (cause) {
    throw new LetheError('LETHE_ARCHIVE_DAMAGED', 'the archive cannot be decompressed', {
      received: cause instanceof Error ? cause.message : String(cause),
      exitCode: ExitCode.damagedInput,
      cause,
    });
  } finally {
    source.destroy();
  }
}

/** Passes the content through; throws before its end when it is not what was expected, so that it is never published. */
async function* checked(member: TarMember, wanted: ArchiveSpec['members'][number]): AsyncGenerator<Uint8Array> {
  if (member.bytes !== wanted.bytes) throw memberError(`${wanted.name} of ${wanted.bytes} bytes`, `${member.bytes} bytes`);
  const hash = createHash('sha256');
  for await (const part of member.content) {
    hash.update(part);
    yield part;
  }
  const sum = hash.digest('hex');
  if (sum !== wanted.sha256) throw memberError(`${wanted.name} with sha256 ${wanted.sha256}`, sum);
}

function memberError(expected: string, received: string): LetheError {
  return new LetheError('LETHE_ARCHIVE_MEMBER', 'the archive does not hold what it should', {
    expected,
    received,
    exitCode: ExitCode.damagedInput,
  });
}
