/**
 * Outputs of the subset models by columns, as fits of many targets need them. Every shard is read and checked once, whatever is asked for
 * after: its columns are laid together in bands, in memory or, where that does not suffice, in a file of the run folder.
 */
import type { FileHandle } from 'node:fs/promises';
import path from 'node:path';
import { errorCode, requireRunning } from '../../errors.js';
import { shardRanges } from '../../jobs/shards.js';
import { defaultMemory } from '../../native/limits.js';
import { nativeFloats } from '../../native/memory.js';
import { isTrained, readOutputs, type StoredOutputs } from '../contents/outputs.js';
import { damaged, openForReading, readFully, sha256 } from '../disk/files.js';
import { decodeJson, encodeJson } from '../disk/json.js';
import { readManifest } from './artefacts.js';
import { layout } from './layout.js';
import type { RunFolder } from './run.js';

const fields = ['logits', 'margins'] as const;
export type OutputField = (typeof fields)[number];

export interface OutputColumns {
  /** Positions of the models that trained among those of all shards, ascending: a diverged one has no outputs. */
  trained: Int32Array;
  /** Trained and diverged. */
  numModels: number;
  /**
   * (trained.length, columns) row-major: columns [first, end), or those of a list, of logits (points * classes columns) or margins (points).
   * @throws LETHE_ARTEFACT_DAMAGED (exit code 3)
   */
  read(field: OutputField, columns: { first: number; end: number } | Int32Array): Promise<Float32Array>;
}

export interface ColumnOptions {
  /** Bytes that outputs may take in memory; default: half of what is free. */
  memory?: number;
  signal?: AbortSignal;
}

/** Columns that lie together, and are fitted together. */
const bandColumns = 2560;

/** Points of a band of logits. */
export function pointsOfBand(numClasses: number): number {
  return Math.max(1, Math.floor(bandColumns / numClasses));
}

interface Band {
  field: OutputField;
  first: number;
  end: number;
}

/** Segments, (rows of a shard that trained, columns of a band) each, follow each other: all bands of the first shard, of the second, ... */
interface Bands {
  /** sha256 of each. */
  shards: string[];
  bands: Band[];
  /** Of each shard. */
  numRows: number[];
  /** Rows of each shard that trained. */
  trained: number[][];
}

/** What is known of the file. */
interface FileIndex extends Bands {
  /** sha256 of each segment. */
  segments: string[];
}

/** Opened once for all tasks of a process. */
const opened = new WeakMap<RunFolder, Promise<OpenColumns>>();

/**
 * The outputs of all subset models of a run; the same object until releaseOutputs().
 * @throws LETHE_ARTEFACT_MISSING, LETHE_ARTEFACT_DAMAGED (exit code 3), LETHE_DISK_FULL (4), LETHE_TASK_ABORTED (75)
 */
export function outputColumns(run: RunFolder, options: ColumnOptions = {}): Promise<OutputColumns> {
  const known = opened.get(run);
  if (known) return known;
  const opening = open(run, options).catch((error: unknown) => {
    opened.delete(run);
    throw error;
  });
  opened.set(run, opening);
  return opening;
}

/** Makes the file, where it is not there, for processes that do not share memory. @throws as outputColumns() */
export async function shareOutputs(run: RunFolder, { signal }: Pick<ColumnOptions, 'signal'> = {}): Promise<void> {
  const shards = await shardsOf(run);
  const file = await openFile(run, shards);
  if (file) await file.close();
  else await writeFile(run, shards, signal);
}

/** Nothing needs them any more: memory is given back, and the file goes. */
export async function releaseOutputs(run: RunFolder): Promise<void> {
  const columns = await opened.get(run)?.catch(() => undefined);
  opened.delete(run);
  await columns?.close();
  await removeFile(run);
}

interface Shard {
  path: string;
  bytes: number;
  sha256: string;
}

/** By their manifests; reading finds what is missing. */
async function shardsOf({ root, plan }: RunFolder): Promise<Shard[]> {
  const { count, modelsPerShard } = plan.subsetModels;
  return Promise.all(
    shardRanges(count, modelsPerShard).map(async ({ shard }) => {
      const artefact = layout.subsetOutputs(shard);
      const { bytes = 0, sha256: sum = '' } = (await readManifest(root, artefact)) ?? {};
      return { path: artefact, bytes, sha256: sum };
    }),
  );
}

async function open(run: RunFolder, { memory = defaultMemory(), signal }: ColumnOptions): Promise<OpenColumns> {
  const shards = await shardsOf(run);
  const file = await openFile(run, shards);
  if (file) return file;
  if (totalBytes(shards) <= memory) {
    const bands = emptyBands(shards);
    const segments: Float32Array[] = [];
    for await (const segment of readBands(run, shards, bands, signal)) segments.push(segment);
    return new OpenColumns(bands, async (at) => Promise.resolve(segments[at]!));
  }
  await writeFile(run, shards, signal);
  return (await openFile(run, shards))!;
}

function totalBytes(shards: Shard[]): number {
  return shards.reduce((sum, { bytes }) => sum + bytes, 0);
}

function emptyBands(shards: Shard[]): Bands {
  return { shards: shards.map((shard) => shard.sha256), bands: [], numRows: [], trained: [] };
}

