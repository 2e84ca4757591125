/**
 * The folder of `lethe train` and `lethe unlearn`: a checkpoint a model, published when it is trained, whose metadata say what made it.
 * The same command finds its models finished; another one is refused, so that a folder never mixes models of two.
 */
import fs from 'node:fs/promises';
import path from 'node:path';
import { errorCode, LetheError } from '../../errors.js';
import type { JobStatus, ParameterTensor } from '../../types.js';
import { readCheckpoint, writeCheckpoint } from '../contents/checkpoint.js';
import { claim, claimFile, whileClaimed } from './claim.js';
import { sha256 } from '../disk/files.js';
import { parseJson } from '../disk/jsonText.js';
import { modelLayout } from './layout.js';
import { differenceText } from './planIdentity.js';
import { removeStaleTemporaries } from '../disk/publish.js';

/** Everything that decides the numbers of a model, and nothing else. */
export type ModelCommand = Record<string, unknown>;

export interface MadeModel {
  model: number;
  status: JobStatus;
  /** Mean loss of the last epoch; absent when nothing was trained. */
  loss?: number;
  gradientImages: number;
}

export interface FinishedModel {
  made: MadeModel;
  parameters: Float32Array;
}

export interface ModelFolderOwner {
  models: { first: number; end: number };
  command: ModelCommand;
  /** Whether the command writes any. */
  checkpoints: boolean;
}

/**
 * Makes the folder that of one command on models [first, end), whose arrays hold these only, while `work` fills it; removes what a killed
 * writer has left.
 * @throws LETHE_MODELS_CHANGED (exit code 2)
 */
export async function fillModelFolder<T>(folder: string, owner: ModelFolderOwner, work: () => Promise<T>): Promise<T> {
  return whileClaimed(folder, () => claimModels(folder, owner), work);
}

async function claimModels(folder: string, { models: { first, end }, command, checkpoints }: ModelFolderOwner): Promise<void> {
  const names = await fs.readdir(folder).catch((error: unknown): string[] => {
    if (errorCode(error) === 'ENOENT') return [];
    throw error;
  });
  if (names.length > 0) await removeStaleTemporaries(folder);
  const models = `${first} to ${end - 1}`;
  const other = names.find((name) => {
    const model = modelLayout.modelOf(name);
    return model !== undefined && (!checkpoints || model < first || model >= end);
  });
  if (other !== undefined)
    throw changed(folder, checkpoints ? `models ${models} only` : 'no checkpoints, as this method writes none', other);
  if (!checkpoints && names.includes(modelLayout.logits) && !names.includes(claimFile)) {
    throw changed(folder, 'models of this command', `${modelLayout.logits}, which does not say what made it`);
  }
  await claim(path.join(folder, claimFile), { ...command, models }, (differences) =>
    changed(folder, 'models of the same options and inputs', differences),
  );
}

/**
 * A model that this command has finished; undefined when there is none, or it is damaged and must be made again.
 * @throws LETHE_MODELS_CHANGED (exit code 2) when another command made it
 */
export async function readFinishedModel(
  folder: string,
  model: number,
  layout: ParameterTensor[],
  command: ModelCommand,
): Promise<FinishedModel | undefined> {
  const file = path.join(folder, modelLayout.checkpoint(model));
  try {
    const { parameters, metadata } = await readCheckpoint(file, layout);
    requireSame(folder, file, metadata.get('command'), command);
    if (metadata.get('parametersSha256') !== sha256(parameters)) return undefined;
    const loss = Number(metadata.get('loss'));
    const [status, gradientImages] = [metadata.get('status') as JobStatus, Number(metadata.get('gradientImages'))];
    return { made: { model, status, loss, gradientImages }, parameters };
  } catch (error) {
    const code = errorCode(error);
    if (code === 'LETHE_FILE_MISSING' || code === 'LETHE_SAFETENSORS_DAMAGED') return undefined;
    if (code === 'LETHE_CHECKPOINT_MISMATCH') throw changed(folder, 'models of this network', `another one in ${file}`);
    throw error;
  }
}

/**
 * A model that another command has put there meanwhile is kept: two that run at the same time must not mix.
 * @throws LETHE_MODELS_CHANGED (exit code 2), LETHE_DISK_FULL, LETHE_FILE_UNWRITABLE (4)
 */
export async function publishModel(
  folder: string,
  { made: { model, status, loss = NaN, gradientImages }, parameters }: FinishedModel,
  layout: ParameterTensor[],
  command: ModelCommand,
  metadata: Record<string, string>,
): Promise<void> {
  await readFinishedModel(folder, model, layout, command);
  await writeCheckpoint(path.join(folder, modelLayout.checkpoint(model)), layout, parameters, {
    ...metadata,
    model: String(model),
    status,
    loss: String(loss),
    gradientImages: String(gradientImages),
    command: JSON.stringify(command),
    parametersSha256: sha256(parameters),
  });
}

function requireSame(folder: string, file: string, text: string | undefined, command: ModelCommand): void {
  if (text === undefined) throw changed(folder, 'models of this command', `${file}, which does not say what made it`);
  const difference = differenceText(readCommand(folder, file, text), command, 'there');
  if (difference !== undefined) throw changed(folder, 'models of the same options and inputs', difference);
}

function readCommand(folder: string, file: string, text: string): ModelCommand {
  try {
    const command = parseJson(text);
    if (typeof command === 'object' && command !== null && !Array.isArray(command)) return command as ModelCommand;
  } catch {
    // one message for both
  }
  throw changed(folder, 'models of this command', `${file}, whose metadata "command" is unreadable`);
}

function changed(folder: string, expected: string, received: string): LetheError {
  return new LetheError('LETHE_MODELS_CHANGED', `${path.resolve(folder)} belongs to other models`, {
    expected,
    received,
    action: 'Give this command another --out, or remove that folder.',
  });
}
