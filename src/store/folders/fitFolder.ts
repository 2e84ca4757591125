/**
 * The folder of `lethe fit`. While it works, `blocks/` holds command.json (what is fitted), a datamodels file for each finished block
 * of targets and their manifests; at the end datamodels.arrow is made of them, fit.json is written last and `blocks/` goes.
 */
import fs from 'node:fs/promises';
import path from 'node:path';
import { errorMessage, LetheError } from '../../errors.js';
import type { Datamodels } from '../../types.js';
import { ArtefactFolder, readManifest } from './artefacts.js';
import { claim, readClaim, whileClaimed } from './claim.js';
import { encodeDatamodels, readDatamodelBatches, readDatamodels, streamDatamodels } from '../contents/datamodels.js';
import { damaged, hashFile, sha256 } from '../disk/files.js';
import { decodeJson, encodeJson, formatJson, readJsonBytes } from '../disk/json.js';
import { fitLayout } from './layout.js';
import { differenceText } from './planIdentity.js';
import { publishFile, removeStaleTemporaries } from '../disk/publish.js';
import { warn } from '../disk/warnings.js';

/** Everything that decides the numbers of a fit, and nothing else: options, and what tells its inputs from others. */
export type FitCommand = Record<string, unknown>;

export interface BlockSpan {
  first: number;
  end: number;
}

export interface FinishedBlock extends BlockSpan {
  bytes: number;
  /** sha256 of the block's outputs when it was fitted. */
  inputSha256: string;
  /** What the fit took; NaN for blocks of earlier versions. */
  seconds: number;
}

/** fit.json: the command, what the fit came to, and the file it describes. */
export interface FitRecord {
  command: FitCommand;
  summary: { threads: number; [fact: string]: unknown };
  /** What fitting all targets took, over all sessions; absent in folders of earlier versions. */
  seconds?: number;
  datamodels: { bytes: number; sha256: string };
  [fact: string]: unknown;
}

export class FitFolder {
  private readonly blocks: ArtefactFolder;

  private constructor(
    readonly root: string,
    private readonly command: FitCommand,
  ) {
    const again = 'Run the same lethe fit again: only what is missing is fitted.';
    const place = (name: string): boolean => fitLayout.blockSpan(name) !== undefined;
    this.blocks = new ArtefactFolder(path.join(root, fitLayout.blocks), sha256(formatJson(command)), place, again);
  }

  /**
   * Nothing is written before the first block is published.
   * @throws LETHE_FIT_CHANGED (exit code 2) when the folder belongs to another command
   */
  static async open(root: string, command: FitCommand): Promise<FitFolder> {
    const folder = new FitFolder(path.resolve(root), command);
    const finished = (await folder.record())?.command;
    if (finished) requireSame(folder.root, finished, command);
    const started = await readClaim(folder.commandPath);
    if (started) requireSame(folder.root, started, command);
    if (await isFolder(folder.blocks.root)) await removeStaleTemporaries(folder.root);
    return folder;
  }

  /**
   * From now on the folder is of this command, unless `work` fails before it has published a block.
   * @throws LETHE_FIT_CHANGED (exit code 2) when another one has begun, or come to its end, since this one looked
   */
  async whileClaimed<T>(work: () => Promise<T>): Promise<T> {
    const wasThere = await isFolder(this.root);
    try {
      return await whileClaimed(this.blocks.root, () => this.claim(), work);
    } catch (error) {
      if (!wasThere) await fs.rmdir(this.root).catch(() => undefined); // where nothing is in it
      throw error;
    }
  }

  private async claim(): Promise<void> {
    await claim(this.commandPath, this.command, (differences) => changed(this.root, differences));
    const finished = (await this.record())?.command;
    if (finished) requireSame(this.root, finished, this.command);
  }

  /** The finished fit; undefined when there is none, or its datamodels are not what it says. */
  async finishedFit(): Promise<FitRecord | undefined> {
    const record = await this.record();
    const found = record?.datamodels && (await hashFile(this.datamodelsPath));
    return found?.sha256 === record?.datamodels.sha256 ? record : undefined;
  }

  /** Blocks that are whole, in order; of blocks that overlap the first. */
  async finishedBlocks(): Promise<FinishedBlock[]> {
    const names = await fs.readdir(this.blocks.root).catch(() => []);
    const found: FinishedBlock[] = [];
    for (const name of names.sort()) {
      const span = fitLayout.blockSpan(name);
      if (!span || span.first < (found.at(-1)?.end ?? 0)) continue;
      const manifest = await this.blocks.finished(name);
      if (manifest?.inputSha256 === undefined) continue;
      const { bytes, inputSha256, seconds = NaN } = manifest;
      found.push({ ...span, bytes, inputSha256, seconds });
    }
    return found;
  }

  /** @throws LETHE_DISK_FULL, LETHE_FILE_UNWRITABLE (exit code 4) */
  async publishBlock(
    { first, end }: BlockSpan,
    datamodels: Datamodels,
    facts: { inputSha256: string; seconds: number },
  ): Promise<FinishedBlock> {
    await this.claim();
    const content = encodeDatamodels(datamodels);
    await this.blocks.publish([{ path: fitLayout.block(first, end), content, rows: end - first, firstRow: first, ...facts }]);
    return { first, end, bytes: content.length, ...facts };
  }