/** Segments in order; `bands` is filled on the way. */
async function* readBands(run: RunFolder, shards: Shard[], bands: Bands, signal: AbortSignal | undefined): AsyncGenerator<Float32Array> {
  for (const { path: artefact } of shards) {
    requireRunning(signal);
    const outputs = readOutputs(await run.read(artefact), artefact);
    if (bands.bands.length === 0) bands.bands = bandsOf(outputs);
    const rows = Array.from({ length: outputs.numRows }, (_, row) => row).filter((row) => isTrained(outputs, row));
    bands.numRows.push(outputs.numRows);
    bands.trained.push(rows);
    for (const { field, first, end } of bands.bands) {
      const segment = new Float32Array(rows.length * (end - first));
      rows.forEach((row, k) => {
        segment.set(outputs[field]!.row(row).subarray(first, end), k * (end - first));
      });
      yield segment;
    }
  }
}

function bandsOf(outputs: StoredOutputs): Band[] {
  const { numPoints, numClasses } = outputs;
  return fields.flatMap((field) => {
    if (!outputs[field]) return [];
    const [columns, width] =
      field === 'logits' ? [numPoints * numClasses, pointsOfBand(numClasses) * numClasses] : [numPoints, bandColumns];
    const bands: Band[] = [];
    for (let first = 0; first < columns; first += width) bands.push({ field, first, end: Math.min(first + width, columns) });
    return bands;
  });
}

/** The index is published last: a file without one is not finished. */
async function writeFile(run: RunFolder, shards: Shard[], signal: AbortSignal | undefined): Promise<void> {
  const index: FileIndex = { ...emptyBands(shards), segments: [] };
  async function* content(): AsyncGenerator<Uint8Array> {
    for await (const segment of readBands(run, shards, index, signal)) {
      index.segments.push(sha256(segment));
      yield new Uint8Array(segment.buffer);
    }
  }
  await run.publish([{ path: layout.outputColumns, content: content() }], totalBytes(shards));
  await run.publish([{ path: layout.outputColumnsIndex, content: encodeJson(index) }]);
}

async function removeFile(run: RunFolder): Promise<void> {
  await run.remove(layout.outputColumnsIndex);
  await run.remove(layout.outputColumns);
}

/** Undefined where there is none, or not of these shards. */
async function openFile(run: RunFolder, shards: Shard[]): Promise<OpenColumns | undefined> {
  if (!(await run.isDone(layout.outputColumnsIndex))) return undefined;
  const index = decodeJson(await run.read(layout.outputColumnsIndex), layout.outputColumnsIndex) as FileIndex;
  if (index.shards.join() !== shards.map((shard) => shard.sha256).join()) return undefined;
  const file = path.join(run.root, layout.outputColumns);
  const found = await openForReading(file).catch((error: unknown) => {
    if (errorCode(error) === 'LETHE_FILE_MISSING') return undefined;
    throw error;
  });
  if (!found) return undefined;
  const starts = [0];
  for (const rows of index.trained) for (const { first, end } of index.bands) starts.push(starts.at(-1)! + 4 * rows.length * (end - first));
  if (found.bytes !== starts.at(-1)) {
    await found.handle.close();
    return undefined;
  }
  const segment = async (at: number): Promise<Float32Array> => {
    const values = new Float32Array((starts[at + 1]! - starts[at]!) / 4);
    await readFully(found.handle, values.buffer, starts[at]!);
    if (sha256(values) === index.segments[at]) return values;
    await removeFile(run);
    throw damaged('LETHE_ARTEFACT_DAMAGED', `${file} is damaged`, 'what was written', 'other bytes', 'The same command makes it anew.');
  };
  return new OpenColumns(index, segment, found.handle);
}

class OpenColumns implements OutputColumns {
  readonly trained: Int32Array;
  readonly numModels: number;

  constructor(
    private readonly bands: Bands,
    /** By its place. */
    private readonly segment: (at: number) => Promise<Float32Array>,
    private readonly handle?: FileHandle,
  ) {
    const { numRows, trained } = bands;
    const firstOf = numRows.map((_, shard) => numRows.slice(0, shard).reduce((sum, rows) => sum + rows, 0));
    this.trained = Int32Array.from(trained.flatMap((rows, shard) => rows.map((row) => firstOf[shard]! + row)));
    this.numModels = numRows.reduce((sum, rows) => sum + rows, 0);
  }

  async read(field: OutputField, columns: { first: number; end: number } | Int32Array): Promise<Float32Array> {
    const wanted = 'first' in columns ? undefined : columns;
    const { first, end } = 'first' in columns ? columns : { first: 0, end: columns.length };
    const all = nativeFloats(this.trained.length * (end - first));
    for (const [index, band] of this.bands.bands.entries()) {
      if (band.field !== field) continue;
      const inside = (column: number): boolean => column >= band.first && column < band.end;
      const from = Math.max(first, band.first);
      const to = Math.min(end, band.end);
      // places in the result of what a list takes from here
      const places = wanted && [...wanted.keys()].filter((place) => inside(wanted[place]!));
      if (places ? places.length === 0 : from >= to) continue;
      let row = 0;
      for (const [shard, rows] of this.bands.trained.entries()) {
        const segment = await this.segment(shard * this.bands.bands.length + index);
        for (let k = 0; k < rows.length; k++, row++) {
          const values = segment.subarray(k * (band.end - band.first), (k + 1) * (band.end - band.first));
          if (places) for (const place of places) all[row * (end - first) + place] = values[wanted[place]! - band.first]!;
          else all.set(values.subarray(from - band.first, to - band.first), row * (end - first) + from - first);
        }
      }
    }
    return all;
  }

  async close(): Promise<void> {
    await this.handle?.close();
  }
}