  /**
   * Makes datamodels.arrow of all blocks: the same bytes for every cut. `onPart` sees each block's datamodels on their way.
   * @throws LETHE_ARTEFACT_MISSING, LETHE_ARTEFACT_DAMAGED (exit code 3), LETHE_DISK_FULL (exit code 4)
   */
  async assemble(
    numTrain: number,
    blocks: readonly FinishedBlock[],
    onPart: (part: Datamodels) => void,
  ): Promise<{ bytes: number; sha256: string }> {
    const { blocks: folder } = this;
    async function* parts(): AsyncGenerator<Datamodels> {
      for (const { first, end } of blocks) {
        const name = fitLayout.block(first, end);
        const part = readDatamodels(await folder.read(name), name);
        onPart(part);
        yield part;
      }
    }
    const bytes = blocks.reduce((sum, block) => sum + block.bytes, 0);
    return publishFile(this.datamodelsPath, streamDatamodels(numTrain, parts()), bytes);
  }

  /** The datamodels of the finished file, batch by batch. */
  datamodels(): AsyncGenerator<Datamodels> {
    return readDatamodelBatches(this.datamodelsPath);
  }

  /** Writes fit.json: from now on the fit is finished, and the blocks are not needed. */
  async finish(record: FitRecord): Promise<void> {
    await publishFile(path.join(this.root, fitLayout.record), encodeJson(record));
    await this.removeBlocks();
  }

  /** Also what a kill between fit.json and the end has left. The fit is finished, whether they go or not. */
  async removeBlocks(): Promise<void> {
    await fs.rm(this.blocks.root, { recursive: true, force: true, maxRetries: 2 }).catch((error: unknown) => {
      warn(`${this.blocks.root} is needed no more, but cannot be removed: ${errorMessage(error)}`);
    });
  }

  get datamodelsPath(): string {
    return path.join(this.root, fitLayout.datamodels);
  }

  private get commandPath(): string {
    return path.join(this.blocks.root, fitLayout.command);
  }

  private async record(): Promise<FitRecord | undefined> {
    const read = await readRecord(this.root);
    return read === 'damaged' ? undefined : read; // a damaged description: the fit is made again
  }
}

async function readRecord(root: string): Promise<FitRecord | 'damaged' | undefined> {
  const bytes = await readJsonBytes(path.join(root, fitLayout.record));
  if (!bytes) return undefined;
  const { z } = await import('zod'); // commands that read no record start without it
  const schema = z.looseObject({
    command: z.record(z.string(), z.unknown()),
    summary: z.looseObject({ threads: z.int().positive() }),
    seconds: z.number().nonnegative().or(z.nan()).optional(),
    datamodels: z.object({ bytes: z.int().nonnegative(), sha256: z.string().regex(/^[0-9a-f]{64}$/) }),
  });
  try {
    return schema.parse(decodeJson(bytes, fitLayout.record)) as FitRecord;
  } catch {
    return 'damaged';
  }
}

/**
 * A datamodels file that lies where a fit or a run has put it must be what is written down there about it; of others nothing is known.
 * @throws LETHE_DATAMODELS_CHANGED (exit code 3)
 */
export async function requireRecordedDatamodels(file: string): Promise<void> {
  const folder = path.dirname(path.resolve(file));
  const name = path.basename(file);
  const record = name === fitLayout.datamodels ? await readRecord(folder) : undefined;
  if (record === 'damaged') throw changedDatamodels(file, `a readable ${fitLayout.record} beside it`, 'a damaged one');
  const parent = path.dirname(folder);
  const recorded =
    record?.datamodels ?? (await readManifest(folder, name)) ?? (await readManifest(parent, `${path.basename(folder)}/${name}`));
  if (!recorded) return;
  const found = await hashFile(file);
  if (found && found.sha256 !== recorded.sha256) {
    throw changedDatamodels(file, `sha256 ${recorded.sha256}, as it was written`, `sha256 ${found.sha256}, ${found.bytes} bytes`);
  }
}

function changedDatamodels(file: string, expected: string, received: string): LetheError {
  const action = 'Copy the folder again; or, where the file was changed on purpose, move it to a folder of its own.';
  return damaged('LETHE_DATAMODELS_CHANGED', `${file} is not the file that was fitted`, expected, received, action);
}

async function isFolder(name: string): Promise<boolean> {
  return (await fs.stat(name).catch(() => undefined))?.isDirectory() === true;
}

function requireSame(root: string, before: FitCommand, given: FitCommand): void {
  const received = differenceText(before, given, 'there');
  if (received !== undefined) throw changed(root, received);
}

function changed(root: string, received: string): LetheError {
  return new LetheError('LETHE_FIT_CHANGED', `${root} belongs to another fit`, {
    expected: 'the same options and inputs',
    received,
    action: 'Give the changed fit another --out, or remove that folder.',
  });
}
